package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"clary/internal/audit"
	"clary/internal/aws/op"
	"clary/internal/resource"
	"clary/internal/store"
)

// trail keeps events and answers LookupEvents.
type trail struct {
	texts  []string
	events []resource.Event
}

func (l *trail) AppendEvent(_ context.Context, p *store.Pending) error {
	previous := strings.Repeat("0", 64)
	if n := len(l.texts); n > 0 {
		sum := sha256.Sum256([]byte(l.texts[n-1]))
		previous = hex.EncodeToString(sum[:])
	}
	text, err := p.Render(int64(len(l.texts)+1), previous)
	l.texts, l.events = append(l.texts, string(text)), append(l.events, p.Event)
	return err
}

func (l *trail) lookup(in map[string]any) (int, any) {
	end := len(l.texts)
	if t, ok := in["NextToken"].(string); ok {
		if _, err := fmt.Sscan(t, &end); err != nil {
			return 400, nil
		}
	}
	var list []any
	for end > 0 && len(list) < 50 {
		end--
		e := l.events[end]
		list = append(list, map[string]any{
			"EventId": e.ID, "EventName": e.Name, "EventSource": e.Source, "Username": e.User, "AccessKeyId": e.AccessKeyID,
			"EventTime": float64(e.At.UnixMilli()) / 1000, "CloudTrailEvent": l.texts[end],
			"Resources": []any{map[string]any{"ResourceType": e.ResourceType, "ResourceName": e.ResourceName}},
		})
	}
	page := map[string]any{"Events": list}
	if end > 0 {
		page["NextToken"] = fmt.Sprint(end)
	}
	return 200, page
}

func TestAudit(t *testing.T) {
	t.Parallel()
	b, l := newBench(t), &trail{}
	r := audit.Recorder{Store: l, Log: slog.New(slog.DiscardHandler)}
	for i := range 120 {
		_, end := r.Begin(t.Context(), op.Call{
			Account: "123456789012", Region: "eu-west-1", Service: "sagemaker", Operation: "CreateModel",
			Received: time.Date(2026, 5, 6, 7, 8, 9, 123456789, time.UTC), Principal: resource.Principal{Account: "123456789012", Root: true, AccessKeyID: "AKID"},
		}, nil, nil, fmt.Sprintf("arn:aws:sagemaker:eu-west-1:123456789012:model/m%d", i))
		if err := end(nil); err != nil {
			t.Fatal(err)
		}
	}
	b.on("com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101.LookupEvents", l.lookup)
	code, out, errOut := b.run("audit", "verify")
	if code != 0 || !strings.Contains(out, "eu-west-1: 120 records, unbroken.") {
		t.Fatalf("%d %s %s", code, out, errOut)
	}
	head := strings.TrimSpace(out[strings.Index(out, "Head: ")+6:])
	bare, ok := strings.CutPrefix(head, "eu-west-1=")
	if !ok {
		t.Fatalf("the head is %s", head)
	}
	older := "60:" + fmt.Sprintf("%x", sha256.Sum256([]byte(l.texts[59])))
	for _, args := range [][]string{{"--head", head}, {"--head", bare}, {"--head", bare, "--head", older}, {"--head", "eu-west-1=" + older}} {
		if code, _, errOut := b.run(append([]string{"audit", "verify"}, args...)...); code != 0 {
			t.Error(args, errOut)
		}
	}
	if code, out, errOut := b.run("audit", "ls", "-n", "70"); code != 0 || strings.Count(out, "CreateModel") != 70 || !strings.Contains(out, "m119") {
		t.Errorf("%s %s", out, errOut)
	}
	refused := func(what, want string, args ...string) {
		t.Helper()
		if code, out, errOut := b.run(args...); code == 0 || !strings.Contains(errOut, want) {
			t.Errorf("%s: %d %s %s", what, code, out, errOut)
		}
	}
	refused("no records", "--limit -1", "audit", "ls", "-n", "-1")
	refused("no head", "--head 12", "audit", "verify", "--head", "12")
	refused("another's head", "cut off", "audit", "verify", "--head", "7:"+strings.Repeat("0", 64))
	refused("another's region", "eu-west-1", "audit", "verify", "--region", "eu-west-2")
	refused("a head of another region", "--region or --all", "audit", "verify", "--head", "us-east-1="+bare)
	refused("two heads, one wrong", "made anew", "audit", "verify", "--head", bare, "--head", "7:"+strings.Repeat("0", 64))
	refused("an odd head", "want what verify prints", "audit", "verify", "--head", "7:"+strings.Repeat("z", 64))
	l.events[60].User = "somebody"
	refused("a record that is listed as another", "event 61", "audit", "verify")
	l.events[60].User = "root"
	l.texts, l.events = l.texts[:119], l.events[:119]
	if code, _, errOut := b.run("audit", "verify"); code != 0 {
		t.Error(errOut)
	}
	refused("records that were cut off", "cut off", "audit", "verify", "--head", head)
}

