package action

import "strings"

// sageMakerForm is the resource of an operation: of itself, or of the noun in
// its name.
func sageMakerForm(name string) string {
	form, ok := sageMakerOperations[name]
	if !ok {
		form, ok = sageMakerNouns[noun(name)]
	}
	if !ok || form == "*" {
		return "*"
	}
	if strings.HasPrefix(form, "{") {
		return form // a member that is an ARN
	}
	return "arn:aws:sagemaker:{Region}:{Account}:" + strings.ReplaceAll(form, "{", "{lower ")
}

// noun takes the verb off a name. What lists all of a kind is about none.
func noun(name string) string {
	for _, verb := range []string{"Create", "Delete", "Describe", "Update", "Start", "Stop", "Put", "Get", "Retry"} {
		if n, ok := strings.CutPrefix(name, verb); ok {
			return n
		}
	}
	return ""
}

// The forms of the service authorization reference. "" after the slash of a
// resource that AWS names by itself is *.
var sageMakerNouns = map[string]string{ //nolint:gochecknoglobals // a constant table
	"AIBenchmarkJob":                     "ai-benchmark-job/{AIBenchmarkJobName}",
	"AIRecommendationJob":                "ai-recommendation-job/{AIRecommendationJobName}",
	"AIWorkloadConfig":                   "ai-workload-config/{AIWorkloadConfigName}",
	"Action":                             "action/{ActionName}",
	"Algorithm":                          "algorithm/{AlgorithmName}",
	"App":                                "app/{DomainId}/{UserProfileName}/{AppType}/{AppName}",
	"AppImageConfig":                     "app-image-config/{AppImageConfigName}",
	"Artifact":                           "{ArtifactArn}",
	"AutoMLJob":                          "automl-job/{AutoMLJobName}",
	"AutoMLJobV2":                        "automl-job/{AutoMLJobName}",
	"Cluster":                            "cluster/{ClusterName}",
	"ClusterExtension":                   "{ClusterArn}",
	"ClusterEvent":                       "cluster/{ClusterName}",
	"ClusterHealthCheck":                 "cluster/{ClusterName}",
	"ClusterNode":                        "cluster/{ClusterName}",
	"ClusterOperation":                   "cluster/{ClusterName}",
	"ClusterSchedulerConfig":             "cluster-scheduler-config/{ClusterSchedulerConfigId}",
	"ClusterSoftware":                    "cluster/{ClusterName}",
	"CodeRepository":                     "code-repository/{CodeRepositoryName}",
	"CompilationJob":                     "compilation-job/{CompilationJobName}",
	"ComputeQuota":                       "compute-quota/{ComputeQuotaId}",
	"Context":                            "context/{ContextName}",
	"DataQualityJobDefinition":           "data-quality-job-definition/{JobDefinitionName}",
	"Device":                             "device-fleet/{DeviceFleetName}/device/{DeviceName}",
	"DeviceFleet":                        "device-fleet/{DeviceFleetName}",
	"DeviceFleetReport":                  "device-fleet/{DeviceFleetName}",
	"Devices":                            "device-fleet/{DeviceFleetName}/device/{Devices.DeviceName}",
	"Domain":                             "domain/{DomainId}",
	"EdgeDeploymentPlan":                 "edge-deployment/{EdgeDeploymentPlanName}",
	"EdgeDeploymentStage":                "edge-deployment/{EdgeDeploymentPlanName}",
	"EdgePackagingJob":                   "edge-packaging-job/{EdgePackagingJobName}",
	"Endpoint":                           "endpoint/{EndpointName}",
	"EndpointConfig":                     "endpoint-config/{EndpointConfigName}",
	"EndpointPolicy":                     "endpoint/{EndpointName}",
	"EndpointWeightsAndCapacities":       "endpoint/{EndpointName}",
	"Experiment":                         "experiment/{ExperimentName}",
	"FeatureGroup":                       "feature-group/{FeatureGroupName}",
	"FeatureMetadata":                    "feature-group/{FeatureGroupName}",
	"FlowDefinition":                     "flow-definition/{FlowDefinitionName}",
	"Hub":                                "hub/{HubName}",
	"HubContent":                         "hub-content/{HubName}/{HubContentType}/{HubContentName}",
	"HubContentPresignedUrls":            "hub-content/{HubName}/{HubContentType}/{HubContentName}",
	"HubContentReference":                "hub-content/{HubName}/{HubContentType}/{HubContentName}",
	"HumanTaskUi":                        "human-task-ui/{HumanTaskUiName}",
	"HyperParameterTuningJob":            "hyper-parameter-tuning-job/{HyperParameterTuningJobName}",
	"Image":                              "image/{ImageName}",
	"ImageVersion":                       "image-version/{ImageName}/{Version}",
	"InferenceComponent":                 "inference-component/{InferenceComponentName}",
	"InferenceComponentRuntimeConfig":    "inference-component/{InferenceComponentName}",
	"InferenceExperiment":                "inference-experiment/{Name}",
	"InferenceRecommendationsJob":        "inference-recommendations-job/{JobName}",
	"InferenceRouter":                    "inference-router/{InferenceRouterName}",
	"Job":                                "job/{JobCategory}/{JobName}",
	"LabelingJob":                        "labeling-job/{LabelingJobName}",
	"MlflowApp":                          "{Arn}",
	"MlflowTrackingServer":               "mlflow-tracking-server/{TrackingServerName}",
	"Model":                              "model/{ModelName}",
	"ModelBiasJobDefinition":             "model-bias-job-definition/{JobDefinitionName}",
	"ModelCard":                          "model-card/{ModelCardName}",
	"ModelExplainabilityJobDefinition":   "model-explainability-job-definition/{JobDefinitionName}",
	"ModelPackage":                       "model-package/{ModelPackageName}",
	"ModelPackageGroup":                  "model-package-group/{ModelPackageGroupName}",
	"ModelPackageGroupPolicy":            "model-package-group/{ModelPackageGroupName}",
	"ModelQualityJobDefinition":          "model-quality-job-definition/{JobDefinitionName}",
	"MonitoringAlert":                    "monitoring-schedule/{MonitoringScheduleName}/alert/{MonitoringAlertName}",
	"MonitoringSchedule":                 "monitoring-schedule/{MonitoringScheduleName}",
	"NotebookInstance":                   "notebook-instance/{NotebookInstanceName}",
	"NotebookInstanceLifecycleConfig":    "notebook-instance-lifecycle-config/{NotebookInstanceLifecycleConfigName}",
	"OptimizationJob":                    "optimization-job/{OptimizationJobName}",
	"PartnerApp":                         "{Arn}",
	"PartnerAppPresignedUrl":             "{Arn}",
	"Pipeline":                           "pipeline/{PipelineName}",
	"PipelineDefinitionForExecution":     "{PipelineExecutionArn}",
	"PipelineExecution":                  "{PipelineExecutionArn}",
	"PipelineVersion":                    "{PipelineArn}",
	"PresignedDomainUrl":                 "user-profile/{DomainId}/{UserProfileName}",
	"PresignedMlflowAppUrl":              "{Arn}",
	"PresignedMlflowTrackingServerUrl":   "mlflow-tracking-server/{TrackingServerName}",
	"PresignedNotebookInstanceUrl":       "notebook-instance/{NotebookInstanceName}",
	"ProcessingJob":                      "processing-job/{ProcessingJobName}",
	"Project":                            "project/{ProjectName}",
	"ReservedCapacity":                   "{ReservedCapacityArn}",
	"ScalingConfigurationRecommendation": "inference-recommendations-job/{InferenceRecommendationsJobName}",
	"Session":                            "{ResourceIdentifier}",
	"Space":                              "space/{DomainId}/{SpaceName}",
	"StudioLifecycleConfig":              "studio-lifecycle-config/{StudioLifecycleConfigName}",
	"SubscribedWorkteam":                 "{WorkteamArn}",
	"TrainingJob":                        "training-job/{TrainingJobName}",
	"TrainingPlan":                       "training-plan/{TrainingPlanName}",
	"TrainingPlanExtensionHistory":       "{TrainingPlanArn}",
	"TrainingSession":                    "training-session/{TrainingSessionName}",
	"TransformJob":                       "transform-job/{TransformJobName}",
	"Trial":                              "experiment-trial/{TrialName}",
	"TrialComponent":                     "experiment-trial-component/{TrialComponentName}",
	"UserProfile":                        "user-profile/{DomainId}/{UserProfileName}",
	"Workforce":                          "workforce/{WorkforceName}",
	"Workteam":                           "workteam/private-crowd/{WorkteamName}",
}

