package training

import (
	"context"
	"time"

	api "clary/internal/api/sagemaker"
	"clary/internal/job"
	"clary/internal/resource"
	"clary/internal/runtimes"
)

// Kind is the record kind of training jobs.
const Kind resource.Kind = "TrainingJob"

// Config is what the feature works with.
type Config struct {
	job.Config
	Metrics FinalMetrics
}

// FinalMetrics gives the last value of each metric that a job's output named.
type FinalMetrics interface {
	Last(ctx context.Context, account, region, job string) (map[string]MetricValue, error)
}

// MetricValue is one of them.
type MetricValue struct {
	Value float64
	At    time.Time
}

// Training serves training jobs; its engine reconciles them.
type Training struct {
	*job.Engine
	metrics FinalMetrics
	answers job.Answers[api.DescribeTrainingJobResponse]
}

// New makes the feature.
func New(c Config) *Training {
	return &Training{Engine: job.New(c.Config, family()), metrics: c.Metrics}
}

// Name is the service whose operations these are.
func (t *Training) Name() string { return "sagemaker" }

func family() job.Family {
	return job.Family{
		Kind: Kind, Word: "training", Read: read, Hint: hint,
		Program: func(rt runtimes.Runtime) []string { return rt.Train },
		Says: map[string]string{
			"Starting":           "Starting the training job",
			"Preparing":          "Preparing the instances for training",
			"Downloading":        "Downloading input data",
			"Training":           "Training image download completed. Training in progress.",
			"Uploading":          "Uploading generated training model",
			"Completed":          "Training job completed",
			"Failed":             "Training job failed",
			"Stopping":           "Stopping the training job",
			"Stopped":            "Training job stopped",
			"MaxRuntimeExceeded": "Training job runtime exceeded MaxRuntimeInSeconds provided",
		},
		Missing: func(string, bool) string { return "Requested resource not found." },
		Taken: func(arn string) string {
			return "Training job names must be unique within an AWS account and region, and a training job with this name already exists (" + arn + ")"
		},
		Silent:      "The training script ended without a message; see the job's log",
		OutOfMemory: "AlgorithmError: Please use an instance type with more memory, or reduce the size of training data processed on an instance. ",
	}
}
