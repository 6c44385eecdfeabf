package cli

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// One that failed is started like one that was stopped, when it is asked for.
func TestNotebookOpenStarts(t *testing.T) {
	t.Parallel()
	for _, status := range []string{"Stopped", "Failed"} {
		b := newBench(t)
		at := status
		b.on("SageMaker.DescribeNotebookInstance", func(map[string]any) (int, any) {
			return 200, map[string]any{"NotebookInstanceName": "nb", "NotebookInstanceStatus": at, "FailureReason": "the volume is full"}
		})
		b.on("SageMaker.StartNotebookInstance", func(map[string]any) (int, any) {
			at = "InService"
			return 200, map[string]any{}
		})
		b.answer("SageMaker.CreatePresignedNotebookInstanceUrl", map[string]any{"AuthorizedUrl": "http://nb-x.localhost:1/?authToken=t"})
		code, out, errOut := b.run("notebook", "open", "nb", "--print")
		if code == 0 || !strings.Contains(errOut, "open --start nb") || at != status || strings.Contains(errOut, "the volume is full") != (status == "Failed") {
			t.Errorf("%s: %d %s %s", status, code, out, errOut)
		}
		if code, out, errOut := b.run("notebook", "open", "--start", "nb", "--print"); code != 0 || out != "http://nb-x.localhost:1/?authToken=t\n" {
			t.Errorf("%s: %d %s %s", status, code, out, errOut)
		}
	}
}

// What is listed is what is asked about, and nothing else of the ledger.
func TestNotebookListAsksForItsOwn(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.answer("/_clary/usage", usage{})
	var books, jobs []any
	for i := range 2*namesAtOnce + 1 {
		books = append(books, map[string]any{"NotebookInstanceName": fmt.Sprint("nb-", i), "NotebookInstanceStatus": "Stopped"})
	}
	jobs = append(jobs, map[string]any{"TrainingJobName": "j", "TrainingJobStatus": "Completed"})
	b.answer("SageMaker.ListNotebookInstances", map[string]any{"NotebookInstances": books})
	b.answer("SageMaker.ListTrainingJobs", map[string]any{"TrainingJobSummaries": jobs})
	about := func(args ...string) (kinds, names []string) {
		b.mu.Lock()
		b.asked = nil
		b.mu.Unlock()
		if code, _, errOut := b.run(args...); code != 0 {
			t.Fatal(errOut)
		}
		for _, a := range b.asked {
			query, ok := strings.CutPrefix(a, "/_clary/usage ")
			if !ok {
				continue
			}
			q, err := url.ParseQuery(query)
			if err != nil {
				t.Fatal(err)
			}
			kinds, names = append(kinds, q["kind"]...), append(names, q["name"]...)
		}
		return kinds, names
	}
	if kinds, names := about("notebook", "ls"); len(kinds) != 3 || len(names) != len(books) || !slices.Contains(names, "nb-0") {
		t.Errorf("ls asks about %v, %d names", kinds, len(names))
	}
	if kinds, names := about("ps", "-n", "2"); !slices.Equal(kinds, []string{"NotebookInstance", "TrainingJob"}) || !slices.Equal(names, []string{"nb-0", "nb-1", "j"}) {
		t.Errorf("ps asks about %v, %v", kinds, names)
	}
}
