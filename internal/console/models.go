package console

import (
	"net/url"
	"strings"
	"time"

	sm "clary/internal/api/sagemaker"
)

// Models and endpoint configurations are what endpoints are made of: they cost
// nothing, and each page leads to what it names and to what names it.

func modelPath(name string) string { return "/models/" + url.PathEscape(name) }

func configPath(name string) string { return "/endpoint-configurations/" + url.PathEscape(name) }

// oldestFirst is an order of things that never change.
func oldestFirst() choice { return choice{Value: "oldest", Title: "Oldest first"} }

// container is one of a model.
type container struct {
	Host, Image string
	Artifacts   []named
	Env         []fact
}

// Short is the image's repository and tag.
func (c container) Short() string { return c.Image[strings.LastIndexByte(c.Image, '/')+1:] }

func containersOf(m *sm.DescribeModelOutput) []container {
	list := m.Containers
	if m.PrimaryContainer != nil {
		list = append([]sm.ContainerDefinition{*m.PrimaryContainer}, list...)
	}
	var out []container
	for _, d := range list {
		c := container{Host: d.ContainerHostname, Image: d.Image, Env: pairs(d.Environment)}
		switch {
		case d.ModelDataUrl != "":
			c.Artifacts = append(c.Artifacts, artifact(d.ModelDataUrl))
		case d.ModelDataSource != nil && d.ModelDataSource.S3DataSource != nil:
			c.Artifacts = append(c.Artifacts, artifact(d.ModelDataSource.S3DataSource.S3Uri))
		}
		for _, a := range d.AdditionalModelDataSources {
			if a.S3DataSource != nil {
				c.Artifacts = append(c.Artifacts, artifact(a.S3DataSource.S3Uri))
			}
		}
		out = append(out, c)
	}
	return out
}

// artifact leads to an object's page; a prefix has none.
func artifact(uri string) named {
	if strings.HasSuffix(uri, "/") {
		return named{Name: uri}
	}
	return named{uri, objectPath(uri)}
}

type modelRow struct {
	Name, Path string
	Containers []container
	Created    time.Time
}

type modelsBody struct {
	finder
	Rows []modelRow
}

// models lists them. Each is asked for, since a list says no more than names.
func (c *Console) models(v *view) error {
	body := modelsBody{finder: v.finder("models", oldestFirst())}
	show := func() error { return v.show("models", body.Section.Title, body.Section.Path, &body) }
	in := &sm.ListModelsInput{NameContains: body.Name, MaxResults: ptr(configsPage), NextToken: body.Page}
	in.SortBy, in.SortOrder = body.order()
	out, err := ask[sm.ListModelsOutput](v, "sagemaker", "ListModels", in)
	if e, ok := refused(err); ok && e.Code == "ValidationException" {
		body.Wrong = e.Message
		return show()
	}
	if err != nil {
		return err
	}
	for _, m := range out.Models {
		row := modelRow{Name: m.ModelName, Path: modelPath(m.ModelName), Created: m.CreationTime.Time}
		d, err := v.describeModel(m.ModelName)
		if _, ok := refused(err); ok {
			err = nil // it was deleted meanwhile, or may be listed and not read
		}
		if err != nil {
			return err
		}
		if d != nil {
			row.Containers = containersOf(d)
		}
		body.Rows = append(body.Rows, row)
	}
	if err := v.found(&body.finder, len(body.Rows), out.NextToken); err != nil {
		return err
	}
	return show()
}

func (v *view) describeModel(name string) (*sm.DescribeModelOutput, error) {
	return ask[sm.DescribeModelOutput](v, "sagemaker", "DescribeModel", &sm.DescribeModelInput{ModelName: name})
}

type modelBody struct {
	Name       string
	Created    time.Time
	Containers []container
	Users      users
	Transforms users
	Config     []fact
	Snippets   []snippet
	Scoring    []snippet
}

