package stage

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// writeConfig writes /opt/ml/input/config. The schemas of the first three are
// public; of the others only the names are.
func (t *training) writeConfig() error {
	const group = "homogeneousCluster"
	hosts, current := t.allHosts()
	hps := t.p.HyperParameters
	if hps == nil {
		hps = map[string]string{}
	}
	type instanceGroup struct {
		Name  string   `json:"instance_group_name"`
		Type  string   `json:"instance_type"`
		Hosts []string `json:"hosts"`
	}
	resource := struct {
		CurrentHost      string          `json:"current_host"`
		InstanceType     string          `json:"current_instance_type"`
		GroupName        string          `json:"current_group_name"`
		Hosts            []string        `json:"hosts"`
		InstanceGroups   []instanceGroup `json:"instance_groups"`
		NetworkInterface string          `json:"network_interface_name"`
	}{current, t.p.InstanceType, group, hosts, []instanceGroup{{group, t.p.InstanceType, hosts}}, "eth0"}

	type input struct {
		TrainingInputMode  string
		ContentType        string `json:",omitempty"`
		S3DistributionType string
		RecordWrapperType  string
	}
	inputs := map[string]input{}
	for _, c := range t.p.Channels {
		inputs[c.Name] = input{or(c.InputMode, "File"), c.ContentType, or(c.Distribution, "FullyReplicated"), or(c.RecordWrapper, "None")}
	}
	type metric struct {
		Name  string `json:"Name"`
		Regex string `json:"Regex"`
	}
	metrics := []metric{}
	for _, m := range t.p.MetricRegexes {
		metrics = append(metrics, metric{m.Name, m.Regex})
	}
	checkpoint := map[string]string{}
	if c := t.p.Checkpoint; c != nil {
		checkpoint["S3Uri"], checkpoint["LocalPath"] = c.S3Uri, or(c.LocalPath, defaultCheckpoints)
	}
	none := struct{}{}
	for name, v := range map[string]any{
		"hyperparameters":          hps,
		"resourceconfig":           resource,
		"inputdataconfig":          inputs,
		"metric-definition-regex":  metrics,
		"checkpointconfig":         checkpoint,
		"trainingjobconfig":        map[string]string{"TrainingJobName": t.p.JobName, "TrainingJobArn": t.p.JobArn, "RoleArn": t.p.RoleArn},
		"init-config":              none,
		"upstreamoutputdataconfig": none,
		"debughookconfig":          none,
		"profilerconfig":           none,
	} {
		data, err := json.Marshal(v)
		if err != nil {
			return fmt.Errorf("%s.json: %w", name, err)
		}
		if err := write(t.ml, "input/config/"+name+".json", data); err != nil {
			return err
		}
	}
	return nil
}

// allHosts are the job's hosts in order, and this one.
func (j *job) allHosts() (hosts []string, current string) {
	hosts = slices.Sorted(slices.Values(j.hosts))
	if len(hosts) == 0 {
		hosts = []string{"algo-1"}
	}
	return hosts, or(j.current, hosts[0])
}

func or(s, fallback string) string {
	if strings.TrimSpace(s) == "" {
		return fallback
	}
	return s
}
