package training

import (
	"context"

	api "clary/internal/api/sagemaker"
	"clary/internal/aws/op"
)

// Operations lists what this package serves.
func (t *Training) Operations() map[string]op.Handler {
	return map[string]op.Handler{
		"CreateTrainingJob": op.On(op.Op(t.Create), func(c op.Call, in *api.CreateTrainingJobRequest) string {
			return t.Arn(c, in.TrainingJobName)
		}),
		"DescribeTrainingJob": op.On(op.Keep(t.Describe), func(c op.Call, in *api.DescribeTrainingJobRequest) string {
			return t.Arn(c, in.TrainingJobName)
		}),
		"StopTrainingJob": op.On(op.Op(t.Stop), func(c op.Call, in *api.StopTrainingJobRequest) string {
			return t.Arn(c, in.TrainingJobName)
		}),
		"DeleteTrainingJob": op.On(op.Op(t.Delete), func(c op.Call, in *api.DeleteTrainingJobRequest) string {
			return t.Arn(c, in.TrainingJobName)
		}),
		"ListTrainingJobs": op.Op(t.List),
	}
}

// Stop asks for the end of a job.
func (t *Training) Stop(ctx context.Context, c op.Call, in *api.StopTrainingJobRequest) (*struct{}, error) {
	return nil, t.Engine.Stop(ctx, c, in.TrainingJobName)
}

// Delete removes a job that is over.
func (t *Training) Delete(ctx context.Context, c op.Call, in *api.DeleteTrainingJobRequest) (*struct{}, error) {
	return nil, t.Engine.Delete(ctx, c, in.TrainingJobName)
}
