package notebook

import (
	api "clary/internal/api/sagemaker"
	"clary/internal/aws/arn"
	"clary/internal/aws/op"
)

const arnType = "notebook-instance"

// Operations lists what this package serves.
func (n *Notebooks) Operations() map[string]op.Handler {
	return map[string]op.Handler{
		"CreateNotebookInstance": op.On(op.Op(n.Create), func(c op.Call, in *api.CreateNotebookInstanceInput) string {
			return arnOf(c, in.NotebookInstanceName)
		}),
		"DescribeNotebookInstance": op.On(op.Op(n.Describe), func(c op.Call, in *api.DescribeNotebookInstanceInput) string {
			return arnOf(c, in.NotebookInstanceName)
		}),
		"StartNotebookInstance": op.On(op.Op(n.Start), func(c op.Call, in *api.StartNotebookInstanceInput) string {
			return arnOf(c, in.NotebookInstanceName)
		}),
		"StopNotebookInstance": op.On(op.Op(n.Stop), func(c op.Call, in *api.StopNotebookInstanceInput) string {
			return arnOf(c, in.NotebookInstanceName)
		}),
		"UpdateNotebookInstance": op.On(op.Op(n.Update), func(c op.Call, in *api.UpdateNotebookInstanceInput) string {
			return arnOf(c, in.NotebookInstanceName)
		}),
		"DeleteNotebookInstance": op.On(op.Op(n.Delete), func(c op.Call, in *api.DeleteNotebookInstanceInput) string {
			return arnOf(c, in.NotebookInstanceName)
		}),
		"CreatePresignedNotebookInstanceUrl": op.On(op.Op(n.Presign), func(c op.Call, in *api.CreatePresignedNotebookInstanceUrlInput) string {
			return arnOf(c, in.NotebookInstanceName)
		}),
		"ListNotebookInstances": op.Op(n.List),
	}
}

func arnOf(c op.Call, name string) string {
	return arn.SageMaker(c.Region, c.Account, arnType, name)
}
