package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"clary/internal/client"
)

// jobKind is a kind of jobs, as operations and the ledger name it.
type jobKind string

func jobKinds() []jobKind { return []jobKind{"TrainingJob", "ProcessingJob", "TransformJob"} }

// word is what --kind takes.
func (k jobKind) word() string { return strings.ToLower(strings.TrimSuffix(string(k), "Job")) }

func (k jobKind) logGroup() string { return "/aws/sagemaker/" + string(k) + "s" }

// job is what we read of a job, whatever its kind.
type job struct {
	kind                        jobKind
	Name, Status, Step, Message string // Step is finer than the status, if anything is
	Created, Ended              epoch
	FailureReason               string
	hosts                       int
}

func (j job) over() bool {
	switch j.Status {
	case "Completed", "Failed", "Stopped":
		return true
	}
	return false
}

// jobAnswer is a job as any kind's operations write it.
type jobAnswer struct {
	TrainingJobName, TrainingJobStatus, SecondaryStatus string
	ProcessingJobName, ProcessingJobStatus              string
	TransformJobName, TransformJobStatus                string
	CreationTime, TrainingEndTime                       epoch
	ProcessingEndTime, TransformEndTime                 epoch
	FailureReason                                       string
	SecondaryStatusTransitions                          []struct{ StatusMessage string }
	ResourceConfig, TransformResources                  struct{ InstanceCount int }
	ProcessingResources                                 struct{ ClusterConfig struct{ InstanceCount int } }
}

func (a jobAnswer) job(k jobKind) job {
	j := job{
		kind: k, Name: a.TrainingJobName + a.ProcessingJobName + a.TransformJobName, // two are absent
		Status: a.TrainingJobStatus + a.ProcessingJobStatus + a.TransformJobStatus, Step: a.SecondaryStatus,
		Created: a.CreationTime, Ended: max(a.TrainingEndTime, a.ProcessingEndTime, a.TransformEndTime), FailureReason: a.FailureReason,
		hosts: max(a.ResourceConfig.InstanceCount, a.ProcessingResources.ClusterConfig.InstanceCount, a.TransformResources.InstanceCount),
	}
	if n := len(a.SecondaryStatusTransitions); n > 0 {
		j.Message = a.SecondaryStatusTransitions[n-1].StatusMessage
	}
	return j
}

func describeJob(ctx context.Context, c *client.Client, k jobKind, name string) (job, error) {
	var a jobAnswer
	err := c.JSON(ctx, sagemaker, "SageMaker.Describe"+string(k), map[string]string{string(k) + "Name": name}, &a)
	return a.job(k), err
}

// findJob finds the kind of a job by its name, among all or the one of word; ""
// if there is no such job.
func findJob(ctx context.Context, c *client.Client, word, name string) (jobKind, error) {
	var found []jobKind
	for _, k := range jobKinds() {
		if word != "" && word != k.word() {
			continue
		}
		switch _, err := describeJob(ctx, c, k, name); {
		case err == nil:
			found = append(found, k)
		case client.Code(err) != "ValidationException": // which says that there is none
			return "", err
		}
	}
	switch {
	case len(found) == 0:
		return "", nil
	case len(found) > 1:
		return "", several(name, found...)
	}
	return found[0], nil
}

// several says that a name is that of jobs of several kinds.
func several(name string, kinds ...jobKind) error {
	var things, flags []string
	for _, k := range kinds {
		things, flags = append(things, "a "+k.word()+" job"), append(flags, "--kind "+k.word())
	}
	last := len(kinds) - 1
	return fmt.Errorf("%s and %s are named %s: say %s or %s",
		strings.Join(things[:last], ", "), things[last], name, strings.Join(flags[:last], ", "), flags[last])
}

// listJobs lists the newest jobs of all kinds together, so many of each. Of what
// the caller may not list there is none; of nothing but that, an error.
func listJobs(ctx context.Context, c *client.Client, limit int) (jobs []job, err error) {
	denied := 0
	for _, k := range jobKinds() {
		some, err := listKind(ctx, c, k, limit)
		if e, ok := errors.AsType[*client.Error](err); ok && e.Code == "AccessDeniedException" {
			if denied++; denied < len(jobKinds()) {
				continue
			}
		}
		if err != nil {
			return nil, err
		}
		jobs = append(jobs, some...)
	}
	slices.SortStableFunc(jobs, func(a, b job) int { return cmp.Compare(b.Created, a.Created) })
	return jobs, nil
}

func listKind(ctx context.Context, c *client.Client, k jobKind, limit int) ([]job, error) {
	var jobs []job
	in := map[string]any{"SortBy": "CreationTime", "SortOrder": "Descending"}
	for {
		in["MaxResults"] = min(100, limit-len(jobs))
		var page struct {
			TrainingJobSummaries, ProcessingJobSummaries, TransformJobSummaries []jobAnswer
			NextToken                                                           string
		}
		if err := c.JSON(ctx, sagemaker, "SageMaker.List"+string(k)+"s", in, &page); err != nil {
			return nil, err
		}
		for _, a := range slices.Concat(page.TrainingJobSummaries, page.ProcessingJobSummaries, page.TransformJobSummaries) {
			jobs = append(jobs, a.job(k))
		}
		if page.NextToken == "" || len(jobs) >= limit {
			return jobs, nil
		}
		in["NextToken"] = page.NextToken
	}
}