// With --all every chain is checked, and those that there are not any more.
func TestAuditAll(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	trails := map[string]*trail{"eu-west-1": {}, "us-east-1": {}, "ap-south-1": {}}
	var heads []any
	for region, l := range trails {
		r := audit.Recorder{Store: l, Log: slog.New(slog.DiscardHandler)}
		for i := range len(region) {
			_, end := r.Begin(t.Context(), op.Call{
				Account: "123456789012", Region: region, Service: "sagemaker", Operation: "CreateModel", Received: time.Date(2026, 5, 6, 7, 8, i, 0, time.UTC),
				Principal: resource.Principal{Account: "123456789012", Root: true, AccessKeyID: "AKID"},
			}, nil, nil, "arn:aws:sagemaker:"+region+":123456789012:model/m")
			if err := end(nil); err != nil {
				t.Fatal(err)
			}
		}
		n := len(l.texts)
		heads = append(heads, map[string]any{"Region": region, "Seq": n, "Hash": fmt.Sprintf("%x", sha256.Sum256([]byte(l.texts[n-1])))})
	}
	b.answer("/_clary/trails", map[string]any{"Account": "123456789012", "Trails": heads})
	b.onScope("com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101.LookupEvents", func(region string, in map[string]any) (int, any) {
		if l := trails[region]; l != nil {
			return l.lookup(in)
		}
		return 200, map[string]any{"Events": []any{}}
	})
	code, out, errOut := b.run("audit", "verify", "--all")
	if want := []string{"ap-south-1: 10 records, unbroken.", "Head: eu-west-1=9:", "us-east-1: 9 records, unbroken."}; code != 0 ||
		!slices.IsSorted([]int{strings.Index(out, want[0]), strings.Index(out, want[1]), strings.Index(out, want[2])}) || !strings.HasPrefix(out, want[0]) {
		t.Fatalf("%d %s %s", code, out, errOut)
	}
	var kept []string
	for line := range strings.Lines(out) {
		if h, ok := strings.CutPrefix(line, "Head: "); ok {
			kept = append(kept, "--head", strings.TrimSpace(h))
		}
	}
	again := append([]string{"audit", "verify", "--all"}, kept...)
	if code, _, errOut := b.run(again...); code != 0 || len(kept) != 6 {
		t.Errorf("%v: %s", kept, errOut)
	}
	if code, out, errOut := b.run("audit", "verify", "--all", "--head", "9:"+strings.Repeat("0", 64)); code == 0 || !strings.Contains(errOut, "name its region") {
		t.Errorf("%s%s", out, errOut)
	}
	// one chain is cut, another one is gone: both are said, the third is checked
	l := trails["us-east-1"]
	l.texts, l.events = l.texts[:4], l.events[:4]
	delete(trails, "eu-west-1")
	b.answer("/_clary/trails", map[string]any{"Trails": slices.DeleteFunc(heads, func(h any) bool { m, _ := h.(map[string]any); return m["Region"] == "eu-west-1" })})
	code, out, errOut = b.run(again...)
	if code == 0 || !strings.Contains(errOut, "eu-west-1 has no record, not even 9:") || !strings.Contains(errOut, "us-east-1: the record 9:") || !strings.Contains(out, "ap-south-1: 10 records") {
		t.Errorf("%d %s %s", code, out, errOut)
	}
	// without a kept head, what the server says of its chain must be there
	if code, _, errOut := b.run("audit", "verify", "--all"); code == 0 || !strings.Contains(errOut, "us-east-1: the record 9:") || strings.Contains(errOut, "eu-west-1") {
		t.Errorf("%d %s", code, errOut)
	}
}
