package cloudwatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json"

	"clary/internal/api"
	apicw "clary/internal/api/cloudwatch"
	"clary/internal/aws/apierr"
	"clary/internal/metrics"
	"clary/internal/outbox"
	"clary/internal/reconcile"
	"clary/internal/resource"
	"clary/internal/store"
	"clary/internal/store/sqlite"
)

const topic = "arn:aws:sns:us-west-2:123456789012:ops"

// world is a service with its loop on a database.
type world struct {
	*CloudWatch
	t    *testing.T
	db   *sqlite.Store
	loop *reconcile.Loop
	stop func()
}

// open starts one. In a bubble all of it is made inside.
func open(t *testing.T, path string, through func(store.Store) store.Store) *world {
	t.Helper()
	db, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, db: db}
	var records store.Store = db
	if through != nil {
		records = through(db)
	}
	w.CloudWatch = New(metrics.New(db.Metrics()), records, func(k resource.Key) { w.loop.Wake(k) })
	w.loop = reconcile.New(reconcile.Config{Store: db, Reconcilers: w.Reconcilers(), Owner: "test", Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { w.loop.Run(ctx) })
	wg.Go(func() { w.Run(ctx) })
	if err := w.WakeAll(ctx); err != nil {
		t.Fatal(err)
	}
	w.stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(w.stop)
	return w
}

