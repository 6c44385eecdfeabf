package training

import (
	"context"

	api "clary/internal/api/sagemaker"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/job"
)

// Create accepts a job: one transaction, no compute touched.
func (t *Training) Create(ctx context.Context, c op.Call, in *request) (*api.CreateTrainingJobResponse, error) {
	if err := t.check(in); err != nil {
		return nil, err
	}
	arn, err := t.Engine.Create(ctx, c, in.TrainingJobName, in.RoleArn, in, in.Tags)
	if err != nil {
		return nil, err
	}
	return &api.CreateTrainingJobResponse{TrainingJobArn: arn}, nil
}

// check refuses what the model allows and we cannot do, and what AWS refuses
// beyond the model. Members that change nothing here are recorded and listed
// in docs/DIVERGENCES.md.
func (t *Training) check(in *request) error {
	alg := in.AlgorithmSpecification
	switch {
	case in.ServerlessJobConfig != nil:
		return t.Refuse("ServerlessJobConfig")
	case in.SessionChainingConfig != nil:
		return t.Refuse("SessionChainingConfig")
	case in.ModelPackageConfig != nil:
		return t.Refuse("ModelPackageConfig")
	case alg == nil:
		return apierr.Validation("AlgorithmSpecification is required.")
	case alg.AlgorithmName != "":
		return t.Refuse("AlgorithmSpecification.AlgorithmName")
	case alg.TrainingImage == "":
		return apierr.Validation("Both TrainingImage and AlgorithmName cannot be empty in AlgorithmSpecification; provide one of them.")
	case alg.TrainingInputMode == "Pipe":
		return t.Refuse("TrainingInputMode Pipe")
	case in.ResourceConfig == nil:
		return apierr.Validation("ResourceConfig is required.")
	}
	if err := t.checkResources(in); err != nil {
		return err
	}
	if err := checkTimes(in); err != nil {
		return err
	}
	if !job.IsS3(in.OutputDataConfig.S3OutputPath) {
		return apierr.Validation("Invalid S3OutputPath %q: it must be of the form s3://bucket/prefix.", in.OutputDataConfig.S3OutputPath)
	}
	if in.CheckpointConfig != nil {
		if !job.IsS3(in.CheckpointConfig.S3Uri) {
			return apierr.Validation("Invalid CheckpointConfig.S3Uri %q: it must be of the form s3://bucket/prefix.", in.CheckpointConfig.S3Uri)
		}
		p := in.CheckpointConfig.LocalPath
		if _, ok := job.Below(p, "/opt/ml"); p != "" && !ok {
			return apierr.Validation("Invalid CheckpointConfig.LocalPath %q: it must be below /opt/ml.", p)
		}
	}
	return t.checkChannels(in)
}

func (t *Training) checkResources(in *request) error {
	rc := in.ResourceConfig
	switch {
	case len(rc.InstanceGroups) > 0:
		return t.Refuse("ResourceConfig.InstanceGroups")
	case len(rc.InstancePreferences) > 0:
		return t.Refuse("ResourceConfig.InstancePreferences")
	case rc.TrainingPlanArn != "":
		return t.Refuse("ResourceConfig.TrainingPlanArn")
	case rc.InstanceType == "":
		return apierr.Validation("InstanceType is required in ResourceConfig.")
	case rc.InstanceCount == nil || *rc.InstanceCount < 1:
		return apierr.Validation("InstanceCount must be at least 1 in ResourceConfig.")
	}
	return t.CheckInstances(rc.InstanceType, *rc.InstanceCount)
}

const maxRuntimeLimit = 2419200 // 28 days, in seconds; the API reference's limit

func checkTimes(in *request) error {
	run := int64(defaultMaxRuntime)
	var wait *int64
	if s := in.StoppingCondition; s != nil {
		if s.MaxRuntimeInSeconds != nil {
			run = *s.MaxRuntimeInSeconds
		}
		wait = s.MaxWaitTimeInSeconds
	}
	switch {
	case run > maxRuntimeLimit:
		return apierr.Validation("Invalid MaxRuntimeInSeconds %d: it must not exceed %d seconds.", run, maxRuntimeLimit)
	case job.IsTrue(in.EnableManagedSpotTraining) && (wait == nil || *wait < run):
		return apierr.Validation("Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to MaxRuntimeInSeconds")
	case !job.IsTrue(in.EnableManagedSpotTraining) && wait != nil:
		return apierr.Validation("MaxWaitTimeInSeconds above 0 is supported only when EnableManagedSpotTraining is set to true")
	}
	return nil
}

func (t *Training) checkChannels(in *request) error {
	names := map[string]bool{}
	for _, ch := range in.InputDataConfig {
		if names[ch.ChannelName] {
			return apierr.Validation("Duplicate channel name %q: channel names must be unique.", ch.ChannelName)
		}
		names[ch.ChannelName] = true
		src := ch.DataSource
		switch {
		case ch.InputMode == "Pipe":
			return t.Refuse("InputMode Pipe")
		case src == nil || (src.S3DataSource == nil && src.FileSystemDataSource == nil && src.DatasetSource == nil):
			return apierr.Validation("No data source is given for channel %q.", ch.ChannelName)
		case src.S3DataSource == nil:
			return t.Refuse("DataSource other than S3DataSource")
		case ch.CompressionType == "Gzip":
			return apierr.Validation("CompressionType Gzip of channel %q is supported only with Pipe input mode.", ch.ChannelName)
		case ch.RecordWrapperType == "RecordIO":
			return apierr.Validation("RecordWrapperType RecordIO of channel %q is supported only with Pipe input mode.", ch.ChannelName)
		}
		s3 := src.S3DataSource
		switch s3.S3DataType {
		case "S3Prefix", "ManifestFile":
		default:
			return t.Refuse("S3DataType " + s3.S3DataType)
		}
		if !job.IsS3(s3.S3Uri) {
			return apierr.Validation("Invalid S3Uri %q of channel %q: it must be of the form s3://bucket/prefix.", s3.S3Uri, ch.ChannelName)
		}
	}
	return nil
}
