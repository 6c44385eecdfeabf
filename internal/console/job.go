package console

import (
	"slices"
	"strings"
	"time"

	sm "clary/internal/api/sagemaker"
	"clary/internal/resource"
)

// step is one entry of a job's history.
type step struct {
	Status, Message string
	Start           time.Time
	Took            time.Duration
	Open            bool
	X, Width        float64 // its place in the bar, of barWidth
}

const barWidth = 1000

// fact is a row of a page; Path leads to what the value names, "" nowhere.
type fact struct{ Name, Value, Path string }

type jobBody struct {
	Job                 *sm.DescribeTrainingJobResponse
	Path                string
	Running             bool
	Steps               []step
	Billable            time.Duration
	Cost                cost
	Billed              bool
	Config, Params, Env []fact
	Inputs              []objects
	MoreInputs          int // channels that are not shown
	Output              *objects
	Metrics             []*chart
	Final               []fact
	MetricsNote         string
	Log                 *logBody
	Hint                string
	Now                 time.Time
}

// trainingJob is a job's page.
func (c *Console) trainingJob(v *view) error {
	job, err := v.describeJob()
	if err != nil {
		return err
	}
	now := c.cfg.Now()
	body := jobBody{
		Job: job, Path: jobPath(job.TrainingJobName), Running: running(job.TrainingJobStatus), Now: now,
		Steps: history(job, now), Hint: hint(job.FailureReason),
		Config: configOf(job), Params: pairs(job.HyperParameters), Env: pairs(job.Environment),
	}
	bills, err := v.costs(resource.UsageQuery{Kind: "TrainingJob", Names: []string{job.TrainingJobName}, From: job.CreationTime.Time})
	if err != nil {
		return err
	}
	body.Cost, body.Billed = bills.byName()[job.TrainingJobName]
	body.Billable = time.Duration(body.Cost.Seconds) * time.Second
	if job.BillableTimeInSeconds != nil {
		body.Billable = time.Duration(*job.BillableTimeInSeconds) * time.Second
	}
	if body.Log, err = v.jobLog(job); err != nil {
		return err
	}
	if err := v.metrics(job, &body); err != nil {
		return err
	}
	if err := v.dataOf(job, &body); err != nil {
		return err
	}
	return v.show("training-job", job.TrainingJobName, "training-jobs", body)
}

func (v *view) describeJob() (*sm.DescribeTrainingJobResponse, error) {
	return ask[sm.DescribeTrainingJobResponse](v, "sagemaker", "DescribeTrainingJob",
		&sm.DescribeTrainingJobRequest{TrainingJobName: v.r.PathValue("name")})
}

func running(status string) bool { return status == "InProgress" || status == "Stopping" }

// history lays a job's transitions along a bar.
func history(job *sm.DescribeTrainingJobResponse, now time.Time) []step {
	list := job.SecondaryStatusTransitions
	if len(list) == 0 {
		return nil
	}
	end := now
	if !job.TrainingEndTime.IsZero() {
		end = job.TrainingEndTime.Time
	}
	start := list[0].StartTime.Time
	total := max(end.Sub(start), time.Millisecond)
	var out []step
	for i, t := range list {
		s := step{Status: t.Status, Message: t.StatusMessage, Start: t.StartTime.Time}
		until := end
		if !t.EndTime.IsZero() {
			until = t.EndTime.Time
		} else {
			s.Open = running(job.TrainingJobStatus) && i == len(list)-1
		}
		s.Took = max(0, until.Sub(s.Start))
		s.X = float64(s.Start.Sub(start)) / float64(total) * barWidth
		s.Width = max(2, float64(s.Took)/float64(total)*barWidth)
		out = append(out, s)
	}
	return out
}

func configOf(job *sm.DescribeTrainingJobResponse) []fact {
	var out []fact
	add := func(name, value string) {
		if value != "" {
			out = append(out, fact{Name: name, Value: value})
		}
	}
	add("ARN", job.TrainingJobArn)
	add("Role", job.RoleArn)
	if a := job.AlgorithmSpecification; a != nil {
		add("Image", a.TrainingImage)
		add("Input mode", a.TrainingInputMode)
		add("Entrypoint", strings.Join(a.ContainerEntrypoint, " "))
		add("Arguments", strings.Join(a.ContainerArguments, " "))
	}
	if r := job.ResourceConfig; r != nil {
		n := int64(1)
		if r.InstanceCount != nil {
			n = *r.InstanceCount
		}
		add("Instances", count(int(n))+" × "+r.InstanceType)
		if r.VolumeSizeInGB != nil {
			add("Volume", count(int(*r.VolumeSizeInGB))+" GB")
		}
	}
	if s := job.StoppingCondition; s != nil && s.MaxRuntimeInSeconds != nil {
		add("Longest run", span(time.Duration(*s.MaxRuntimeInSeconds)*time.Second))
	}
	if job.EnableNetworkIsolation != nil && *job.EnableNetworkIsolation {
		add("Network", "isolated")
	}
	if o := job.OutputDataConfig; o != nil {
		add("Output", o.S3OutputPath)
	}
	if k := job.CheckpointConfig; k != nil {
		add("Checkpoints", k.S3Uri)
	}
	return out
}

func pairs(m map[string]string) []fact {
	var out []fact
	for k, v := range m {
		out = append(out, fact{Name: k, Value: v})
	}
	slices.SortFunc(out, func(a, b fact) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// hint says what to do about a failure, where its reason does not.
func hint(reason string) string {
	for _, h := range []struct{ part, text string }{
		{"out of memory", "Choose an instance type with more memory, or read the data in smaller parts."},
		{"VolumeSizeInGB", "Give the job a larger volume: VolumeSizeInGB in ResourceConfig (volume_size in the SDK)."},
		{"AccessDenied", "Look at the policies of the job's role; the message names the action that it may not take."},
		{"NoSuchBucket", "Check the bucket's name in the job's inputs."},
		{"No S3 objects found", "Check the prefix of the channel; the message names it."},
		{"ModuleNotFoundError", "Put the module into requirements.txt beside the script; it is installed before the script starts."},
		{"could not be built", "The log below tells how the runtime was built and where that stopped."},
		{"exit code", "The end of the script's own output, with its traceback, is in the log below."},
	} {
		if strings.Contains(reason, h.part) {
			return h.text
		}
	}
	return ""
}

type stopBody struct {
	Name, Path string
	Cost       cost
	Since      time.Time
}

// trainingStopPage asks once more.
func (c *Console) trainingStopPage(v *view) error {
	job, err := v.describeJob()
	if err != nil {
		return err
	}
	bills, err := v.costs(resource.UsageQuery{Kind: "TrainingJob", Names: []string{job.TrainingJobName}, From: job.CreationTime.Time})
	if err != nil {
		return err
	}
	return v.show("stop", "Stop "+job.TrainingJobName, "training-jobs", stopBody{
		job.TrainingJobName, jobPath(job.TrainingJobName), bills.byName()[job.TrainingJobName], job.CreationTime.Time,
	})
}

func (c *Console) trainingStop(v *view) error {
	name := v.r.PathValue("name")
	if _, err := v.act("sagemaker", "StopTrainingJob", &sm.StopTrainingJobRequest{TrainingJobName: name}); err != nil {
		return err
	}
	v.to(jobPath(name))
	return nil
}
