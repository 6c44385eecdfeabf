package daemon_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"clary/test/daemon"
)

// receiver is whom messages go to: it confirms, counts, and may have the server
// killed before it answers.
type receiver struct {
	mu    sync.Mutex // guards what follows
	seen  map[string]int
	asked string       // the link that confirms
	kill  func() error // at the next message
	fails error
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	b, err := io.ReadAll(req.Body)
	var m struct{ Type, Message, SubscribeURL string }
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err != nil:
		return // the sender died on the way
	case m.Type == "SubscriptionConfirmation":
		r.asked = m.SubscribeURL
	default:
		r.seen[m.Message]++
		if k := r.kill; k != nil {
			r.kill = nil
			r.fails = k()
		}
	}
	w.WriteHeader(http.StatusOK)
}

func (r *receiver) look() (seen, repeated int, asked string, killed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.seen {
		seen++
		repeated += n - 1
	}
	return seen, repeated, r.asked, r.kill == nil
}

// TestMessagesOverKills kills the server while its messages are on their way: none
// is lost, and only those are repeated that were on their way.
func TestMessagesOverKills(t *testing.T) {
	t.Parallel()
	const kills, each, atATime = 4, 25, 4
	d, err := daemon.New(bin(t), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(d.Start(t.Context()))
	t.Cleanup(func() { _ = d.Stop() })
	a, err := d.API()
	must(err)
	r := &receiver{seen: map[string]int{}}
	hook := httptest.NewServer(r)
	t.Cleanup(hook.Close)

	const topic = "arn:aws:sns:us-east-1:123456789012:alerts"
	must(a.SNS(t.Context(), "CreateTopic", "Name", "alerts"))
	must(a.SNS(t.Context(), "Subscribe", "TopicArn", topic, "Protocol", "http", "Endpoint", hook.URL))
	eventually(t, "the invitation", func() bool { _, _, asked, _ := r.look(); return asked != "" })
	_, _, asked, _ := r.look()
	if n, _, _, _ := r.look(); n != 0 {
		t.Error("a message came before the confirmation")
	}
	res, err := http.Get(asked) //nolint:gosec,noctx // the link of the server under test
	must(err)
	must(res.Body.Close())
	if res.StatusCode != http.StatusOK {
		t.Fatalf("the link answers %s", res.Status)
	}
	for round := range kills {
		r.mu.Lock()
		r.kill = d.Kill
		r.mu.Unlock()
		answered := 0
		for i := range each {
			// the server may be dead by now: what it answered is what counts
			err := a.SNS(t.Context(), "Publish", "TopicArn", topic, "Message", fmt.Sprintf("%d.%d", round, i))
			if err != nil {
				break
			}
			answered++
		}
		eventually(t, "the kill", func() bool { _, _, _, killed := r.look(); return killed })
		must(d.Start(t.Context()))
		for i := answered; i < each; i++ {
			must(a.SNS(t.Context(), "Publish", "TopicArn", topic, "Message", fmt.Sprintf("%d.%d", round, i)))
		}
	}
	eventually(t, "all messages", func() bool { n, _, _, _ := r.look(); return n == kills*each })
	_, repeated, _, _ := r.look()
	t.Logf("%d messages over %d kills, %d came again", kills*each, kills, repeated)
	// one publish that was committed and not answered may be told twice, too
	if repeated > kills*(atATime+1) {
		t.Errorf("%d came again; %d were on their way at a kill at most", repeated, atATime)
	}
	if r.fails != nil {
		t.Error(r.fails)
	}
}
