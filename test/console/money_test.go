package console

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"clary/internal/meter"
	"clary/internal/resource"
	"clary/internal/store"
	"clary/internal/store/sqlite"
	"clary/test/daemon"
)

const account = "123456789012"

// spent puts a past into a server's data while it is down: jobs of two teams, and
// a notebook instance that was stopped long ago, whose volume goes on.
func spent(t *testing.T, data string) {
	t.Helper()
	st, err := sqlite.Open(filepath.Join(data, "clary.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	spec, err := json.Marshal(map[string]any{
		"NotebookInstanceName": "left", "InstanceType": "ml.t3.medium", "RoleArn": "arn:aws:iam::" + account + ":role/SageMakerRole", "VolumeSizeInGB": 20,
	})
	if err != nil {
		t.Fatal(err)
	}
	err = st.Update(t.Context(), func(tx store.Tx) error {
		made := now.AddDate(0, 0, -20)
		left := &resource.Record{
			Key: resource.Key{Account: account, Region: "us-east-1", Kind: "NotebookInstance", Name: "left"}, UID: resource.NewUID(), Phase: "Stopped",
			Arn: "arn:aws:sagemaker:us-east-1:" + account + ":notebook-instance/left", Created: made, Modified: made, Spec: spec, Status: json.RawMessage(`{"v":1,"volume":20,"volumes":1,"bills":1}`),
		}
		if err := tx.Put(left); err != nil {
			return err
		}
		compute, volume := meter.Of(left, "notebook", meter.InstanceSecond, 1, 1, made), meter.Of(left, "notebook-volume", meter.GBSecond, 1, 20, made)
		compute.InstanceType, compute.Tags, volume.Tags = "ml.t3.medium", map[string]string{"team": "vision"}, map[string]string{"team": "vision"}
		uses := []resource.Usage{compute, volume}
		ends := []time.Time{made.Add(9 * time.Hour), {}}
		for i := range 12 {
			u := resource.Usage{
				Account: account, Region: "us-east-1", Kind: "TrainingJob", Name: fmt.Sprint("job-", i), UID: resource.NewUID(), Component: "training", InstanceType: "ml.m5.xlarge",
				Unit: meter.InstanceSecond, Quantity: 1, Start: now.Add(-time.Duration(i+1) * 26 * time.Hour), Tags: map[string]string{"team": []string{"language", "vision"}[i%2]},
			}
			if i == 7 {
				u.InstanceType = "ml.none.large"
			}
			u.ID = meter.ID(u.UID, u.Component, 1)
			uses, ends = append(uses, u), append(ends, u.Start.Add(time.Duration(20+i*13)*time.Minute))
		}
		// A month may have begun a moment ago, and has a minute of this in any case.
		many := uses[3]
		many.Name, many.UID, many.Quantity, many.Start = "many", resource.NewUID(), 20, now.Add(-time.Minute)
		if first := time.Date(now.UTC().Year(), now.UTC().Month(), 1, 0, 0, 0, 0, time.UTC); many.Start.Before(first) {
			many.Start = first
		}
		many.ID = meter.ID(many.UID, many.Component, 1)
		uses, ends = append(uses, many), append(ends, many.Start.Add(time.Second))
		for i, u := range uses {
			if err := meter.Open(tx, u); err != nil {
				return err
			}
			if ends[i].IsZero() {
				continue
			}
			if err := meter.Close(tx, u.ID, ends[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	must(t, st.Close())
}

// clary runs a verb of ours and gives what it prints.
func clary(ctx context.Context, t *testing.T, d *daemon.Daemon, verb string, args ...string) string {
	t.Helper()
	out, err := d.Clary(ctx, verb, args...).CombinedOutput()
	if err != nil {
		t.Errorf("clary %s %v: %v\n%s", verb, args, err, out)
	}
	return string(out)
}

// The pages of money, of a server with a past: bill, budgets with an action that
// waits and is approved, alarms, messages that cannot leave, and what was
// forgotten.
func TestMoneyPages(t *testing.T) {
	t.Parallel()
	d, api := start(t)
	ctx := t.Context()
	must(t, d.Stop())
	spent(t, d.Data)
	must(t, d.Start(ctx))
	b := open(t, d)
	says := func(sel string, want ...string) {
		t.Helper()
		text := b.text(sel)
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("%s lacks %q:\n%s", js[string](b, "location.pathname"), w, text)
			}
		}
	}

	b.signIn("/billing?from=" + time.Now().UTC().AddDate(0, 0, -14).Format(time.DateOnly) + "&tag=team")
	says("main", "By kind", "Training jobs", "language", "vision", "per started minute", "on AWS", "no price here", "clary bill export s3://")
	b.shoot("billing")
	b.visit("/forgotten")
	says("main", "Volume of a stopped notebook instance", "its volume of 20 GB goes on", "This month so far", "if it goes on")
	b.shoot("forgotten")
	b.visit("/")
	says("main", "1 forgotten resource")

	b.visit("/budgets")
	must(t, api.SNS(ctx, "CreateTopic", "Name", "spend"))
	topic := "arn:aws:sns:us-east-1:" + account + ":spend"
	must(t, api.SNS(ctx, "Subscribe", "TopicArn", topic, "Protocol", "email", "Endpoint", "team@example.com"))
	clary(ctx, t, d, "budget", "create", "team", "500", "--email", "team@example.com", "--topic", topic, "--stop")
	clary(ctx, t, d, "budget", "create", "vision", "0.05", "--email", "vision@example.com", "--tag", "team=vision", "--stop", "--ask")
	b.until("the budget that is over, without a reload", `/vision/.test(document.querySelector("#budgets")?.innerText) && /waits for approval/.test(document.querySelector("#budgets").innerText)`)
	b.visit("/budgets")
	says("main", "team", "$500.00", "STANDBY", "PENDING", "asks first", "in alarm")
	b.shoot("budgets")
	b.visit("/budgets/vision")
	says("main", "vision@example.com", "stops All in us-east-1", "once somebody approves it", "user:team$vision", "Approve…")
	b.shoot("budget")
	b.visit(js[string](b, `document.querySelector("a[href$='/approve']").getAttribute("href")`))
	says("main", "Approve the action of vision?", "Let them run")
	b.shoot("budget-approve")
	if on := js[string](b, "document.activeElement.innerText"); on != "Let them run" {
		t.Errorf("the page has its focus on %q", on)
	}
	b.tabTo("form button.danger")
	b.press("\r")
	b.until("the approved action", `location.pathname == "/budgets/vision" && /EXECUTION_SUCCESS/.test(document.querySelector("#budget")?.innerText)`)

	must(t, api.JSON(ctx, "monitoring", "GraniteServiceVersion20100801.PutMetricAlarm", map[string]any{
		"AlarmName": "spend-over-1-cent", "Namespace": "AWS/Billing", "MetricName": "EstimatedCharges", "Dimensions": []any{map[string]string{"Name": "Currency", "Value": "USD"}},
		"Statistic": "Maximum", "Period": 60, "EvaluationPeriods": 1, "Threshold": 0.01, "ComparisonOperator": "GreaterThanThreshold", "AlarmActions": []string{topic},
	}, nil))
	b.visit("/alarms")
	says("main", "spend-over-1-cent", "Maximum of EstimatedCharges Currency=USD > 0.01")
	b.shoot("alarms")
	b.visit("/alarms/spend-over-1-cent")
	b.until("the alarm's state", `/ALARM/.test(document.querySelector("h1 ~ .status")?.innerText ?? "")  || (setTimeout(() => location.reload(), 3000), false)`)
	says("main", "History", "threshold 0.01", "delete-alarms")
	b.shoot("alarm")

	b.visit("/notifications")
	says("main", "No mail server is set", "spend", "to be confirmed", "vision@example.com", "Pending")
	b.shoot("notifications")
	b.quiet()

	must(t, api.CreateBucket(ctx, bucket))
	for _, format := range []string{"csv", "parquet"} {
		if out := clary(ctx, t, d, "bill", "export", "s3://"+bucket+"/bills", "--format", format, "--from", "2026-01-01"); !strings.Contains(out, "s3://"+bucket+"/bills/bill-2026-01-01-") {
			t.Error(out)
		}
	}
	if out := clary(ctx, t, d, "bill", "verify"); !strings.HasSuffix(out, "The bill is proven.\n") {
		t.Error(out)
	}
	if out := clary(ctx, t, d, "forgotten"); !strings.Contains(out, "clary notebook delete left") {
		t.Error(out)
	}
	if out := clary(ctx, t, d, "budget", "describe", "vision"); !strings.Contains(out, "EXECUTION_SUCCESS") {
		t.Error(out)
	}
	clary(ctx, t, d, "budget", "rm", "vision")
	if out := clary(ctx, t, d, "budget", "ls"); strings.Contains(out, "vision") || !strings.Contains(out, "team") {
		t.Error(out)
	}
}
