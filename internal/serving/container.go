package serving

import (
	api "clary/internal/api/sagemaker"
	"clary/internal/stage/plan"
)

const (
	modelPath = "/opt/ml/model"
	morePath  = "/opt/ml/additional-model-data-sources/"
)

// Containers are those of a model, in their order.
func Containers(m *api.CreateModelInput) []api.ContainerDefinition {
	if m.PrimaryContainer != nil {
		return []api.ContainerDefinition{*m.PrimaryContainer}
	}
	return m.Containers
}

// Models are the artifacts of a container.
func Models(c *api.ContainerDefinition) (out []plan.Model) {
	if c.ModelDataUrl != "" {
		out = append(out, plan.Model{Name: "ModelDataUrl", S3Uri: c.ModelDataUrl, Archive: true, LocalPath: modelPath})
	} else if s := c.ModelDataSource; s != nil && s.S3DataSource != nil {
		out = append(out, model("ModelDataSource", s.S3DataSource, modelPath))
	}
	for _, a := range c.AdditionalModelDataSources {
		if a.S3DataSource != nil {
			out = append(out, model(a.ChannelName, a.S3DataSource, morePath+a.ChannelName))
		}
	}
	return out
}

func model(name string, s *api.S3ModelDataSource, path string) plan.Model {
	return plan.Model{Name: name, S3Uri: s.S3Uri, Prefix: s.S3DataType == "S3Prefix", Archive: s.CompressionType == "Gzip", LocalPath: path}
}
