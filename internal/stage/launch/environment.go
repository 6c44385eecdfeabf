package launch

import (
	"context"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// ours are the hyperparameters that the toolkit keeps to itself.
var ours = []string{ //nolint:gochecknoglobals // a constant table
	"sagemaker_program", "sagemaker_submit_directory", "sagemaker_enable_cloudwatch_metrics", "sagemaker_region",
	"sagemaker_container_log_level", "sagemaker_job_name", "default_user_module_name", "_tuning_objective_metric", "sagemaker_s3_output",
}

// environment reads the job's configuration and makes the script's variables
// and arguments. It returns the entry point and where the sources are.
func (l *launcher) environment(ctx context.Context) (vars map[string]string, entry, source string, err error) {
	if err := l.readHyperParameters(); err != nil {
		return nil, "", "", err
	}
	var resource, inputs value
	if resource, err = l.readValue("resourceconfig.json"); err != nil {
		return nil, "", "", err
	}
	if inputs, err = l.readValue("inputdataconfig.json"); err != nil {
		return nil, "", "", err
	}
	rc, ok := resource.(*dict)
	if !ok {
		return nil, "", "", fmt.Errorf("resourceconfig.json is not an object")
	}
	in, ok := inputs.(*dict)
	if !ok {
		return nil, "", "", fmt.Errorf("inputdataconfig.json is not an object")
	}
	framework := newDict() // sagemaker_ parameters that are none of the known
	for _, k := range slices.Sorted(maps.Keys(l.sm)) {
		if !slices.Contains(ours, k) {
			framework.set(k, l.sm[k])
		}
	}
	if on, _ := framework.m["sagemaker_mpi_enabled"].(bool); on {
		return nil, "", "", badRequest("this runtime cannot start MPI jobs (sagemaker_mpi_enabled)")
	}
	entry = l.env["SAGEMAKER_PROGRAM"]
	if entry == "" {
		entry, _ = l.sm["sagemaker_program"].(string)
	}
	source = l.code
	if s, ok := l.sm["sagemaker_submit_directory"]; ok {
		source = str(s)
	}
	job := l.env["TRAINING_JOB_NAME"]
	l.env["CURRENT_HOST"] = str(rc.m["current_host"])
	l.env["SAGEMAKER_JOB_NAME"] = toEnv(l.sm["sagemaker_job_name"])
	l.env["SAGEMAKER_REGION"] = l.env["AWS_REGION"]
	if r, ok := l.sm["sagemaker_region"]; ok {
		l.env["SAGEMAKER_REGION"] = toEnv(r)
	}

	hps := newDict()
	for _, k := range slices.Sorted(maps.Keys(l.hps)) {
		hps.set(k, l.hps[k])
		dashes := "--"
		if len([]rune(k)) == 1 {
			dashes = "-"
		}
		l.args = append(l.args, dashes+k, toArg(l.hps[k]))
	}
	at := func(p string) value { return filepath.Join(l.base, p) }
	channels, dirs := list{}, newDict()
	for _, c := range in.sorted() {
		channels = append(channels, c)
		dirs.set(c, at("input/data/"+c))
	}
	group := rc.m["current_group_name"]
	if group == nil {
		group = "homogeneousCluster"
	}
	groupNames, groups, groupHosts := list{}, newDict(), value(list{})
	configured, _ := rc.m["instance_groups"].(list)
	for _, g := range configured {
		gd, ok := g.(*dict)
		if !ok {
			continue
		}
		name := gd.m["instance_group_name"]
		groupNames = append(groupNames, name)
		groups.set(str(name), g)
		if name == group {
			groupHosts = gd.m["hosts"]
		}
	}
	level, ok := l.sm["sagemaker_container_log_level"]
	if !ok {
		level = number("20")
	}
	module := value(l.env["SAGEMAKER_TRAINING_MODULE"])
	if module == "" {
		module = nil
	}
	hosts := rc.m["hosts"]
	master := rc.m["current_host"]
	if hs, ok := hosts.(list); ok && len(hs) > 0 {
		master = hs[0]
	}
	nic := rc.m["network_interface_name"]
	if nic == nil {
		nic = "eth0"
	}
	cpus, gpus := number(strconv.Itoa(runtime.NumCPU())), number(strconv.Itoa(l.gpus(ctx)))
	common := map[string]value{
		"hosts": hosts, "network_interface_name": nic, "user_entry_point": entry,
		"resource_config": rc, "input_data_config": in, "output_data_dir": at("output/data"),
		"current_host": rc.m["current_host"], "current_instance_type": rc.m["current_instance_type"],
		"current_instance_group": group, "current_instance_group_hosts": groupHosts,
		"instance_groups": groupNames, "instance_groups_dict": groups, "distribution_instance_groups": list{},
		"is_hetero": len(groupNames) > 1, "module_name": strings.TrimSuffix(entry, ".py"), "log_level": level,
		"framework_module": module, "input_dir": at("input"), "input_config_dir": at("input/config"), "output_dir": at("output"),
		"num_cpus": cpus, "num_gpus": gpus, "num_neurons": number("0"), "model_dir": at("model"), "module_dir": source,
		"output_intermediate_dir": at("output/intermediate"),
	}
	all := newDict()
	for k, v := range common {
		all.set(k, v)
	}
	jobName := value(job)
	if job == "" {
		jobName = nil
	}
	for k, v := range map[string]value{
		"additional_framework_parameters": framework, "channel_input_dirs": dirs, "distribution_hosts": list{},
		"hyperparameters": hps, "is_master": master == rc.m["current_host"], "is_modelparallel_enabled": nil,
		"is_smddpmprun_installed": false, "is_smddprun_installed": false, "job_name": jobName, "master_hostname": master, "topology": list{},
	} {
		all.set(k, v)
	}
	args := list{}
	for _, a := range l.args {
		args = append(args, a)
	}
	variables := maps.Clone(common)
	variables["hps"], variables["framework_params"], variables["channels"] = hps, framework, channels
	variables["training_env"], variables["user_args"] = all, args
	for k, v := range dirs.m {
		variables["channel_"+k] = v
	}
	for k, v := range l.hps {
		variables["hp_"+k] = v
	}
	vars = map[string]string{}
	for k, v := range variables {
		vars["SM_"+strings.ToUpper(k)] = toEnv(v)
	}
	return vars, entry, source, nil
}

// readHyperParameters splits what the user set from what is for the toolkit.
// A value that is no JSON is taken as it is.
func (l *launcher) readHyperParameters() error {
	var raw map[string]any
	if err := l.readJSON("hyperparameters.json", &raw); err != nil {
		return err
	}
	l.hps, l.sm = map[string]value{}, map[string]value{}
	for k, v := range raw {
		text, ok := v.(string)
		if !ok {
			return fmt.Errorf("hyperparameter %s is not a string", k)
		}
		parsed, err := parse([]byte(text))
		if err != nil {
			parsed = text
		}
		if strings.HasPrefix(k, "sagemaker_") || slices.Contains(ours, k) {
			l.sm[k] = parsed
		} else {
			l.hps[k] = parsed
		}
	}
	return nil
}

func (l *launcher) readValue(name string) (value, error) {
	var raw rawJSON
	if err := l.readJSON(name, &raw); err != nil {
		return nil, err
	}
	return parse(raw)
}

type rawJSON []byte

func (r *rawJSON) UnmarshalJSON(b []byte) error {
	*r = slices.Clone(b)
	return nil
}

// gpus counts what the driver's own tool lists.
func (l *launcher) gpus(ctx context.Context) int {
	tool := l.find("nvidia-smi")
	if tool == "" {
		return 0
	}
	out, err := exec.CommandContext(ctx, tool, "--list-gpus").Output()
	if err != nil {
		return 0
	}
	n := 0
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "GPU ") {
			n++
		}
	}
	return n
}
