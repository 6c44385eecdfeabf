package training

import (
	api "clary/internal/api/sagemaker"
	"clary/internal/aws/arn"
	"clary/internal/aws/op"
)

const arnType = "training-job"

// Operations lists what this package serves.
func (t *Training) Operations() map[string]op.Handler {
	return map[string]op.Handler{
		"CreateTrainingJob": op.On(op.Op(t.Create), func(c op.Call, in *api.CreateTrainingJobRequest) string {
			return jobArn(c, in.TrainingJobName)
		}),
		"DescribeTrainingJob": op.On(op.Keep(t.Describe), func(c op.Call, in *api.DescribeTrainingJobRequest) string {
			return jobArn(c, in.TrainingJobName)
		}),
		"StopTrainingJob": op.On(op.Op(t.Stop), func(c op.Call, in *api.StopTrainingJobRequest) string {
			return jobArn(c, in.TrainingJobName)
		}),
		"DeleteTrainingJob": op.On(op.Op(t.Delete), func(c op.Call, in *api.DeleteTrainingJobRequest) string {
			return jobArn(c, in.TrainingJobName)
		}),
		"ListTrainingJobs": op.Op(t.List),
	}
}

func jobArn(c op.Call, name string) string {
	return arn.SageMaker(c.Region, c.Account, arnType, name)
}
