package front

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"slices"
	"testing"
	"time"

	logsapi "clary/internal/api/logs"
	s3api "clary/internal/api/s3"
	"clary/internal/aws/op"
	"clary/internal/identity"
)

// A call of the console's is judged by the same conditions as a client's
// request, though it has no URL.
func TestCallConditions(t *testing.T) {
	t.Parallel()
	want := map[string][]string{
		"s3:prefix": {"secret/"}, "s3:delimiter": nil, "s3:max-keys": {"7"}, "s3:authtype": {"REST-HEADER"}, "s3:x-amz-expected-bucket-owner": {account},
	}
	asked := false
	look := func(ctx context.Context, _ op.Call, about *identity.Request, _ any, _ string) (context.Context, func(error) error) {
		asked = true
		for name, want := range want {
			if got := about.Own.ConditionKey(name); !slices.Equal(got, want) {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		return ctx, func(error) error { return nil }
	}
	n := int64(7)
	f, err := New(Config{Keys: keys{}, Auth: &policy{}, Audit: look, Services: []op.Service{fakeService{"s3", map[string]op.Handler{
		"ListObjectsV2": op.Op(func(context.Context, op.Call, *s3api.ListObjectsV2Request) (*s3api.ListObjectsV2Output, error) {
			return &s3api.ListObjectsV2Output{}, nil
		}),
	}}}})
	if err != nil {
		t.Fatal(err)
	}
	in := &s3api.ListObjectsV2Request{Bucket: "b-1", Prefix: "secret/", MaxKeys: &n, ExpectedBucketOwner: account}
	if _, err := f.Call(t.Context(), op.Call{Service: "s3", Operation: "ListObjectsV2", Account: account, Region: "us-east-1", Received: time.Now()}, in); err != nil {
		t.Fatal(err)
	}
	if !asked {
		t.Error("nothing was asked")
	}
}

type secureKey struct{}

// What the console asks for is as safe from readers as the browser's own
// connection: aws:SecureTransport says so.
func TestCallOverBrowsersConnection(t *testing.T) {
	t.Parallel()
	var f *Front
	w := newWorld(t, func(c *Config) {
		c.Audit = func(ctx context.Context, _ op.Call, about *identity.Request, _ any, _ string) (context.Context, func(error) error) {
			return context.WithValue(ctx, secureKey{}, about.Secure), func(error) error { return nil }
		}
		c.Services = append(c.Services, fakeService{"logs", map[string]op.Handler{
			"DescribeLogGroups": op.Op(func(ctx context.Context, _ op.Call, _ *logsapi.DescribeLogGroupsRequest) (*logsapi.DescribeLogGroupsResponse, error) {
				return &logsapi.DescribeLogGroupsResponse{NextToken: fmt.Sprint(ctx.Value(secureKey{}))}, nil
			}),
		}})
		c.Console = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			out, err := f.Call(r.Context(), op.Call{Service: "logs", Operation: "DescribeLogGroups", Account: account, Received: time.Now()}, &logsapi.DescribeLogGroupsRequest{})
			if err != nil {
				t.Error(err)
				return
			}
			seen, _ := out.(*logsapi.DescribeLogGroupsResponse)
			scheme := "http"
			if r.TLS != nil {
				scheme = "https"
			}
			_, _ = io.WriteString(rw, scheme+" "+seen.NextToken)
		})
	})
	f = w.f
	if got := w.do(shot{method: http.MethodGet, path: "/", host: ConsoleName}); got.body != "http false" {
		t.Errorf("over HTTP: %d %s", got.status, got.body)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+w.addr+"/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = ConsoleName
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: w.pool(), ServerName: "localhost"}}
	defer tr.CloseIdleConnections()
	resp, err := tr.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "https true" {
		t.Errorf("over TLS: %d %s, %v", resp.StatusCode, b, err)
	}
}
