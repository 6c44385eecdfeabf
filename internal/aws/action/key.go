package action

import (
	"reflect"
	"slices"
	"strings"

	"clary/internal/aws/facts"
)

// Key finds the values of a condition key that an operation's members decide,
// by its lower-case name.
func Key(o *facts.Operation, in any, name string) []string {
	switch {
	case name == "aws:tagkeys":
		keys := Member(in, "TagKeys")
		for k := range tags(o, in) {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		return keys
	case strings.HasPrefix(name, "aws:requesttag/"):
		for k, v := range tags(o, in) {
			if strings.EqualFold(k, name[len("aws:requesttag/"):]) {
				return []string{v}
			}
		}
		return nil
	}
	var out []string
	for _, path := range members[name] {
		out = append(out, Member(in, path)...)
	}
	return out
}

// tags are those that the request gives a resource: a list of Key and Value, or
// a map.
func tags(o *facts.Operation, in any) map[string]string {
	out := map[string]string{}
	if o == nil || o.Input == nil {
		return out
	}
	for _, name := range []string{"Tags", "tags"} {
		m := o.Input.Member(name)
		switch {
		case m == nil:
		case m.Shape.Type == facts.List:
			list := field(in, name)
			for i := range length(list) {
				e := list.Index(i).Interface()
				k := Member(e, "Key")
				v := append(Member(e, "Value"), "")
				if len(k) == 1 {
					out[k[0]] = v[0]
				}
			}
		case m.Shape.Type == facts.Map:
			list := field(in, name)
			if list.Kind() != reflect.Map {
				continue
			}
			for _, k := range list.MapKeys() {
				v := append(Member(list.MapIndex(k).Interface(), ""), "")
				out[k.String()] = v[0]
			}
		}
	}
	return out
}

func length(v reflect.Value) int {
	if v.Kind() != reflect.Slice {
		return 0
	}
	return v.Len()
}

// field is one member of the request itself.
func field(in any, name string) reflect.Value {
	v := reflect.ValueOf(in)
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	switch v.Kind() { //nolint:exhaustive // nothing else has members
	case reflect.Struct:
		v = v.FieldByName(facts.GoName(name))
	case reflect.Map:
		v = v.MapIndex(reflect.ValueOf(name))
	default:
		return reflect.Value{}
	}
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	return v
}

// members are the condition keys of the service authorization reference with
// the places in requests that they speak of.
var members = map[string][]string{ //nolint:gochecknoglobals // a constant table
	"sagemaker:instancetypes": {
		"InstanceType", "ResourceConfig.InstanceType", "ResourceConfig.InstanceGroups.InstanceType",
		"ProcessingResources.ClusterConfig.InstanceType", "TransformResources.InstanceType", "JobResources.ClusterConfig.InstanceType",
		"ProductionVariants.InstanceType", "ShadowProductionVariants.InstanceType", "InstanceGroups.InstanceType", "ResourceSpec.InstanceType",
		"TrainingJobDefinition.ResourceConfig.InstanceType", "TrainingJobDefinition.HyperParameterTuningResourceConfig.InstanceType",
		"TrainingJobDefinition.HyperParameterTuningResourceConfig.InstanceConfigs.InstanceType",
		"TrainingJobDefinitions.ResourceConfig.InstanceType", "TrainingJobDefinitions.HyperParameterTuningResourceConfig.InstanceType",
		"TrainingJobDefinitions.HyperParameterTuningResourceConfig.InstanceConfigs.InstanceType",
		"MonitoringScheduleConfig.MonitoringJobDefinition.MonitoringResources.ClusterConfig.InstanceType",
	},
	"sagemaker:accelerator-types":                     {"AcceleratorTypes", "ProductionVariants.AcceleratorType"},
	"sagemaker:acceleratortypes":                      {"AcceleratorTypes", "ProductionVariants.AcceleratorType"},
	"sagemaker:appnetworkaccesstype":                  {"AppNetworkAccessType"},
	"sagemaker:directinternetaccess":                  {"DirectInternetAccess"},
	"sagemaker:rootaccess":                            {"RootAccess"},
	"sagemaker:modelapprovalstatus":                   {"ModelApprovalStatus"},
	"sagemaker:enableremotedebug":                     {"RemoteDebugConfig.EnableRemoteDebug"},
	"sagemaker:keepaliveperiod":                       {"ResourceConfig.KeepAlivePeriodInSeconds"},
	"sagemaker:maxruntimeinseconds":                   {"StoppingCondition.MaxRuntimeInSeconds", "TrainingJobDefinition.StoppingCondition.MaxRuntimeInSeconds", "TrainingJobDefinitions.StoppingCondition.MaxRuntimeInSeconds"},
	"sagemaker:networkisolation":                      {"EnableNetworkIsolation", "NetworkConfig.EnableNetworkIsolation", "TrainingJobDefinition.EnableNetworkIsolation", "TrainingJobDefinitions.EnableNetworkIsolation", "MonitoringScheduleConfig.MonitoringJobDefinition.NetworkConfig.EnableNetworkIsolation"},
	"sagemaker:intercontainertrafficencryption":       {"EnableInterContainerTrafficEncryption", "NetworkConfig.EnableInterContainerTrafficEncryption", "TrainingJobDefinition.EnableInterContainerTrafficEncryption", "TrainingJobDefinitions.EnableInterContainerTrafficEncryption", "MonitoringScheduleConfig.MonitoringJobDefinition.NetworkConfig.EnableInterContainerTrafficEncryption"},
	"sagemaker:outputkmskey":                          {"OutputDataConfig.KmsKeyId", "ProcessingOutputConfig.KmsKeyId", "TransformOutput.KmsKeyId", "OutputConfig.KmsKeyId", "TrainingJobDefinition.OutputDataConfig.KmsKeyId", "TrainingJobDefinitions.OutputDataConfig.KmsKeyId", "DataCaptureConfig.KmsKeyId", "AsyncInferenceConfig.OutputConfig.KmsKeyId"},
	"sagemaker:volumekmskey":                          {"KmsKeyId", "ResourceConfig.VolumeKmsKeyId", "ProcessingResources.ClusterConfig.VolumeKmsKeyId", "TransformResources.VolumeKmsKeyId", "JobResources.ClusterConfig.VolumeKmsKeyId", "TrainingJobDefinition.ResourceConfig.VolumeKmsKeyId", "TrainingJobDefinitions.ResourceConfig.VolumeKmsKeyId"},
	"sagemaker:vpcsubnets":                            {"SubnetId", "SubnetIds", "VpcConfig.Subnets", "NetworkConfig.VpcConfig.Subnets", "TrainingJobDefinition.VpcConfig.Subnets", "TrainingJobDefinitions.VpcConfig.Subnets", "MonitoringScheduleConfig.MonitoringJobDefinition.NetworkConfig.VpcConfig.Subnets"},
	"sagemaker:vpcsecuritygroupids":                   {"SecurityGroupIds", "VpcConfig.SecurityGroupIds", "NetworkConfig.VpcConfig.SecurityGroupIds", "TrainingJobDefinition.VpcConfig.SecurityGroupIds", "TrainingJobDefinitions.VpcConfig.SecurityGroupIds", "MonitoringScheduleConfig.MonitoringJobDefinition.NetworkConfig.VpcConfig.SecurityGroupIds"},
	"sagemaker:filesystemid":                          {"InputDataConfig.DataSource.FileSystemDataSource.FileSystemId"},
	"sagemaker:filesystemtype":                        {"InputDataConfig.DataSource.FileSystemDataSource.FileSystemType"},
	"sagemaker:filesystemaccessmode":                  {"InputDataConfig.DataSource.FileSystemDataSource.FileSystemAccessMode"},
	"sagemaker:filesystemdirectorypath":               {"InputDataConfig.DataSource.FileSystemDataSource.DirectoryPath"},
	"sagemaker:minimuminstancemetadataserviceversion": {"InstanceMetadataServiceConfiguration.MinimumInstanceMetadataServiceVersion"},
	"sagemaker:domainid":                              {"DomainId"},
	"sagemaker:userprofilename":                       {"UserProfileName"},

	"sts:externalid":      {"ExternalId"},
	"sts:rolesessionname": {"RoleSessionName"},
	"sts:sourceidentity":  {"SourceIdentity"},

	"secretsmanager:name":                       {"Name"},
	"secretsmanager:description":                {"Description"},
	"secretsmanager:kmskeyid":                   {"KmsKeyId"},
	"secretsmanager:secretid":                   {"SecretId"},
	"secretsmanager:versionid":                  {"VersionId"},
	"secretsmanager:versionstage":               {"VersionStage"},
	"secretsmanager:recoverywindowindays":       {"RecoveryWindowInDays"},
	"secretsmanager:forcedeletewithoutrecovery": {"ForceDeleteWithoutRecovery"},

	"sns:endpoint": {"Endpoint"},
	"sns:protocol": {"Protocol"},

	"iam:policyarn":           {"PolicyArn"},
	"iam:permissionsboundary": {"PermissionsBoundary"},
	"iam:awsservicename":      {"AWSServiceName"},
	"cloudwatch:namespace":    {"Namespace"},
	"cloudwatch:alarmactions": {"AlarmActions"},
	"logs:destinationarn":     {"destinationArn"},
}
