package model

import (
	"slices"
	"strings"

	apism "clary/internal/api/sagemaker"
	"clary/internal/aws/apierr"
	"clary/internal/job"
)

// refuse refuses what the API allows and no endpoint of ours can serve.
func refuse(what string) error {
	return apierr.Validation("Clary does not support %s for models. Nothing was created.", what)
}

// check refuses what the API's model allows and we cannot do, and what AWS
// refuses beyond it. Members that change nothing here are recorded and listed
// in docs/DIVERGENCES.md.
func check(in *request) error {
	switch {
	case in.PrimaryContainer != nil && len(in.Containers) > 0:
		return apierr.Validation("Both PrimaryContainer and Containers are given: a model has one PrimaryContainer, or a list of Containers.")
	case in.PrimaryContainer == nil && len(in.Containers) == 0:
		return apierr.Validation("Neither PrimaryContainer nor Containers is given: a model has one PrimaryContainer, or a list of Containers.")
	case in.ExecutionRoleArn == "":
		return apierr.Validation("ExecutionRoleArn is required: it is the role that reads the model's artifacts.")
	case in.InferenceExecutionConfig != nil && in.InferenceExecutionConfig.Mode == "Direct":
		return refuse("InferenceExecutionConfig.Mode Direct")
	}
	if in.PrimaryContainer != nil {
		return checkContainer("PrimaryContainer", in.PrimaryContainer)
	}
	return checkContainers(in.Containers)
}

func checkContainers(all []apism.ContainerDefinition) error {
	var names []string
	for i := range all {
		if err := checkContainer("each of Containers", &all[i]); err != nil {
			return err
		}
		name := all[i].ContainerHostname
		if name != "" && slices.Contains(names, name) {
			return apierr.Validation("Duplicate ContainerHostname %q: the containers of a model must have unique names.", name)
		}
		if name != "" {
			names = append(names, name)
		}
	}
	if len(names) > 0 && len(names) < len(all) {
		return apierr.Validation("ContainerHostname is given for %d of %d Containers: give it for each of them, or for none.", len(names), len(all))
	}
	return nil
}

func checkContainer(where string, c *apism.ContainerDefinition) error {
	switch {
	case c.ModelPackageName != "":
		return refuse("ModelPackageName, as there is no model registry,")
	case c.InferenceSpecificationName != "":
		return refuse("InferenceSpecificationName, as there is no model registry,")
	case c.Mode == "MultiModel" || c.MultiModelConfig != nil:
		return refuse("Mode MultiModel and MultiModelConfig")
	case c.ContainerMetricsConfig != nil:
		return refuse("ContainerMetricsConfig")
	case c.Image == "":
		return apierr.Validation("Image is required in %s.", where)
	case c.ModelDataUrl != "" && c.ModelDataSource != nil:
		return apierr.Validation("Both ModelDataUrl and ModelDataSource are given in %s; provide one of them.", where)
	case c.ModelDataUrl != "" && !isObject(c.ModelDataUrl):
		return apierr.Validation("Invalid ModelDataUrl %q: it must be of the form s3://bucket/key.", c.ModelDataUrl)
	case c.ModelDataSource != nil && c.ModelDataSource.S3DataSource == nil:
		return apierr.Validation("S3DataSource is required in ModelDataSource.")
	case c.ModelDataSource != nil:
		if err := checkSource("ModelDataSource", c.ModelDataSource.S3DataSource); err != nil {
			return err
		}
	}
	var channels []string
	for _, s := range c.AdditionalModelDataSources {
		if slices.Contains(channels, s.ChannelName) {
			return apierr.Validation("Duplicate ChannelName %q in AdditionalModelDataSources: channel names must be unique.", s.ChannelName)
		}
		if s.ChannelName == "." || s.ChannelName == ".." {
			return apierr.Validation("Invalid ChannelName %q in AdditionalModelDataSources: it names the folder that the data is put into.", s.ChannelName)
		}
		channels = append(channels, s.ChannelName)
		if err := checkSource("AdditionalModelDataSources", s.S3DataSource); err != nil {
			return err
		}
	}
	return nil
}

// checkSource refuses artifacts that cannot be what the request says they are.
func checkSource(member string, s *apism.S3ModelDataSource) error {
	switch {
	case s.HubAccessConfig != nil:
		return refuse(member + ".S3DataSource.HubAccessConfig")
	case s.ManifestS3Uri != "" || s.ManifestEtag != "":
		return refuse(member + ".S3DataSource.ManifestS3Uri and ManifestEtag")
	case s.ETag != "":
		return refuse(member + ".S3DataSource.ETag")
	case !job.IsS3(s.S3Uri):
		return apierr.Validation("Invalid S3Uri %q of %s: it must be of the form s3://bucket/key.", s.S3Uri, member)
	case s.S3DataType == "S3Prefix" && s.CompressionType == "Gzip":
		return apierr.Validation("CompressionType Gzip of %s is supported only with S3DataType S3Object.", member)
	case s.S3DataType == "S3Prefix" && !strings.HasSuffix(s.S3Uri, "/"):
		return apierr.Validation("Invalid S3Uri %q of %s: with S3DataType S3Prefix it must end with a slash.", s.S3Uri, member)
	case s.S3DataType == "S3Object" && !isObject(s.S3Uri):
		return apierr.Validation("Invalid S3Uri %q of %s: with S3DataType S3Object it must be of the form s3://bucket/key.", s.S3Uri, member)
	}
	return nil
}

// isObject says whether a URI names a bucket and a key in it.
func isObject(uri string) bool {
	_, key, _ := strings.Cut(strings.TrimPrefix(uri, "s3://"), "/")
	return job.IsS3(uri) && key != "" && !strings.HasSuffix(key, "/")
}