// model is a model's page.
func (c *Console) model(v *view) error {
	m, err := v.describeModel(v.r.PathValue("name"))
	if err != nil {
		return err
	}
	body := modelBody{Name: m.ModelName, Created: m.CreationTime.Time, Containers: containersOf(m)}
	var config table
	config.add("ARN", m.ModelArn)
	config.add("Role", m.ExecutionRoleArn)
	if len(body.Containers) > 1 {
		config.add("Containers", "each gets what the one before it answered")
	}
	if yes(m.EnableNetworkIsolation) {
		config.add("Network", "isolated")
	}
	body.Config = config
	if body.Users, err = v.configsOf(m.ModelName); err != nil {
		return err
	}
	if body.Transforms, err = v.transformsOf(m.ModelName); err != nil {
		return err
	}
	a := v.about()
	a.Model, a.Config = m.ModelName, m.ModelName
	if body.Snippets, err = snippetsOf("endpoint-configurations", a); err != nil {
		return err
	}
	if body.Scoring, err = snippetsOf("batch-transform", a); err != nil {
		return err
	}
	for i := range body.Scoring { // beside the others on the same page
		body.Scoring[i].Set = "score"
	}
	return v.show("model", m.ModelName, "models", body)
}

// configsOf are those of the last endpoint configurations that name a model.
func (v *view) configsOf(model string) (users, error) {
	out, err := ask[sm.ListEndpointConfigsOutput](v, "sagemaker", "ListEndpointConfigs",
		&sm.ListEndpointConfigsInput{SortBy: "CreationTime", SortOrder: "Descending", MaxResults: ptr(configsPage)})
	if denied(err) {
		return users{Unknown: true}, nil
	}
	if err != nil {
		return users{}, err
	}
	u := users{More: out.NextToken != ""}
	for _, c := range out.EndpointConfigs {
		d, err := v.describeConfig(c.EndpointConfigName)
		if _, ok := refused(err); ok {
			continue
		}
		if err != nil {
			return users{}, err
		}
		for _, p := range d.ProductionVariants {
			if p.ModelName == model {
				u.List = append(u.List, named{c.EndpointConfigName, configPath(c.EndpointConfigName)})
				break
			}
		}
	}
	return u, nil
}

// variant is one of an endpoint configuration.
type variant struct {
	Name, Type string
	Model      named
	Count      int64
	Weight     string
	Share      string // of the traffic, in percent
}

func variantsOf(list []sm.ProductionVariant) []variant {
	var sum float64
	for _, p := range list {
		sum += weight(p.InitialVariantWeight)
	}
	var out []variant
	for _, p := range list {
		w := weight(p.InitialVariantWeight)
		x := variant{Name: p.VariantName, Type: p.InstanceType, Model: named{p.ModelName, modelPath(p.ModelName)}, Weight: number(w), Share: share(w, sum)}
		if p.InitialInstanceCount != nil {
			x.Count = *p.InitialInstanceCount
		}
		out = append(out, x)
	}
	return out
}

// weight of a variant; one that says none has 1.
func weight(w *float64) float64 {
	if w == nil {
		return 1
	}
	return *w
}

// share is a weight's part of all, in percent.
func share(w, sum float64) string {
	if sum <= 0 {
		return "none"
	}
	return number(100*w/sum) + " %"
}

type configRow struct {
	Name, Path string
	Variants   []variant
	Hourly     cost
	Created    time.Time
}

type configsBody struct {
	finder
	Rows []configRow
}

