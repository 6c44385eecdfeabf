//go:build nightly

package daemon_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"clary/internal/client"
	"clary/internal/meter"
	"clary/internal/resource"
	"clary/test/daemon"
)

// All cost five cents a minute, storage next to nothing.
const budgetPrices = `region,component,unit,instance_type,usd_per_unit,as_of
us-east-1,notebook,instance-hour,ml.t3.medium,3.00,2000-01-01
us-east-1,notebook,GB-month,volume,0.001,2000-01-01
us-east-1,hosting,instance-hour,ml.m5.large,3.00,2000-01-01
us-east-1,training,instance-hour,ml.m5.large,3.00,2000-01-01
`

// stubborn is a program that does not listen.
const stubborn = `import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
while True:
    print("still here")
    time.sleep(1)
`

// TestRealBudget forgets a notebook instance, an endpoint and a training job
// that does not listen, on a real clock, below a budget of a dollar, over a
// kill of the server. The ledger closes at the dollar or under it, not earlier
// than what is kept back, and the job beside them goes on.
func TestRealBudget(t *testing.T) {
	dir := dataDir(t)
	prices := filepath.Join(dir, "prices.csv")
	if err := os.WriteFile(prices, []byte(budgetPrices), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := daemon.New(bin(t), dir, "--prices", prices)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Borrow(); err != nil {
		t.Fatal(err)
	}
	if err := d.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := &world{Daemon: d, t: t, ids: map[string]string{}}
	t.Cleanup(func() {
		if err := d.Stop(); err != nil {
			t.Errorf("stopping the server: %v", err)
		}
		if t.Failed() {
			_ = daemon.Clear(d.Data) // what it did not stop would run for an hour
			t.Logf("end of the server's log:\n%s", d.Tail())
		}
	})
	if w.API, err = d.API(); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	w.must(w.CreateBucket(ctx, bucket))
	budgets := func(operation string, in, out any) {
		t.Helper()
		w.must(w.JSON(ctx, "budgets", "AWSBudgetServiceGateway."+operation, in, out))
	}
	const account, role, stops = "123456789012", "arn:aws:iam::123456789012:role/Unknown", "arn:aws:iam::123456789012:role/Stops"
	w.must(w.IAM(ctx, "CreateRole", "RoleName", "Stops", "AssumeRolePolicyDocument", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"budgets.amazonaws.com"},"Action":"sts:AssumeRole"}]}`))
	w.must(w.IAM(ctx, "PutRolePolicy", "RoleName", "Stops", "PolicyName", "stops", "PolicyDocument",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["sagemaker:StopNotebookInstance","sagemaker:StopTrainingJob","sagemaker:DeleteEndpoint"],"Resource":"*"}]}`))
	budgets("CreateBudget", map[string]any{"AccountId": account, "Budget": map[string]any{
		"BudgetName": "small", "BudgetType": "COST", "TimeUnit": "MONTHLY", "BudgetLimit": map[string]string{"Amount": "1.00", "Unit": "USD"},
		"CostFilters": map[string][]string{"TagKeyValue": {"user:team$a"}},
	}}, nil)
	var action struct{ ActionId string }
	budgets("CreateBudgetAction", map[string]any{
		"AccountId": account, "BudgetName": "small", "NotificationType": "ACTUAL", "ActionType": "RUN_SSM_DOCUMENTS", "ApprovalModel": "AUTOMATIC", "ExecutionRoleArn": stops,
		"ActionThreshold": map[string]any{"ActionThresholdValue": 100, "ActionThresholdType": "PERCENTAGE"},
		"Definition":      map[string]any{"SsmActionDefinition": map[string]any{"ActionSubType": "STOP_EC2_INSTANCES", "Region": daemon.Region, "InstanceIds": []string{"All"}}},
		"Subscribers":     []any{map[string]string{"SubscriptionType": "EMAIL", "Address": "a@example.com"}},
	}, &action)

	tags := []any{map[string]string{"Key": "team", "Value": "a"}}
	long := daemon.With("StoppingCondition", map[string]any{"MaxRuntimeInSeconds": 3600})
	w.must(w.SageMaker(ctx, "CreateNotebookInstance", map[string]any{"NotebookInstanceName": "book", "InstanceType": "ml.t3.medium", "RoleArn": role, "Tags": tags}, nil))
	w.must(w.Put(ctx, bucket, "m/model.tar.gz", archived(t, map[string]string{"name": "m", "code/inference.py": answerer})))
	w.must(w.SageMaker(ctx, "CreateModel", map[string]any{
		"ModelName": "m", "ExecutionRoleArn": role, "PrimaryContainer": map[string]any{
			"Image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/sagemaker-base-python:3.10", "ModelDataUrl": "s3://" + bucket + "/m/model.tar.gz",
			"Environment": map[string]string{"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_MODEL_SERVER_WORKERS": "1"},
		},
	}, nil))
	w.must(w.SageMaker(ctx, "CreateEndpointConfig", map[string]any{
		"EndpointConfigName": "c", "ProductionVariants": []any{map[string]any{"VariantName": "AllTraffic", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}},
	}, nil))
	w.must(w.SageMaker(ctx, "CreateEndpoint", map[string]any{"EndpointName": "site", "EndpointConfigName": "c", "Tags": tags}, nil))
	w.must(w.SageMaker(ctx, "CreateTrainingJob", daemon.JobRequest("job", bucket, daemon.Python(stubborn), long, daemon.With("Tags", tags)), nil))
	w.must(w.SageMaker(ctx, "CreateTrainingJob", daemon.JobRequest("other", bucket, daemon.Python(stubborn), long), nil))

	var book struct{ NotebookInstanceStatus, FailureReason string }
	in := map[string]string{"NotebookInstanceName": "book"}
	within(t, 4*time.Minute, "all to run", func() bool {
		w.must(w.SageMaker(ctx, "DescribeNotebookInstance", in, &book))
		use, err := w.Usage(ctx)
		w.must(err)
		return book.NotebookInstanceStatus == "InService" && len(use["site"]) > 0 && len(use["job"]) > 0
	})
	w.must(w.Kill())
	w.must(w.Start(context.WithoutCancel(ctx)))

	type history struct {
		ActionHistories []struct {
			Timestamp            float64
			Status               string
			ActionHistoryDetails struct{ Message string }
		}
	}
	var h history
	said := ""
	within(t, 6*time.Minute, "the budget to act", func() bool {
		h = history{}
		budgets("DescribeBudgetActionHistories", map[string]string{"AccountId": account, "BudgetName": "small", "ActionId": action.ActionId}, &h)
		if now := h.ActionHistories[0]; now.Status != said {
			said = now.Status
			t.Logf("%s %s %s", time.Unix(int64(now.Timestamp), 0).UTC().Format(time.TimeOnly), now.Status, now.ActionHistoryDetails.Message)
		}
		return said == "EXECUTION_SUCCESS"
	})
	within(t, 4*time.Minute, "all to be at rest", func() bool {
		w.must(w.SageMaker(ctx, "DescribeNotebookInstance", in, &book))
		j, err := w.Describe(ctx, "job")
		w.must(err)
		err = w.SageMaker(ctx, "DescribeEndpoint", map[string]string{"EndpointName": "site"}, new(hosted))
		return book.NotebookInstanceStatus == "Stopped" && j.TrainingJobStatus == "Stopped" && client.Code(err) == "ValidationException"
	})
	other, err := w.Describe(ctx, "other")
	w.must(err)
	if other.TrainingJobStatus != "InProgress" {
		t.Errorf("the job beside them is %s", other.TrainingJobStatus)
	}

	p, err := meter.ReadPrices(strings.NewReader(budgetPrices), prices)
	w.must(err)
	use, err := w.Usage(ctx)
	w.must(err)
	var mine []resource.Usage
	for _, name := range []string{"book", "site", "job"} {
		mine = append(mine, use[name]...)
	}
	for _, u := range mine {
		if u.Unit == meter.InstanceSecond && u.End.IsZero() {
			t.Errorf("still costs: %+v", u)
		}
		t.Logf("%s %s: %s to %s", u.Kind, u.Component, u.Start.UTC().Format(time.TimeOnly), u.End.UTC().Format(time.TimeOnly))
	}
	is := meter.Bill(mine, meter.MinuteBook(p), time.Time{}, time.Time{}, time.Now()).MicroUSD
	const limit, kept = 1_000_000, 10 * 50_000 // a minute to notice and one for a sleep for each, and what each stop takes
	t.Logf("the ledger closes at $%.6f of $1.00; $%.2f are kept back", float64(is)/1e6, float64(kept)/1e6)
	if is > limit || is < limit-kept-1000 {
		t.Errorf("the ledger closes at %d micro-dollars", is)
	}
	w.must(w.SageMaker(ctx, "StopTrainingJob", map[string]string{"TrainingJobName": "other"}, nil))
	within(t, 4*time.Minute, "the job beside them to stop", func() bool {
		j, err := w.Describe(ctx, "other")
		w.must(err)
		return j.TrainingJobStatus == "Stopped"
	})
	w.must(w.SageMaker(ctx, "DeleteNotebookInstance", in, nil))
	within(t, 2*time.Minute, "nothing to be left", func() bool {
		return client.Code(w.SageMaker(ctx, "DescribeNotebookInstance", in, &book)) != ""
	})
}

// within waits for longer than the other tests do.
func within(t *testing.T, most time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(most)
	defer deadline.Stop()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			t.Fatalf("waited %s for %s", most, what)
		case <-tick.C:
		}
	}
}
