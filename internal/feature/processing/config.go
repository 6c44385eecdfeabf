package processing

import (
	"github.com/go-json-experiment/json"

	api "clary/internal/api/sagemaker"
	"clary/internal/resource"
)

// config is /opt/ml/config/processingjobconfig.json, the request with AWS's
// defaults in it. Programs index it: what AWS documents is there, if only as
// null.
type config struct {
	ProcessingJobArn       string
	ProcessingJobName      string
	AppSpecification       configApp
	Environment            map[string]string
	ProcessingInputs       []configInput
	ProcessingOutputConfig configOutputs
	ProcessingResources    struct{ ClusterConfig configCluster }
	RoleArn                string
	StoppingCondition      *api.ProcessingStoppingCondition
}

type configApp struct {
	ImageUri            string
	ContainerEntrypoint []string
	ContainerArguments  []string
}

type configInput struct {
	InputName         string
	AppManaged        *bool                  `json:",omitzero"`
	S3Input           *configS3Input         `json:",omitzero"`
	DatasetDefinition *api.DatasetDefinition `json:",omitzero"`
}

type configS3Input struct {
	api.ProcessingS3Input
	S3DownloadMode string
}

type configOutputs struct {
	Outputs  []api.ProcessingOutput
	KmsKeyId *string
}

type configCluster struct {
	InstanceCount  *int64
	InstanceType   string
	VolumeSizeInGB int64
	VolumeKmsKeyId *string
}

// configFile is the file of a job, given its spec with the defaults.
func configFile(r *resource.Record, spec *request) ([]byte, error) {
	c := config{
		ProcessingJobArn: r.Arn, ProcessingJobName: r.Name, AppSpecification: configApp(*spec.AppSpecification), Environment: spec.Environment,
		ProcessingInputs: []configInput{}, ProcessingOutputConfig: configOutputs{Outputs: []api.ProcessingOutput{}},
		RoleArn: spec.RoleArn, StoppingCondition: spec.StoppingCondition,
	}
	for _, in := range spec.ProcessingInputs {
		f := configInput{InputName: in.InputName, AppManaged: in.AppManaged, DatasetDefinition: in.DatasetDefinition}
		if in.S3Input != nil {
			f.S3Input = &configS3Input{*in.S3Input, "StartOfJob"}
		}
		c.ProcessingInputs = append(c.ProcessingInputs, f)
	}
	if out := spec.ProcessingOutputConfig; out != nil {
		c.ProcessingOutputConfig = configOutputs{append(c.ProcessingOutputConfig.Outputs, out.Outputs...), orNull(out.KmsKeyId)}
	}
	cc := spec.ProcessingResources.ClusterConfig
	c.ProcessingResources.ClusterConfig = configCluster{cc.InstanceCount, cc.InstanceType, cc.VolumeSizeInGB, orNull(cc.VolumeKmsKeyId)}
	return json.Marshal(c, json.FormatNilSliceAsNull(true))
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
