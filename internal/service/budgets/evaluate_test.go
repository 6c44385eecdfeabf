package budgets

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestCrossing(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.cost("mine", "1.00", 80, letterTo("me@example.com"))
		time.Sleep(time.Hour)
		begun := time.Now()
		w.runs(thing("NotebookInstance", "nb"), "notebook", "ml.cent", nil)
		time.Sleep(time.Hour)
		synctest.Wait()
		// 80 minutes cost 0.80; the 81st is charged when it begins.
		if l := w.letters(); len(l) != 0 {
			t.Fatalf("told after %v: %+v", l[0].at.Sub(begun), l)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		l := w.letters()
		if len(l) != 1 {
			t.Fatalf("%d letters, want 1", len(l))
		}
		if d := l[0].at.Sub(begun) - 80*time.Minute; d < 0 || d > time.Second {
			t.Errorf("told %v after the crossing", d)
		}
		for _, want := range []string{
			"Budget Name: mine\n", "Budget Type: Cost\n", "Budgeted Amount: $1.00\n", "Alert Type: ACTUAL\n", "Alert Threshold: > $0.80\n", "ACTUAL Amount: $0.81\n",
			"NotebookInstance nb (us-east-1)\n  costs $0.60 per hour, $0.81 so far", "clary notebook stop nb\n", "aws sagemaker stop-notebook-instance --notebook-instance-name nb --region us-east-1\n",
		} {
			if !strings.Contains(l[0].Body, want) {
				t.Errorf("the letter lacks %q:\n%s", want, l[0].Body)
			}
		}
		if l[0].Subject != "AWS Budgets: mine has exceeded your alert threshold" || l[0].To != "me@example.com" || l[0].Channel != "email" {
			t.Errorf("%+v", l[0])
		}
		if got := w.describe1("mine").CalculatedSpend.ActualSpend; got.Amount != "1.2" || got.Unit != "USD" {
			t.Errorf("spent %+v", got)
		}
	})
}