// topicThere makes the record of a topic.
func (w *world) topicThere() {
	w.t.Helper()
	err := w.db.Update(w.t.Context(), func(tx store.Tx) error {
		return tx.Put(&resource.Record{
			Key: resource.Key{Account: call().Account, Region: call().Region, Kind: topicKind, Name: "ops"},
			UID: resource.NewUID(), Arn: topic, Created: time.Now(), Modified: time.Now(),
		})
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func onLoad(change func(*apicw.PutMetricAlarmInput)) *apicw.PutMetricAlarmInput {
	in := &apicw.PutMetricAlarmInput{
		AlarmName: "hot", Namespace: "My/App", MetricName: "Load", Statistic: "Maximum", Period: ptr(int64(60)), EvaluationPeriods: ptr(int64(1)),
		Threshold: ptr(5.0), ComparisonOperator: "GreaterThanThreshold", AlarmActions: []string{topic},
		Dimensions: []apicw.Dimension{{Name: "Host", Value: "a"}},
	}
	if change != nil {
		change(in)
	}
	return in
}

func (w *world) alarm(change func(*apicw.PutMetricAlarmInput)) {
	w.t.Helper()
	if _, err := w.PutMetricAlarm(w.t.Context(), call(), onLoad(change)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) load(v float64, ago time.Duration) {
	w.t.Helper()
	_, err := w.PutMetricData(w.t.Context(), call(), &apicw.PutMetricDataInput{Namespace: "My/App", MetricData: []apicw.MetricDatum{
		{MetricName: "Load", Dimensions: []apicw.Dimension{{Name: "Host", Value: "a"}}, Value: &v, Timestamp: api.At(time.Now().Add(-ago))},
	}})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) shown() apicw.MetricAlarm {
	w.t.Helper()
	out, err := w.DescribeAlarms(w.t.Context(), call(), &apicw.DescribeAlarmsInput{AlarmNames: []string{"hot"}})
	if err != nil || len(out.MetricAlarms) != 1 {
		w.t.Fatal(out, err)
	}
	return out.MetricAlarms[0]
}

// is waits for all that goes on, and compares the state.
func (w *world) is(want string) {
	w.t.Helper()
	synctest.Wait()
	if a := w.shown(); a.StateValue != want {
		w.t.Fatalf("%s: %s, want %s: %s", time.Now().Format("15:04:05"), a.StateValue, want, a.StateReason)
	}
}

// history is the summaries of an alarm's items, the oldest first.
func (w *world) history(typ string) []string {
	w.t.Helper()
	out, err := w.DescribeAlarmHistory(w.t.Context(), call(), &apicw.DescribeAlarmHistoryInput{AlarmName: "hot", HistoryItemType: typ, ScanBy: "TimestampAscending", MaxRecords: ptr(int64(100))})
	if err != nil {
		w.t.Fatal(err)
	}
	var got []string
	for _, i := range out.AlarmHistoryItems {
		got = append(got, i.HistorySummary)
	}
	return got
}

func (w *world) published() []outbox.Publication {
	w.t.Helper()
	recs, _, err := w.db.List(w.t.Context(), resource.Query{Kind: outbox.KindPublication, Limit: 1000})
	if err != nil {
		w.t.Fatal(err)
	}
	var out []outbox.Publication
	for _, r := range recs {
		p, err := resource.As[outbox.Publication](r.Spec)
		if err != nil {
			w.t.Fatal(err)
		}
		out = append(out, *p)
	}
	return out
}

func (w *world) nextDue() time.Time {
	w.t.Helper()
	at, err := w.db.NextDue(w.t.Context(), KindAlarm)
	if err != nil {
		w.t.Fatal(err)
	}
	return at
}

func TestAlarmLives(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "db")
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(10 * time.Second) // into a minute
		w := open(t, path, nil)
		w.topicThere()
		w.alarm(func(in *apicw.PutMetricAlarmInput) {
			in.OKActions = []string{"arn:aws:sns:us-west-2:123456789012:gone"}
			in.AlarmDescription = "it is hot"
		})
		w.is(stateInsufficient)
		if r := w.shown().StateReason; r != "Unchecked: Initial alarm creation" {
			t.Error(r)
		}
		if at := w.nextDue(); !at.IsZero() {
			t.Errorf("an alarm without data is looked at %s", at)
		}

		w.load(7.5, 0) // no later data of this minute undo it
		w.is(stateAlarm)
		p := w.published()
		if len(p) != 1 || p[0].TopicArn != topic || p[0].Subject != `ALARM: "hot" in US West (Oregon)` || p[0].By != "cloudwatch.amazonaws.com" || !strings.Contains(p[0].Structured["email"], `"hot" in the US West (Oregon) region has entered the ALARM state`) {
			t.Fatalf("%+v", p)
		}
		const want = `{"AlarmName":"hot","AlarmDescription":"it is hot","AWSAccountId":"123456789012","AlarmConfigurationUpdatedTimestamp":"2000-01-01T00:00:10.000+0000","NewStateValue":"ALARM",` +
			`"NewStateReason":"Threshold Crossed: 1 datapoint [7.5 (01/01/00 00:00:00)] was greater than the threshold (5.0).","StateChangeTime":"2000-01-01T00:00:10.000+0000","Region":"US West (Oregon)",` +
			`"AlarmArn":"arn:aws:cloudwatch:us-west-2:123456789012:alarm:hot","OldStateValue":"INSUFFICIENT_DATA","OKActions":["arn:aws:sns:us-west-2:123456789012:gone"],"AlarmActions":["` + topic + `"],"InsufficientDataActions":[],` +
			`"Trigger":{"MetricName":"Load","Namespace":"My/App","StatisticType":"Statistic","Statistic":"MAXIMUM","Unit":null,"Dimensions":[{"value":"a","name":"Host"}],"Period":60,"EvaluationPeriods":1,` +
			`"ComparisonOperator":"GreaterThanThreshold","Threshold":5.0,"TreatMissingData":"","EvaluateLowSampleCountPercentile":""}}`
		if got := p[0].Structured["default"]; got != want {
			t.Errorf("%s, want\n%s", got, want)
		}

		time.Sleep(time.Minute)
		w.load(1, 0)
		w.is(stateAlarm) // a later value of this minute may be high
		time.Sleep(time.Minute)
		w.is(stateOK)
		if got := w.shown(); got.StateReason != "Threshold Crossed: 1 datapoint [1.0 (01/01/00 00:01:00)] was not greater than the threshold (5.0)." {
			t.Error(got.StateReason)
		}
		time.Sleep(4 * time.Minute)
		w.is(stateInsufficient)
		if at := w.nextDue(); !at.IsZero() {
			t.Errorf("an alarm without data is looked at %s", at)
		}
		want2 := []string{
			`Alarm "hot" created`,
			"Alarm updated from INSUFFICIENT_DATA to ALARM", "Successfully executed action " + topic,
			"Alarm updated from ALARM to OK", `Failed to execute action arn:aws:sns:us-west-2:123456789012:gone. Received error: "Topic does not exist"`,
			"Alarm updated from OK to INSUFFICIENT_DATA",
		}
		if got := w.history(""); !slices.Equal(got, want2) {
			t.Errorf("%q", got)
		}

		// The same again after a restart: another change, another message.
		w.stop()
		w = open(t, path, nil)
		w.load(8, 0)
		w.is(stateAlarm)
		if n := len(w.published()); n != 2 {
			t.Errorf("%d messages", n)
		}
		w.stop()
	})
}

// An alarm of six hours is up as soon as its maximum is over the threshold.
func TestLongPeriod(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "db")
	synctest.Test(t, func(t *testing.T) {
		w := open(t, path, nil)
		w.topicThere()
		w.alarm(func(in *apicw.PutMetricAlarmInput) { in.Period = ptr(int64(21600)) })
		for i := range 60 {
			w.load(float64(i)/10, 0)
			time.Sleep(30 * time.Second)
			want := stateOK
			switch {
			case i >= 51:
				want = stateAlarm
			case i < 2:
				want = stateInsufficient // no minute has ended yet
			}
			w.is(want)
		}
		time.Sleep(6*time.Hour - 8*time.Minute)
		w.is(stateAlarm)
		time.Sleep(13 * time.Hour)
		w.is(stateInsufficient)
		if n := len(w.history(itemState)); n != 3 {
			t.Errorf("%q", w.history(itemState))
		}
		w.stop()
	})
}