// Operations whose name is not a verb and a noun, or whose resource AWS names
// by itself.
var sageMakerOperations = map[string]string{ //nolint:gochecknoglobals // a constant table
	"AddAssociation":                             "{SourceArn}",
	"DeleteAssociation":                          "{SourceArn}",
	"AddTags":                                    "{ResourceArn}",
	"DeleteTags":                                 "{ResourceArn}",
	"ListTags":                                   "{ResourceArn}",
	"AssociateTrialComponent":                    "experiment-trial-component/{TrialComponentName}",
	"DisassociateTrialComponent":                 "experiment-trial-component/{TrialComponentName}",
	"AttachClusterNodeNetworkInterface":          "cluster/{ClusterName}",
	"AttachClusterNodeVolume":                    "{ClusterArn}",
	"DetachClusterNodeVolume":                    "{ClusterArn}",
	"BatchAddClusterNodes":                       "cluster/{ClusterName}",
	"BatchDeleteClusterNodes":                    "cluster/{ClusterName}",
	"BatchRebootClusterNodes":                    "cluster/{ClusterName}",
	"BatchReplaceClusterNodes":                   "cluster/{ClusterName}",
	"BatchDescribeModelPackage":                  "{ModelPackageArnList}",
	"CreateArtifact":                             "artifact/{ArtifactName}",
	"CreateCluster":                              "cluster/{ClusterName}",
	"CreateClusterSchedulerConfig":               "cluster-scheduler-config/{Name}",
	"CreateComputeQuota":                         "compute-quota/{Name}",
	"CreateDomain":                               "domain/{DomainId}",
	"CreateEdgeDeploymentPlan":                   "edge-deployment/{EdgeDeploymentPlanName}",
	"CreateImageVersion":                         "image/{ImageName}",
	"CreateMlflowApp":                            "mlflow-app/{Name}",
	"CreateModelCardExportJob":                   "model-card/{ModelCardName}",
	"DescribeModelCardExportJob":                 "{ModelCardExportJobArn}",
	"ListModelCardExportJobs":                    "model-card/{ModelCardName}",
	"ListModelCardVersions":                      "model-card/{ModelCardName}",
	"CreateModelPackage":                         "model-package/{ModelPackageName}",
	"UpdateModelPackage":                         "{ModelPackageArn}",
	"CreatePartnerApp":                           "partner-app/{Name}",
	"CreateWorkforce":                            "workforce/{WorkforceName}",
	"DeregisterDevices":                          "device-fleet/{DeviceFleetName}/device/{DeviceNames}",
	"RegisterDevices":                            "device-fleet/{DeviceFleetName}/device/{Devices.DeviceName}",
	"ExtendTrainingPlan":                         "*",
	"ImportHubContent":                           "hub/{HubName}",
	"ListAliases":                                "image/{ImageName}",
	"ListImageVersions":                          "image/{ImageName}",
	"ListClusterEvents":                          "cluster/{ClusterName}",
	"ListClusterExtensions":                      "{ClusterArn}",
	"ListClusterNodes":                           "cluster/{ClusterName}",
	"ListClusterOperations":                      "cluster/{ClusterName}",
	"ListHubContents":                            "hub/{HubName}",
	"ListHubContentVersions":                     "hub-content/{HubName}/{HubContentType}/{HubContentName}",
	"ListLabelingJobsForWorkteam":                "{WorkteamArn}",
	"ListPipelineExecutionSteps":                 "{PipelineExecutionArn}",
	"ListPipelineParametersForExecution":         "{PipelineExecutionArn}",
	"ListPipelineExecutions":                     "pipeline/{PipelineName}",
	"ListPipelineVersions":                       "pipeline/{PipelineName}",
	"StartPipelineExecution":                     "pipeline/{PipelineName}",
	"SendPipelineExecutionStepFailure":           "*",
	"SendPipelineExecutionStepSuccess":           "*",
	"ListTrainingJobsForHyperParameterTuningJob": "hyper-parameter-tuning-job/{HyperParameterTuningJobName}",
	"ListUltraServersByReservedCapacity":         "{ReservedCapacityArn}",
	"RenderUiTemplate":                           "*",
	"DescribeJobSchemaVersion":                   "*",
}
