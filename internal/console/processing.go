package console

import (
	"fmt"
	"strings"
	"time"

	sm "clary/internal/api/sagemaker"
)

// processingJobs are processing jobs, as the pages of jobs have them.
func processingJobs() *jobKind {
	return &jobKind{
		Kind: "ProcessingJob", Section: "processing-jobs", Group: "/aws/sagemaker/ProcessingJobs", Note: "Message",
		Keeps: "The job gets 120 seconds to save its work; what is then in the folders of its outputs is kept in S3.",
		hints: []hint{
			{"VolumeSizeInGB", "Give the job a larger volume: VolumeSizeInGB in ClusterConfig (volume_size_in_gb in the SDK)."},
			{"No S3 objects found", "Check the prefix of the input; the message names it."},
			{"ModuleNotFoundError", "Use the SDK's FrameworkProcessor with a source_dir: its requirements.txt is installed before the script starts."},
		},
		list: listProcessing, describe: describeProcessing,
		stop: func(v *view, name string) error {
			_, err := v.act("StopProcessingJob", &sm.StopProcessingJobRequest{ProcessingJobName: name})
			return err
		},
	}
}

func listProcessing(v *view, q jobQuery) (rows []jobRow, next string, err error) {
	out, err := ask[sm.ListProcessingJobsResponse](v, "sagemaker", "ListProcessingJobs", &sm.ListProcessingJobsRequest{
		NameContains: q.Name, StatusEquals: q.Status, SortBy: q.SortBy, SortOrder: q.SortOrder,
		CreationTimeAfter: q.After, CreationTimeBefore: q.Before, MaxResults: &q.Max, NextToken: q.Page,
	})
	if err != nil {
		return nil, "", err
	}
	for _, j := range out.ProcessingJobSummaries {
		r := jobRow{Name: j.ProcessingJobName, Status: j.ProcessingJobStatus, Note: j.ExitMessage, Created: j.CreationTime.Time, Ended: j.ProcessingEndTime.Time}
		if r.Note == "" { // the end of a traceback says what it was
			r.Note = j.FailureReason[strings.LastIndexByte(j.FailureReason, '\n')+1:]
		}
		rows = append(rows, r)
	}
	return rows, out.NextToken, nil
}

func describeProcessing(v *view, name string) (*job, error) {
	d, err := ask[sm.DescribeProcessingJobResponse](v, "sagemaker", "DescribeProcessingJob", &sm.DescribeProcessingJobRequest{ProcessingJobName: name})
	if err != nil {
		return nil, err
	}
	j := &job{
		Name: d.ProcessingJobName, Status: d.ProcessingJobStatus, Failure: d.FailureReason, ExitMessage: d.ExitMessage,
		Created: d.CreationTime.Time, Ended: d.ProcessingEndTime.Time, transitions: processingSteps(d),
		Hosts: hostNames(cluster(d).InstanceCount), Config: processingConfig(d), Env: pairs(d.Environment),
		code: func(region string) ([]snippet, error) { return processingCode(d, region) },
	}
	for _, i := range d.ProcessingInputs {
		if s := i.S3Input; s != nil {
			j.inputs = append(j.inputs, place{"Input " + i.InputName, s.S3Uri, way(s.S3Uri, s.LocalPath)})
		}
	}
	for _, o := range outputs(d) {
		// what is uploaded at the job's end is not there before
		if s := o.S3Output; s != nil && (s.S3UploadMode == "Continuous" || !running(d.ProcessingJobStatus)) {
			j.outputs = append(j.outputs, place{"Output " + o.OutputName, s.S3Uri, way(s.LocalPath, s.S3Uri)})
		}
	}
	return j, nil
}

// way is from where to where data goes; an input or output that the program
// itself moves has no folder.
func way(from, to string) string {
	if from == "" || to == "" {
		return from + to
	}
	return from + " → " + to
}

func cluster(d *sm.DescribeProcessingJobResponse) *sm.ProcessingClusterConfig {
	if r := d.ProcessingResources; r != nil && r.ClusterConfig != nil {
		return r.ClusterConfig
	}
	return &sm.ProcessingClusterConfig{}
}

func outputs(d *sm.DescribeProcessingJobResponse) []sm.ProcessingOutput {
	if o := d.ProcessingOutputConfig; o != nil {
		return o.Outputs
	}
	return nil
}

// processingSteps are what the times of a processing job tell of its history.
func processingSteps(d *sm.DescribeProcessingJobResponse) []sm.SecondaryStatusTransition {
	return stepsBetween(d.CreationTime, d.ProcessingStartTime, d.ProcessingEndTime, "Processing", d.ProcessingJobStatus)
}

func processingConfig(d *sm.DescribeProcessingJobResponse) []fact {
	var out table
	out.add("ARN", d.ProcessingJobArn)
	out.add("Role", d.RoleArn)
	if a := d.AppSpecification; a != nil {
		out.add("Image", a.ImageUri)
		out.add("Entrypoint", strings.Join(a.ContainerEntrypoint, " "))
		out.add("Arguments", strings.Join(a.ContainerArguments, " "))
	}
	c := cluster(d)
	out.add("Instances", count(len(hostNames(c.InstanceCount)))+" × "+c.InstanceType)
	out.add("Volume", count(c.VolumeSizeInGB)+" GB")
	if s := d.StoppingCondition; s != nil {
		out.add("Longest run", span(time.Duration(s.MaxRuntimeInSeconds)*time.Second))
	}
	if n := d.NetworkConfig; n != nil && yes(n.EnableNetworkIsolation) {
		out.add("Network", "isolated")
	}
	if e := d.ExperimentConfig; e != nil {
		out.add("Experiment", e.ExperimentName)
		out.add("Trial", e.TrialName)
	}
	return out
}