func TestSetAlarmState(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "db")
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(20 * time.Second)
		w := open(t, path, nil)
		w.topicThere()
		w.alarm(nil)
		w.is(stateInsufficient)
		set := func(state, data string) error {
			_, err := w.SetAlarmState(t.Context(), call(), &apicw.SetAlarmStateInput{AlarmName: "hot", StateValue: state, StateReason: "testing purposes", StateReasonData: data})
			return err
		}
		if err := set(stateAlarm, `{"a":1}`); err != nil {
			t.Fatal(err)
		}
		w.is(stateAlarm)
		if a := w.shown(); a.StateReason != "testing purposes" || a.StateReasonData != `{"a":1}` || len(w.published()) != 1 {
			t.Errorf("%+v", a)
		}
		if err := set(stateAlarm, ""); err != nil || len(w.published()) != 1 {
			t.Errorf("the same state again: %v, %d messages", err, len(w.published()))
		}
		time.Sleep(42 * time.Second) // the minute ends
		w.is(stateInsufficient)

		off := func() {
			if _, err := w.DisableAlarmActions(t.Context(), call(), &apicw.DisableAlarmActionsInput{AlarmNames: []string{"hot", "none"}}); err != nil {
				t.Fatal(err)
			}
		}
		off()
		off()
		if err := set(stateAlarm, ""); err != nil || len(w.published()) != 1 || *w.shown().ActionsEnabled {
			t.Errorf("an alarm acts that may not: %v", err)
		}
		if _, err := w.EnableAlarmActions(t.Context(), call(), &apicw.EnableAlarmActionsInput{AlarmNames: []string{"hot"}}); err != nil || !*w.shown().ActionsEnabled {
			t.Error(err)
		}
		if got := w.history(itemConfiguration); !slices.Equal(got, []string{`Alarm "hot" created`, `Alarm "hot" updated`, `Alarm "hot" updated`}) {
			t.Errorf("%q", got)
		}
		if err := set(stateOK, "{"); code(err) != "InvalidFormatFault" {
			t.Error(err)
		}
		if _, err := w.SetAlarmState(t.Context(), call(), &apicw.SetAlarmStateInput{AlarmName: "none", StateValue: stateOK}); code(err) != "ResourceNotFound" {
			t.Error(err)
		}
		w.stop()
	})
}

// An update leaves the state, is noted with what was before, and is evaluated.
func TestUpdate(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "db")
	synctest.Test(t, func(t *testing.T) {
		w := open(t, path, nil)
		w.topicThere()
		w.alarm(func(in *apicw.PutMetricAlarmInput) { in.Tags = []apicw.Tag{{Key: "a", Value: "1"}} })
		w.load(7, 0)
		w.is(stateAlarm)
		time.Sleep(time.Second)
		w.alarm(func(in *apicw.PutMetricAlarmInput) {
			in.Threshold, in.Tags = ptr(6.0), []apicw.Tag{{Key: "a", Value: "2"}}
		})
		w.is(stateAlarm)
		out, err := w.DescribeAlarmHistory(t.Context(), call(), &apicw.DescribeAlarmHistoryInput{AlarmName: "hot"})
		if err != nil {
			t.Fatal(err)
		}
		var c struct {
			Type     string         `json:"type"`
			Original map[string]any `json:"originalUpdatedFields"`
			Updated  map[string]any `json:"updatedAlarm"`
		}
		if err := json.Unmarshal([]byte(out.AlarmHistoryItems[0].HistoryData), &c); err != nil || c.Type != "Update" || len(c.Original) != 2 || c.Original["threshold"] != 5.0 || c.Updated["threshold"] != 6.0 {
			t.Errorf("%s, %v", out.AlarmHistoryItems[0].HistoryData, err)
		}
		tags, err := w.ListTagsForResource(t.Context(), call(), &apicw.ListTagsForResourceInput{ResourceARN: w.shown().AlarmArn})
		if err != nil || len(tags.Tags) != 1 || tags.Tags[0].Value != "1" {
			t.Errorf("%+v, %v: an update's tags are ignored", tags, err)
		}
		// Another series: what is put to the old one is nothing to it.
		w.alarm(func(in *apicw.PutMetricAlarmInput) { in.Dimensions[0].Value = "b" })
		w.is(stateInsufficient)
		w.load(9, 0)
		w.is(stateInsufficient)
		w.stop()
	})
}

