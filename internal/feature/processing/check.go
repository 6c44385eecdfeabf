package processing

import (
	"slices"

	api "clary/internal/api/sagemaker"
	"clary/internal/aws/apierr"
	"clary/internal/job"
)

// check refuses what the model allows and we cannot do, and what AWS refuses
// beyond the model. Members that change nothing here are recorded and listed
// in docs/DIVERGENCES.md.
func (p *Processing) check(in *request) error {
	if in.AppSpecification.ImageUri == "" {
		return apierr.Validation("Invalid image URI. Please provide a valid Amazon Elastic Container Registry path of the Docker image to run.")
	}
	if err := p.checkCluster(in.ProcessingResources.ClusterConfig); err != nil {
		return err
	}
	taken := &places{}
	for _, x := range in.ProcessingInputs {
		if err := p.checkInput(x, taken); err != nil {
			return err
		}
	}
	if in.ProcessingOutputConfig == nil {
		return nil
	}
	var names []string
	for _, x := range in.ProcessingOutputConfig.Outputs {
		if slices.Contains(names, x.OutputName) {
			return apierr.Validation("Duplicate output name %q: output names must be unique.", x.OutputName)
		}
		names = append(names, x.OutputName)
		if err := checkOutput(x, taken); err != nil {
			return err
		}
	}
	return nil
}

func (p *Processing) checkCluster(cc *api.ProcessingClusterConfig) error {
	switch {
	case len(cc.InstancePreferences) > 0:
		return p.Refuse("ClusterConfig.InstancePreferences")
	case cc.SelectedInstanceType != "" || cc.SelectedInstanceCount != nil:
		return p.Refuse("ClusterConfig.SelectedInstanceType and SelectedInstanceCount in a request")
	case cc.InstanceType == "":
		return apierr.Validation("InstanceType is required in ClusterConfig.")
	}
	count := int64(1)
	if cc.InstanceCount != nil {
		count = *cc.InstanceCount
	}
	return p.CheckInstances(cc.InstanceType, count)
}

// places are the inputs by their names and by where they lie.
type places struct{ names, inputs []string }

func (p *Processing) checkInput(in api.ProcessingInput, taken *places) error {
	if slices.Contains(taken.names, in.InputName) {
		return apierr.Validation("Duplicate input name %q: input names must be unique.", in.InputName)
	}
	taken.names = append(taken.names, in.InputName)
	s3, set := in.S3Input, in.DatasetDefinition
	switch {
	case (s3 == nil) == (set == nil):
		return apierr.Validation("The input %q must specify exactly one of S3Input and DatasetDefinition.", in.InputName)
	case set != nil && (set.AthenaDatasetDefinition == nil) == (set.RedshiftDatasetDefinition == nil):
		return apierr.Validation("The DatasetDefinition of input %q must specify exactly one of AthenaDatasetDefinition and RedshiftDatasetDefinition.", in.InputName)
	case job.IsTrue(in.AppManaged):
		return nil // the program fetches it itself
	case set != nil:
		return p.Refuse("a DatasetDefinition, as there is no Athena or Redshift to ask, where AppManaged is not True")
	case s3.S3InputMode == "Pipe":
		return p.Refuse("S3InputMode Pipe")
	case s3.S3CompressionType == "Gzip":
		return apierr.Validation("S3CompressionType Gzip of input %q is supported only with S3InputMode Pipe.", in.InputName)
	case !job.IsS3(s3.S3Uri):
		return apierr.Validation("Invalid S3Uri %q of input %q: it must be of the form s3://bucket/prefix.", s3.S3Uri, in.InputName)
	}
	at, err := checkPath("input", in.InputName, s3.LocalPath)
	if err != nil {
		return err
	}
	if slices.Contains(taken.inputs, at) {
		return apierr.Validation("The LocalPath %q of input %q is that of another input: each input must have its own.", s3.LocalPath, in.InputName)
	}
	taken.inputs = append(taken.inputs, at)
	return nil
}

func checkOutput(out api.ProcessingOutput, taken *places) error {
	s3 := out.S3Output
	switch {
	case (s3 == nil) == (out.FeatureStoreOutput == nil):
		return apierr.Validation("The output %q must specify exactly one of S3Output and FeatureStoreOutput.", out.OutputName)
	case job.IsTrue(out.AppManaged):
		return nil
	case s3 == nil:
		return apierr.Validation("The FeatureStoreOutput of output %q is supported only when AppManaged is True.", out.OutputName)
	case !job.IsS3(s3.S3Uri):
		return apierr.Validation("Invalid S3Uri %q of output %q: it must be of the form s3://bucket/prefix.", s3.S3Uri, out.OutputName)
	}
	at, err := checkPath("output", out.OutputName, s3.LocalPath)
	if err == nil && slices.Contains(taken.inputs, at) {
		err = apierr.Validation("The LocalPath %q of output %q is that of an input: an output must have a folder of its own.", s3.LocalPath, out.OutputName)
	}
	return err
}

// base is what a LocalPath must begin with.
const base = "/opt/ml/processing"

// checkPath gives a LocalPath as it is meant.
func checkPath(what, name, local string) (string, error) {
	if local == "" {
		return "", apierr.Validation("LocalPath is required for %s %q, whose AppManaged is not True.", what, name)
	}
	clean, ok := job.Below(local, base)
	if !ok {
		return "", apierr.Validation("Invalid LocalPath %q of %s %q: it must begin with %s/.", local, what, name, base)
	}
	return clean, nil
}