// configs lists endpoint configurations, with what an endpoint of each would
// cost.
func (c *Console) configs(v *view) error {
	body := configsBody{finder: v.finder("endpoint-configurations", oldestFirst())}
	show := func() error { return v.show("endpoint-configurations", body.Section.Title, body.Section.Path, &body) }
	in := &sm.ListEndpointConfigsInput{NameContains: body.Name, MaxResults: ptr(configsPage), NextToken: body.Page}
	in.SortBy, in.SortOrder = body.order()
	out, err := ask[sm.ListEndpointConfigsOutput](v, "sagemaker", "ListEndpointConfigs", in)
	if e, ok := refused(err); ok && e.Code == "ValidationException" {
		body.Wrong = e.Message
		return show()
	}
	if err != nil {
		return err
	}
	for _, e := range out.EndpointConfigs {
		row := configRow{Name: e.EndpointConfigName, Path: configPath(e.EndpointConfigName), Created: e.CreationTime.Time}
		d, err := v.describeConfig(e.EndpointConfigName)
		if _, ok := refused(err); ok {
			err = nil // it was deleted meanwhile, or may be listed and not read
		}
		if err != nil {
			return err
		}
		if d != nil {
			row.Variants = variantsOf(d.ProductionVariants)
			row.Hourly, _ = v.hourlyOf(typesOf(d.ProductionVariants))
		}
		body.Rows = append(body.Rows, row)
	}
	if err := v.found(&body.finder, len(body.Rows), out.NextToken); err != nil {
		return err
	}
	return show()
}

func (v *view) describeConfig(name string) (*sm.DescribeEndpointConfigOutput, error) {
	return ask[sm.DescribeEndpointConfigOutput](v, "sagemaker", "DescribeEndpointConfig", &sm.DescribeEndpointConfigInput{EndpointConfigName: name})
}

type configBody struct {
	Name     string
	Created  time.Time
	Variants []variant
	Hourly   cost
	Users    users
	Config   []fact
	Snippets []snippet
}

// config is an endpoint configuration's page.
func (c *Console) config(v *view) error {
	d, err := v.describeConfig(v.r.PathValue("name"))
	if err != nil {
		return err
	}
	body := configBody{Name: d.EndpointConfigName, Created: d.CreationTime.Time, Variants: variantsOf(d.ProductionVariants)}
	body.Hourly, _ = v.hourlyOf(typesOf(d.ProductionVariants))
	var config table
	config.add("ARN", d.EndpointConfigArn)
	if k := d.DataCaptureConfig; k != nil {
		text := count(k.InitialSamplingPercentage) + " % of the requests, in " + k.DestinationS3Uri
		if k.EnableCapture != nil && !*k.EnableCapture {
			text = "off"
		}
		config.add("Data capture", text)
	}
	config.add("Key", d.KmsKeyId)
	body.Config = config
	if body.Users, err = v.endpointsOf(d.EndpointConfigName); err != nil {
		return err
	}
	a := v.about()
	a.Config, a.Endpoint = d.EndpointConfigName, d.EndpointConfigName
	if body.Snippets, err = snippetsOf("deploy", a); err != nil {
		return err
	}
	return v.show("endpoint-configuration", d.EndpointConfigName, "endpoint-configurations", body)
}

// endpointsOf are those of the last endpoints that are made of a configuration,
// or will be.
func (v *view) endpointsOf(config string) (users, error) {
	out, err := ask[sm.ListEndpointsOutput](v, "sagemaker", "ListEndpoints",
		&sm.ListEndpointsInput{SortBy: "CreationTime", SortOrder: "Descending", MaxResults: ptr(configsPage)})
	if denied(err) {
		return users{Unknown: true}, nil
	}
	if e, ok := refused(err); ok && e.Code == "UnsupportedOperation" {
		return users{}, nil
	}
	if err != nil {
		return users{}, err
	}
	u := users{More: out.NextToken != ""}
	for _, e := range out.Endpoints {
		d, err := v.describeEndpoint(e.EndpointName)
		if _, ok := refused(err); ok {
			continue
		}
		if err != nil {
			return users{}, err
		}
		if p := d.PendingDeploymentSummary; d.EndpointConfigName == config || p != nil && p.EndpointConfigName == config {
			u.List = append(u.List, named{e.EndpointName, endpointPath(e.EndpointName)})
		}
	}
	return u, nil
}