var errKilled = errors.New("killed")

// mortal is a store whose process ends at a write: before or after it is on
// disk.
type mortal struct {
	store.Store
	mu    sync.Mutex
	left  int // writes until then
	after bool
	dead  bool
}

func (m *mortal) Update(ctx context.Context, fn func(store.Tx) error) error {
	m.mu.Lock()
	m.left--
	m.dead = m.dead || m.left < 0
	dead, now := m.dead, m.left == -1
	m.mu.Unlock()
	if dead && (!now || !m.after) {
		return errKilled
	}
	if err := m.Store.Update(ctx, fn); err != nil || !dead {
		return err
	}
	return errKilled
}

// However often the server is killed, each change of state is noted once, and
// its message leaves once.
func TestKilled(t *testing.T) {
	t.Parallel()
	for n := range 5 {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d %v", n, after), func(t *testing.T) {
				t.Parallel()
				path := filepath.Join(t.TempDir(), "db")
				synctest.Test(t, func(t *testing.T) {
					w := open(t, path, func(s store.Store) store.Store { return &mortal{Store: s, left: n, after: after} })
					w.topicThere()
					// A client tries until it is answered, and the server is started
					// again when it is gone.
					again := func(do func() error) {
						for err := do(); err != nil; err = do() {
							if !errors.Is(err, errKilled) {
								t.Fatal(err)
							}
							w.stop()
							w = open(t, path, nil)
						}
					}
					again(func() error { _, err := w.PutMetricAlarm(t.Context(), call(), onLoad(nil)); return err })
					// Data that are kept, and the server ends before anybody is told.
					kept := metrics.New(w.db.Metrics())
					err := kept.Put(t.Context(), []metrics.Datum{{
						Account: call().Account, Region: call().Region, Namespace: "My/App", Name: "Load", Dimensions: map[string]string{"Host": "a"}, Time: time.Now(), Sum: 7,
					}})
					if err != nil {
						t.Fatal(err)
					}
					w.stop()
					w = open(t, path, func(s store.Store) store.Store { return &mortal{Store: s, left: n, after: after} })
					synctest.Wait()
					w.stop() // in any state
					w = open(t, path, nil)
					w.is(stateAlarm)
					again(func() error {
						_, err := w.SetAlarmState(t.Context(), call(), &apicw.SetAlarmStateInput{AlarmName: "hot", StateValue: stateOK})
						return err
					})
					time.Sleep(time.Second)
					w.load(8, 0)
					w.is(stateAlarm)
					if p := w.published(); len(p) != 2 {
						t.Errorf("%d messages of two changes to ALARM", len(p))
					}
					want := []string{"Alarm updated from INSUFFICIENT_DATA to ALARM", "Alarm updated from ALARM to OK", "Alarm updated from OK to ALARM"}
					if got := w.history(itemState); !slices.Equal(got, want) {
						t.Errorf("%q", got)
					}
					if got := w.history(itemAction); len(got) != 2 {
						t.Errorf("%q", got)
					}
					w.stop()
				})
			})
		}
	}
}