// processingCode writes the request that made a job, and the nearest to it
// with either SDK.
func processingCode(d *sm.DescribeProcessingJobResponse, region string) ([]snippet, error) {
	in := &sm.CreateProcessingJobRequest{
		ProcessingJobName: again(d.ProcessingJobName), ProcessingInputs: d.ProcessingInputs, ProcessingOutputConfig: d.ProcessingOutputConfig,
		ProcessingResources: d.ProcessingResources, StoppingCondition: d.StoppingCondition, AppSpecification: d.AppSpecification,
		Environment: d.Environment, NetworkConfig: d.NetworkConfig, RoleArn: d.RoleArn, ExperimentConfig: d.ExperimentConfig,
	}
	v2 := processorOf(d, "from sagemaker.processing import ProcessingInput, ProcessingOutput, Processor\n", "sagemaker.network",
		func(i sm.ProcessingInput) string {
			s := i.S3Input
			out := fmt.Sprintf("ProcessingInput(\n            input_name=%s, source=%s, destination=%s,\n            s3_data_type=%s",
				pythonString(i.InputName), pythonString(s.S3Uri), pythonString(s.LocalPath), pythonString(s.S3DataType))
			if s.S3DataDistributionType != "" {
				out += ", s3_data_distribution_type=" + pythonString(s.S3DataDistributionType)
			}
			return out + ",\n        )"
		},
		func(o sm.ProcessingOutput) string {
			s := o.S3Output
			return fmt.Sprintf("ProcessingOutput(\n            output_name=%s, source=%s, destination=%s,\n            s3_upload_mode=%s,\n        )",
				pythonString(o.OutputName), pythonString(s.LocalPath), pythonString(s.S3Uri), pythonString(s.S3UploadMode))
		})
	v3 := processorOf(d, "from sagemaker.core.processing import Processor\nfrom sagemaker.core.shapes import ProcessingInput, ProcessingOutput, ProcessingS3Input, ProcessingS3Output\n", "sagemaker.core.network",
		func(i sm.ProcessingInput) string {
			s := i.S3Input
			out := fmt.Sprintf("ProcessingInput(input_name=%s, s3_input=ProcessingS3Input(\n            s3_uri=%s, local_path=%s,\n            s3_data_type=%s, s3_input_mode=\"File\"",
				pythonString(i.InputName), pythonString(s.S3Uri), pythonString(s.LocalPath), pythonString(s.S3DataType))
			if s.S3DataDistributionType != "" {
				out += ", s3_data_distribution_type=" + pythonString(s.S3DataDistributionType)
			}
			return out + ",\n        ))"
		},
		func(o sm.ProcessingOutput) string {
			s := o.S3Output
			return fmt.Sprintf("ProcessingOutput(output_name=%s, s3_output=ProcessingS3Output(\n            s3_uri=%s, local_path=%s,\n            s3_upload_mode=%s,\n        ))",
				pythonString(o.OutputName), pythonString(s.S3Uri), pythonString(s.LocalPath), pythonString(s.S3UploadMode))
		})
	return jobCode("processing-job", in, region, v2, v3)
}

// processorOf starts the job by the generic processor, which both SDKs have;
// they write inputs and outputs differently.
func processorOf(d *sm.DescribeProcessingJobResponse, imports, network string, input func(sm.ProcessingInput) string, output func(sm.ProcessingOutput) string) string {
	var b pythonCall
	isolated := d.NetworkConfig != nil && yes(d.NetworkConfig.EnableNetworkIsolation)
	b.WriteString(imports)
	if isolated {
		b.say("from %s import NetworkConfig\n", network)
	}
	b.WriteString("\nprocessor = Processor(\n")
	b.arg("role", pythonString(d.RoleArn))
	if a := d.AppSpecification; a != nil {
		b.arg("image_uri", pythonString(a.ImageUri))
		b.list("entrypoint", a.ContainerEntrypoint)
	}
	c := cluster(d)
	b.number("instance_count", c.InstanceCount)
	b.arg("instance_type", pythonString(c.InstanceType))
	b.number("volume_size_in_gb", &c.VolumeSizeInGB)
	if s := d.StoppingCondition; s != nil {
		b.number("max_runtime_in_seconds", &s.MaxRuntimeInSeconds)
	}
	b.dict("env", d.Environment)
	if isolated {
		b.arg("network_config", "NetworkConfig(enable_network_isolation=True)")
	}
	b.WriteString(")\nprocessor.run(\n")
	var in, out []string
	left := func(name string) {
		b.say("    # %s is not a folder that is copied: boto3's request has it\n", name)
	}
	for _, i := range d.ProcessingInputs {
		if i.S3Input == nil || i.S3Input.LocalPath == "" {
			left(i.InputName)
			continue
		}
		in = append(in, input(i))
	}
	for _, o := range outputs(d) {
		if o.S3Output == nil || o.S3Output.LocalPath == "" {
			left(o.OutputName)
			continue
		}
		out = append(out, output(o))
	}
	b.rows("inputs", in)
	b.rows("outputs", out)
	if a := d.AppSpecification; a != nil {
		b.list("arguments", a.ContainerArguments)
	}
	b.WriteString(")\n")
	return b.String()
}
