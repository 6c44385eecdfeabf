package front

import (
	"context"
	"net/http"
	"strings"
	"testing"

	snsapi "clary/internal/api/sns"
	"clary/internal/aws/op"
	"clary/internal/identity"
)

// TestUnsigned: what has no signature gets the open paths, and by GET the open
// operations, as nobody, of the account that it names; nothing else.
func TestUnsigned(t *testing.T) {
	t.Parallel()
	var recorded []string
	w := newWorld(t, func(c *Config) {
		confirm := op.Op(func(_ context.Context, c op.Call, in *snsapi.ConfirmSubscriptionInput) (*snsapi.ConfirmSubscriptionResponse, error) {
			return &snsapi.ConfirmSubscriptionResponse{SubscriptionArn: strings.Join([]string{c.Account, c.Region, c.Principal.Arn, in.Token}, "|")}, nil
		})
		confirm.Open = func(in any) string { return in.(*snsapi.ConfirmSubscriptionInput).TopicArn } //nolint:forcetypeassert // its own
		c.Services = append(c.Services, fakeService{"sns", map[string]op.Handler{
			"ConfirmSubscription": confirm,
			"ListTopics": op.Op(func(context.Context, op.Call, *snsapi.ListTopicsInput) (*snsapi.ListTopicsResponse, error) {
				return &snsapi.ListTopicsResponse{}, nil
			}),
		}})
		c.Open = map[string]http.Handler{"/open.pem": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("everybody's")) })}
		c.Audit = func(ctx context.Context, c op.Call, _ *identity.Request, _ any, _ string) (context.Context, func(error) error) {
			return ctx, func(error) error { recorded = append(recorded, c.Operation); return nil }
		}
	})
	const form = "application/x-www-form-urlencoded"
	link := "/?Action=ConfirmSubscription&Token=abc&TopicArn=arn:aws:sns:eu-west-1:999999999999:t"
	for name, tc := range map[string]struct {
		method, path, body string
		status             int
		want               string
	}{
		"a file":                   {"GET", "/open.pem", "", 200, "everybody's"},
		"a link":                   {"GET", link, "", 200, "<SubscriptionArn>999999999999|eu-west-1||abc</SubscriptionArn>"},
		"a link of a version":      {"GET", link + "&Version=2010-03-31", "", 200, "|abc<"},
		"of another version":       {"GET", link + "&Version=2009-01-01", "", 400, "InvalidAction"},
		"what is not open":         {"GET", "/?Action=ListTopics", "", 403, "MissingAuthenticationToken"},
		"what is not there":        {"GET", "/?Action=Nothing", "", 403, "MissingAuthenticationToken"},
		"another path":             {"GET", "/x" + link[1:], "", 403, "AccessDenied"},
		"a form":                   {"POST", "/", link[2:], 403, "MissingAuthenticationToken"},
		"a member is missing":      {"GET", "/?Action=ConfirmSubscription&Token=abc", "", 400, "topicArn"},
		"twice the action":         {"GET", link + "&Action=ListTopics", "", 400, "MissingAction"},
		"a signature that is none": {"GET", link + "&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=00&X-Amz-Credential=x", "", 0, ""},
	} {
		req, err := http.NewRequestWithContext(t.Context(), tc.method, "http://"+w.addr+tc.path, strings.NewReader(tc.body))
		if err != nil {
			t.Fatal(err)
		}
		if tc.body != "" {
			req.Header.Set("Content-Type", form)
		}
		got := w.send(req, false)
		if tc.status != 0 && (got.status != tc.status || !strings.Contains(got.body, tc.want)) || tc.status == 0 && got.status == 200 {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
	if len(recorded) > 0 {
		t.Errorf("recorded: %v", recorded)
	}
	if asked := w.policy.last(); asked != "" {
		t.Errorf("a policy was asked for nobody: %s", asked)
	}
}