// Histories are gone after 30 days, and outlive their alarm until then.
func TestHistoryIsSwept(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "db")
	synctest.Test(t, func(t *testing.T) {
		w := open(t, path, nil)
		w.alarm(nil)
		time.Sleep(time.Hour)
		if _, err := w.DeleteAlarms(t.Context(), call(), &apicw.DeleteAlarmsInput{AlarmNames: []string{"hot", "none"}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30*24*time.Hour - time.Hour - time.Second)
		synctest.Wait()
		if got := w.history(""); !slices.Equal(got, []string{`Alarm "hot" created`, `Alarm "hot" deleted`}) {
			t.Errorf("%q", got)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := w.history(""); !slices.Equal(got, []string{`Alarm "hot" deleted`}) {
			t.Errorf("%q", got)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := w.history(""); len(got) != 0 {
			t.Errorf("%q", got)
		}
		w.stop()
	})
}

func TestDescribeAlarms(t *testing.T) {
	t.Parallel()
	w := newService(t)
	ctx := t.Context()
	for i := range 120 {
		in := onLoad(func(in *apicw.PutMetricAlarmInput) {
			in.AlarmName = fmt.Sprintf("%c-%03d", 'a'+i%3, i)
			if i%2 == 0 {
				in.AlarmActions, in.InsufficientDataActions = nil, []string{"arn:aws:sns:us-west-2:123456789012:other"}
			}
			in.Period = ptr(int64(60 + 60*(i%2)))
		})
		if _, err := w.PutMetricAlarm(ctx, call(), in); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.SetAlarmState(ctx, call(), &apicw.SetAlarmStateInput{AlarmName: "b-001", StateValue: stateAlarm}); err != nil {
		t.Fatal(err)
	}
	all := func(in apicw.DescribeAlarmsInput) (names []string, pages int) {
		for {
			out, err := w.DescribeAlarms(ctx, call(), &in)
			if err != nil {
				t.Fatal(err)
			}
			pages++
			for _, a := range out.MetricAlarms {
				names = append(names, a.AlarmName)
			}
			if in.NextToken = out.NextToken; in.NextToken == "" {
				return names, pages
			}
		}
	}
	for name, tt := range map[string]struct {
		in    apicw.DescribeAlarmsInput
		n     int
		pages int
	}{
		"all":          {apicw.DescribeAlarmsInput{}, 120, 3},
		"pages":        {apicw.DescribeAlarmsInput{MaxRecords: ptr(int64(7)), AlarmNamePrefix: "b-"}, 40, 6},
		"prefix":       {apicw.DescribeAlarmsInput{AlarmNamePrefix: "a-0"}, 34, 1},
		"no prefix":    {apicw.DescribeAlarmsInput{AlarmNamePrefix: "-0"}, 0, 1},
		"names":        {apicw.DescribeAlarmsInput{AlarmNames: []string{"c-002", "a-000", "none", "a-000"}}, 2, 1},
		"state":        {apicw.DescribeAlarmsInput{StateValue: stateAlarm}, 1, 1},
		"state, name":  {apicw.DescribeAlarmsInput{StateValue: stateAlarm, AlarmNames: []string{"a-000"}}, 0, 1},
		"action":       {apicw.DescribeAlarmsInput{ActionPrefix: "arn:aws:sns:us-west-2:123456789012:oth", MaxRecords: ptr(int64(100))}, 60, 1},
		"metric":       {apicw.DescribeAlarmsInput{AlarmTypes: []string{"CompositeAlarm", "MetricAlarm"}, AlarmNamePrefix: "a"}, 40, 1},
		"composite":    {apicw.DescribeAlarmsInput{AlarmTypes: []string{"CompositeAlarm"}}, 0, 1},
		"parents":      {apicw.DescribeAlarmsInput{ParentsOfAlarmName: "a-000"}, 0, 1},
		"state prefix": {apicw.DescribeAlarmsInput{StateValue: stateInsufficient, AlarmNamePrefix: "b"}, 39, 1},
	} {
		names, pages := all(tt.in)
		if len(names) != tt.n || pages > tt.pages || !slices.IsSorted(names) || len(slices.Compact(slices.Clone(names))) != tt.n {
			t.Errorf("%s: %d on %d pages, want %d on %d; %v", name, len(names), pages, tt.n, tt.pages, names)
		}
	}
	for _, in := range []apicw.DescribeAlarmsInput{
		{AlarmNames: []string{"a"}, AlarmNamePrefix: "a"}, {ParentsOfAlarmName: "a", StateValue: stateOK},
	} {
		if _, err := w.DescribeAlarms(ctx, call(), &in); code(err) != "ValidationException" {
			t.Errorf("%+v: %v", in, err)
		}
	}
	if _, err := w.DescribeAlarms(ctx, call(), &apicw.DescribeAlarmsInput{NextToken: "x"}); code(err) != "InvalidNextToken" {
		t.Error(err)
	}
	elsewhere := call()
	elsewhere.Region = "eu-west-1"
	if out, err := w.DescribeAlarms(ctx, elsewhere, &apicw.DescribeAlarmsInput{}); err != nil || len(out.MetricAlarms) != 0 {
		t.Errorf("%+v, %v", out, err)
	}
	of := &apicw.DescribeAlarmsForMetricInput{Namespace: "My/App", MetricName: "Load", Dimensions: []apicw.Dimension{{Name: "Host", Value: "a"}}}
	if out, err := w.DescribeAlarmsForMetric(ctx, call(), of); err != nil || len(out.MetricAlarms) != 120 {
		t.Errorf("%d, %v", len(out.MetricAlarms), err)
	}
	of.Period = ptr(int64(120))
	if out, err := w.DescribeAlarmsForMetric(ctx, call(), of); err != nil || len(out.MetricAlarms) != 60 {
		t.Errorf("%d, %v", len(out.MetricAlarms), err)
	}
	of.Dimensions = nil
	if out, err := w.DescribeAlarmsForMetric(ctx, call(), of); err != nil || len(out.MetricAlarms) != 0 {
		t.Errorf("%d, %v", len(out.MetricAlarms), err)
	}
	// histories of all alarms, in pages
	seen, h := 0, &apicw.DescribeAlarmHistoryInput{HistoryItemType: itemConfiguration, StartDate: api.At(time.Now().Add(-time.Hour)), EndDate: api.At(time.Now().Add(time.Hour))}
	for {
		out, err := w.DescribeAlarmHistory(ctx, call(), h)
		if err != nil {
			t.Fatal(err)
		}
		seen += len(out.AlarmHistoryItems)
		if h.NextToken = out.NextToken; h.NextToken == "" {
			break
		}
	}
	if seen != 120 {
		t.Errorf("%d items", seen)
	}
	h = &apicw.DescribeAlarmHistoryInput{EndDate: api.At(time.Now().Add(-time.Hour))}
	if out, err := w.DescribeAlarmHistory(ctx, call(), h); err != nil || len(out.AlarmHistoryItems) != 0 {
		t.Errorf("%d, %v", len(out.AlarmHistoryItems), err)
	}
}

func TestAlarmTags(t *testing.T) {
	t.Parallel()
	w := newService(t)
	ctx := t.Context()
	if _, err := w.PutMetricAlarm(ctx, call(), onLoad(nil)); err != nil {
		t.Fatal(err)
	}
	of := alarmArn(alarmKey(call(), "hot"))
	if _, err := w.TagResource(ctx, call(), &apicw.TagResourceInput{ResourceARN: of, Tags: []apicw.Tag{{Key: "b", Value: "1"}, {Key: "a"}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.UntagResource(ctx, call(), &apicw.UntagResourceInput{ResourceARN: of, TagKeys: []string{"b", "c"}}); err != nil {
		t.Fatal(err)
	}
	if out, err := w.ListTagsForResource(ctx, call(), &apicw.ListTagsForResourceInput{ResourceARN: of}); err != nil || len(out.Tags) != 1 || out.Tags[0].Key != "a" {
		t.Errorf("%+v, %v", out, err)
	}
	var many []apicw.Tag
	for i := range mostTags {
		many = append(many, apicw.Tag{Key: fmt.Sprint(i)})
	}
	if _, err := w.TagResource(ctx, call(), &apicw.TagResourceInput{ResourceARN: of, Tags: many}); code(err) != "ValidationException" {
		t.Errorf("51 tags: %v", err)
	}
	for of, want := range map[string]string{
		of + "x": "ResourceNotFoundException", "hot": "InvalidParameterValueException", strings.Replace(of, "123456789012", "210987654321", 1): "ResourceNotFoundException",
		strings.Replace(of, "us-west-2", "us-east-1", 1): "ResourceNotFoundException", "arn:aws:cloudwatch::123456789012:dashboard/d": "ResourceNotFoundException",
	} {
		if _, err := w.ListTagsForResource(ctx, call(), &apicw.ListTagsForResourceInput{ResourceARN: of}); code(err) != want {
			t.Errorf("%s: %v, want %s", of, err, want)
		}
	}
}

func TestAlarmsRefused(t *testing.T) {
	t.Parallel()
	w := newService(t)
	one := func(change func(*apicw.MetricDataQuery)) func(*apicw.PutMetricAlarmInput) {
		return func(in *apicw.PutMetricAlarmInput) {
			q := apicw.MetricDataQuery{Id: "m", MetricStat: &apicw.MetricStat{Metric: &apicw.Metric{Namespace: "n", MetricName: "x"}, Period: 60, Stat: "Sum"}}
			change(&q)
			in.Namespace, in.MetricName, in.Statistic, in.Period, in.Dimensions, in.Metrics = "", "", "", nil, nil, []apicw.MetricDataQuery{q}
		}
	}
	for text, change := range map[string]func(*apicw.PutMetricAlarmInput){
		"control characters":              func(in *apicw.PutMetricAlarmInput) { in.AlarmName = "a\nb" },
		"MetricName is required":          func(in *apicw.PutMetricAlarmInput) { in.MetricName = "" },
		"Namespace is required":           func(in *apicw.PutMetricAlarmInput) { in.Namespace = "" },
		"Statistic and ExtendedStatistic": func(in *apicw.PutMetricAlarmInput) { in.Statistic = "" },
		"Period is required":              func(in *apicw.PutMetricAlarmInput) { in.Period = nil },
		"must be 10, 20, 30 or":           func(in *apicw.PutMetricAlarmInput) { in.Period = ptr(int64(90)) },
		"EvaluationPeriods is required":   func(in *apicw.PutMetricAlarmInput) { in.EvaluationPeriods = nil },
		"DatapointsToAlarm must be":       func(in *apicw.PutMetricAlarmInput) { in.DatapointsToAlarm = ptr(int64(2)) },
		"more than a day":                 func(in *apicw.PutMetricAlarmInput) { in.EvaluationPeriods = ptr(int64(1441)) },
		"more than 7 days": func(in *apicw.PutMetricAlarmInput) {
			in.Period, in.EvaluationPeriods = ptr(int64(86400)), ptr(int64(8))
		},
		"ComparisonOperator is required":      func(in *apicw.PutMetricAlarmInput) { in.ComparisonOperator = "" },
		"no anomaly detection":                func(in *apicw.PutMetricAlarmInput) { in.ComparisonOperator = "GreaterThanUpperThreshold" },
		"support ThresholdMetricId":           func(in *apicw.PutMetricAlarmInput) { in.ThresholdMetricId = "m" },
		"support ExtendedStatistic":           func(in *apicw.PutMetricAlarmInput) { in.ExtendedStatistic = "p90" },
		"Threshold is required":               func(in *apicw.PutMetricAlarmInput) { in.Threshold = nil },
		"finite":                              func(in *apicw.PutMetricAlarmInput) { in.Threshold = ptr(math.NaN()) },
		"must be one of breaching":            func(in *apicw.PutMetricAlarmInput) { in.TreatMissingData = "bad" },
		"Invalid arn syntax: mail":            func(in *apicw.PutMetricAlarmInput) { in.OKActions = []string{"mail"} },
		"Invalid arn syntax: " + topic + ":x": func(in *apicw.PutMetricAlarmInput) { in.OKActions = []string{topic + ":x"} },
		"Actions must be unique":              func(in *apicw.PutMetricAlarmInput) { in.AlarmActions = []string{topic, topic} },
		"of the service automate": func(in *apicw.PutMetricAlarmInput) {
			in.AlarmActions = []string{"arn:aws:automate:us-west-2:ec2:stop:x"}
		},
		"Invalid region eu-west-1 specified": func(in *apicw.PutMetricAlarmInput) {
			in.AlarmActions = []string{"arn:aws:sns:eu-west-1:123456789012:t"}
		},
		"topics of their own account": func(in *apicw.PutMetricAlarmInput) {
			in.AlarmActions = []string{"arn:aws:sns:us-west-2:210987654321:t"}
		},
		"Duplicate tag":                               func(in *apicw.PutMetricAlarmInput) { in.Tags = []apicw.Tag{{Key: "a"}, {Key: "a"}} },
		"same dimension key twice":                    func(in *apicw.PutMetricAlarmInput) { in.Dimensions = append(in.Dimensions, in.Dimensions[0]) },
		"support Expression":                          one(func(q *apicw.MetricDataQuery) { q.Expression, q.MetricStat = "m*2", nil }),
		"Exactly one element of the metrics list":     one(func(q *apicw.MetricDataQuery) { q.ReturnData = ptr(false) }),
		"no statistic p99":                            one(func(q *apicw.MetricDataQuery) { q.MetricStat.Stat = "p99" }),
		"support AccountId":                           one(func(q *apicw.MetricDataQuery) { q.AccountId = "210987654321" }),
		"Metrics and Unit must not be given together": func(in *apicw.PutMetricAlarmInput) { one(func(*apicw.MetricDataQuery) {})(in); in.Unit = "Count" },
		"Metrics list must not be empty":              func(in *apicw.PutMetricAlarmInput) { in.MetricName, in.Metrics = "", []apicw.MetricDataQuery{} },
	} {
		_, err := w.PutMetricAlarm(t.Context(), call(), onLoad(change))
		if e, ok := errors.AsType[*apierr.Error](err); !ok || e.Code != "ValidationException" || e.Status != 400 || !strings.Contains(e.Message, text) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if out, err := w.DescribeAlarms(t.Context(), call(), &apicw.DescribeAlarmsInput{}); err != nil || len(out.MetricAlarms) != 0 {
		t.Errorf("a refused request left %+v, %v", out, err)
	}
	for _, change := range []func(*apicw.PutMetricAlarmInput){
		one(func(*apicw.MetricDataQuery) {}),
		func(in *apicw.PutMetricAlarmInput) { in.Period = ptr(int64(10)) },
		func(in *apicw.PutMetricAlarmInput) {
			in.Period, in.EvaluationPeriods = ptr(int64(86400)), ptr(int64(7))
		},
		func(in *apicw.PutMetricAlarmInput) {
			in.EvaluationWindow = &apicw.EvaluationWindow{SlidingWindow: &apicw.SlidingWindow{}}
		},
	} {
		if _, err := w.PutMetricAlarm(t.Context(), call(), onLoad(change)); err != nil {
			t.Error(err)
		}
	}
}

// Of a name that is too long for a subject its beginning is there.
func TestSubject(t *testing.T) {
	t.Parallel()
	a := &alarm{Record: &resource.Record{Key: resource.Key{Name: strings.Repeat("x", 255), Region: "eu-west-2"}, Phase: stateAlarm}}
	if got := a.subject(); len(got) != mostSubject || !strings.HasPrefix(got, `ALARM: "xxx`) || !strings.HasSuffix(got, `xxx..." in EU (London)`) {
		t.Errorf("%q is of %d", got, len(got))
	}
}

// meanwhile is a store before whose next update something else happens.
type meanwhile struct {
	store.Store
	first atomic.Pointer[func()]
}

func (m *meanwhile) Update(ctx context.Context, fn func(store.Tx) error) error {
	if f := m.first.Swap(nil); f != nil {
		(*f)()
	}
	return m.Store.Update(ctx, fn)
}

// What was found by a rule, or from a state, that was changed meanwhile is
// neither kept nor told.
func TestOldVerdict(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*world){
		"PutMetricAlarm": func(w *world) { w.alarm(func(in *apicw.PutMetricAlarmInput) { in.Threshold = ptr(10.0) }) },
		"SetAlarmState": func(w *world) {
			if _, err := w.SetAlarmState(w.t.Context(), call(), &apicw.SetAlarmStateInput{AlarmName: "hot", StateValue: stateAlarm, StateReason: "a drill"}); err != nil {
				w.t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "db")
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(10 * time.Second) // into a minute
				m := new(meanwhile)
				w := open(t, path, func(s store.Store) store.Store { m.Store = s; return m })
				w.topicThere()
				w.alarm(nil)
				synctest.Wait()
				before := len(w.history("StateUpdate"))
				f := func() { change(w) }
				m.first.Store(&f)
				w.load(7.5, 0)
				synctest.Wait()
				if m.first.Load() != nil {
					t.Fatal("nothing was found")
				}
				set := 0
				if name == "SetAlarmState" {
					set = 1
				}
				if got := w.history("StateUpdate")[before:]; len(got) != set || len(w.published()) != set {
					t.Errorf("states %q, %d messages, want %d of each", got, len(w.published()), set)
				}
				w.stop()
			})
		})
	}
}

// Data of a minute that has ended have their alarm looked at now, and leave what
// waits for the end of its own minute.
func TestLateData(t *testing.T) {
	t.Parallel()
	var woken []resource.Key
	w := newWatch(func(k resource.Key) { woken = append(woken, k) })
	k := resource.Key{Account: "1", Region: "r", Kind: KindAlarm, Name: "hot"}
	in := onLoad(func(in *apicw.PutMetricAlarmInput) { in.Statistic = "Average" })
	w.note(k, ruleOf(in), stateOK)
	now := time.Unix(1_800_000_030, 0)
	put := func(ago time.Duration) {
		w.added([]metrics.Datum{{Account: "1", Region: "r", Namespace: "My/App", Name: "Load", Dimensions: map[string]string{"Host": "a"}, Time: now.Add(-ago), Sum: 7, Min: 7, Max: 7, Count: 1}}, now)
	}
	put(0)
	if len(woken) != 0 || w.pending[k] != now.Unix()/60 {
		t.Errorf("data of now: woken %v, pending %v", woken, w.pending)
	}
	put(10 * time.Minute)
	if len(woken) != 1 || w.pending[k] != now.Unix()/60 {
		t.Errorf("late data: woken %v, pending %v", woken, w.pending)
	}
}
