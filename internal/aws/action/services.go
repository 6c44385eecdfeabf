package action

import (
	"strings"

	"clary/internal/aws/facts"
)

// s3Form: the path of S3's REST API names what an operation is about.
func s3Form(o *facts.Operation) string {
	path, _, _ := strings.Cut(o.HTTP.URI, "?")
	switch {
	case o.Name == "CreateSession":
		return "arn:aws:s3express:{Region}:{Account}:bucket/{Bucket}"
	case strings.Contains(path, "{Key+}"):
		return "arn:aws:s3:::{Bucket}/{Key}"
	case strings.Contains(path, "{Bucket}"):
		return "arn:aws:s3:::{Bucket}"
	}
	return "*"
}

// has says whether the operation takes a member.
func has(o *facts.Operation, name string) bool { return o.Input != nil && o.Input.Member(name) != nil }

// firstOf gives the form of the first member that the operation takes, or,
// where the members stand for each other, that the request has.
func firstOf(o *facts.Operation, in any, forms [][2]string) string {
	first := "*"
	for _, f := range forms {
		switch {
		case !has(o, f[0]):
		case in == nil || len(Member(in, f[0])) > 0:
			return f[1]
		case first == "*":
			first = f[1]
		}
	}
	return first
}

func iamForm(o *facts.Operation) string {
	switch o.Name {
	case "CreateSAMLProvider":
		return "arn:aws:iam::{Account}:saml-provider/{Name}"
	case "CreateServiceLinkedRole":
		return "arn:aws:iam::{Account}:role/aws-service-role/{AWSServiceName}/*"
	case "GenerateServiceLastAccessedDetails", "ListPoliciesGrantingServiceAccess":
		return "{Arn}"
	}
	return firstOf(o, nil, [][2]string{
		{"GroupName", "arn:aws:iam::{Account}:group/{GroupName}"},
		{"InstanceProfileName", "arn:aws:iam::{Account}:instance-profile/{InstanceProfileName}"},
		{"RoleName", "arn:aws:iam::{Account}:role/{RoleName}"},
		{"UserName", "arn:aws:iam::{Account}:user/{UserName}"},
		{"PolicySourceArn", "{PolicySourceArn}"},
		{"PolicyArn", "{PolicyArn}"},
		{"SAMLProviderArn", "{SAMLProviderArn}"},
		{"OpenIDConnectProviderArn", "{OpenIDConnectProviderArn}"},
		{"ServerCertificateName", "arn:aws:iam::{Account}:server-certificate/{ServerCertificateName}"},
		{"VirtualMFADeviceName", "arn:aws:iam::{Account}:mfa/{VirtualMFADeviceName}"},
		{"SerialNumber", "arn:aws:iam::{Account}:mfa/{SerialNumber}"},
		{"PolicyName", "arn:aws:iam::{Account}:policy/{PolicyName}"},
		{"DelegationRequestId", "arn:aws:iam::{Account}:delegation-request/{DelegationRequestId}"},
	})
}

var stsForms = map[string]string{ //nolint:gochecknoglobals // a constant table
	"AssumeRole":                "{RoleArn}",
	"AssumeRoleWithSAML":        "{RoleArn}",
	"AssumeRoleWithWebIdentity": "{RoleArn}",
	"AssumeRoot":                "arn:aws:iam::{TargetPrincipal}:root",
	"GetFederationToken":        "arn:aws:sts::{Account}:federated-user/{Name}",
}

func logsForm(o *facts.Operation, in any) string {
	if f, ok := map[string]string{
		"DeleteDeliverySource": "delivery-source:{name}", "GetDeliverySource": "delivery-source:{name}", "PutDeliverySource": "delivery-source:{name}",
		"DeleteDeliveryDestination": "delivery-destination:{name}", "GetDeliveryDestination": "delivery-destination:{name}", "PutDeliveryDestination": "delivery-destination:{name}",
		"DeleteDelivery": "delivery:{id}", "GetDelivery": "delivery:{id}", "UpdateDeliveryConfiguration": "delivery:{id}",
		"CreateDelivery":       "delivery-source:{deliverySourceName}",
		"CreateLookupTable":    "lookup-table:{lookupTableName}",
		"DeleteScheduledQuery": "scheduled-query:{identifier}", "GetScheduledQuery": "scheduled-query:{identifier}", "GetScheduledQueryHistory": "scheduled-query:{identifier}", "UpdateScheduledQuery": "scheduled-query:{identifier}",
		"CreateScheduledQuery": "scheduled-query:*",
	}[o.Name]; ok {
		return "arn:aws:logs:{Region}:{Account}:" + f
	}
	switch o.Name {
	case "PutResourcePolicy", "DeleteResourcePolicy", "DescribeResourcePolicies", "DescribeQueries", "PutQueryDefinition":
		return "*" // whatever they name
	}
	if has(o, "logGroupName") && has(o, "logStreamName") {
		return "arn:aws:logs:{Region}:{Account}:log-group:{logGroupName}:log-stream:{logStreamName}"
	}
	return firstOf(o, in, [][2]string{
		{"logGroupName", "arn:aws:logs:{Region}:{Account}:log-group:{logGroupName}:*"},
		{"logGroupNames", "arn:aws:logs:{Region}:{Account}:log-group:{logGroupNames}:*"},
		{"logGroupIdentifier", "arn:aws:logs:{Region}:{Account}:log-group:{logGroupIdentifier}:*"},
		{"logGroupIdentifiers", "arn:aws:logs:{Region}:{Account}:log-group:{logGroupIdentifiers}:*"},
		{"resourceArn", "{resourceArn}"},
		{"logGroupArnList", "{logGroupArnList}"},
		{"destinationName", "arn:aws:logs:{Region}:{Account}:destination:{destinationName}"},
		{"deliveryDestinationName", "arn:aws:logs:{Region}:{Account}:delivery-destination:{deliveryDestinationName}"},
		{"anomalyDetectorArn", "{anomalyDetectorArn}"},
		{"lookupTableArn", "{lookupTableArn}"},
		{"scheduledQueryArn", "{scheduledQueryArn}"},
	})
}

func cloudWatchForm(o *facts.Operation) string {
	switch o.Name {
	case "PutAlarmMuteRule":
		return "arn:aws:cloudwatch:{Region}:{Account}:alarm-mute-rule:{Name}"
	case "ListAlarmMuteRules":
		return "arn:aws:cloudwatch:{Region}:{Account}:alarm-mute-rule:*"
	case "ListManagedInsightRules":
		return "*"
	}
	if strings.HasSuffix(o.Name, "MetricStream") && has(o, "Name") {
		return "arn:aws:cloudwatch:{Region}:{Account}:metric-stream/{Name}"
	}
	if strings.HasSuffix(o.Name, "MetricStreams") && has(o, "Names") {
		return "arn:aws:cloudwatch:{Region}:{Account}:metric-stream/{Names}"
	}
	return firstOf(o, nil, [][2]string{
		{"ResourceARN", "{ResourceARN}"},
		{"AlarmName", "arn:aws:cloudwatch:{Region}:{Account}:alarm:{AlarmName}"},
		{"AlarmNames", "arn:aws:cloudwatch:{Region}:{Account}:alarm:{AlarmNames}"},
		{"AlarmMuteRuleName", "arn:aws:cloudwatch:{Region}:{Account}:alarm-mute-rule:{AlarmMuteRuleName}"},
		{"DashboardName", "arn:aws:cloudwatch::{Account}:dashboard/{DashboardName}"},
		{"DashboardNames", "arn:aws:cloudwatch::{Account}:dashboard/{DashboardNames}"},
		{"RuleName", "arn:aws:cloudwatch:{Region}:{Account}:insight-rule/{RuleName}"},
		{"RuleNames", "arn:aws:cloudwatch:{Region}:{Account}:insight-rule/{RuleNames}"},
	})
}

func snsForm(o *facts.Operation) string {
	if o.Name == "CreateTopic" {
		return "arn:aws:sns:{Region}:{Account}:{Name}"
	}
	if o.Name == "Publish" {
		return "*" // a topic or a target: the handler says which
	}
	return firstOf(o, nil, [][2]string{{"TopicArn", "{TopicArn}"}, {"ResourceArn", "{ResourceArn}"}})
}

func cloudTrailForm(o *facts.Operation, in any) string {
	switch o.Name {
	case "CreateChannel":
		return "arn:aws:cloudtrail:{Region}:{Account}:channel/*"
	case "CreateDashboard":
		return "arn:aws:cloudtrail:{Region}:{Account}:dashboard/{Name}"
	case "CreateEventDataStore":
		return "arn:aws:cloudtrail:{Region}:{Account}:eventdatastore/*"
	case "ListInsightsMetricData":
		return "*"
	}
	return firstOf(o, in, [][2]string{
		{"ResourceArn", "{ResourceArn}"},
		{"ResourceId", "{ResourceId}"},
		{"ResourceIdList", "{ResourceIdList}"},
		{"InsightSource", "{InsightSource}"},
		{"Channel", "{Channel}"},
		{"DashboardId", "{DashboardId}"},
		{"EventDataStores", "{EventDataStores}"},
		{"TrailName", "arn:aws:cloudtrail:{Region}:{Account}:trail/{TrailName}"},
		{"EventDataStore", "{EventDataStore}"},
		{"Name", "arn:aws:cloudtrail:{Region}:{Account}:trail/{Name}"},
	})
}

func costExplorerForm(o *facts.Operation) string {
	return firstOf(o, nil, [][2]string{
		{"ResourceArn", "{ResourceArn}"},
		{"SubscriptionArn", "{SubscriptionArn}"},
		{"SubscriptionArnList", "{SubscriptionArnList}"},
		{"MonitorArn", "{MonitorArn}"},
		{"CostCategoryArn", "{CostCategoryArn}"},
		{"MonitorArnList", "{MonitorArnList}"},
		{"BillingViewArn", "{BillingViewArn}"},
	})
}

// s3Actions are those that are not called as their operation.
var s3Actions = map[string]string{ //nolint:gochecknoglobals // a constant table
	"CompleteMultipartUpload": "PutObject", "CopyObject": "PutObject", "CreateMultipartUpload": "PutObject",
	"UploadPart": "PutObject", "UploadPartCopy": "PutObject",
	"DeleteBucketAnalyticsConfiguration":          "PutAnalyticsConfiguration",
	"DeleteBucketCors":                            "PutBucketCORS",
	"DeleteBucketEncryption":                      "PutEncryptionConfiguration",
	"DeleteBucketIntelligentTieringConfiguration": "PutIntelligentTieringConfiguration",
	"DeleteBucketInventoryConfiguration":          "PutInventoryConfiguration",
	"DeleteBucketLifecycle":                       "PutLifecycleConfiguration",
	"DeleteBucketMetricsConfiguration":            "PutMetricsConfiguration",
	"DeleteBucketOwnershipControls":               "PutBucketOwnershipControls",
	"DeleteBucketReplication":                     "PutReplicationConfiguration",
	"DeleteBucketTagging":                         "PutBucketTagging",
	"DeletePublicAccessBlock":                     "PutBucketPublicAccessBlock",
	"DeleteObjects":                               "DeleteObject",
	"GetBucketAccelerateConfiguration":            "GetAccelerateConfiguration",
	"GetBucketAnalyticsConfiguration":             "GetAnalyticsConfiguration",
	"GetBucketCors":                               "GetBucketCORS",
	"GetBucketEncryption":                         "GetEncryptionConfiguration",
	"GetBucketIntelligentTieringConfiguration":    "GetIntelligentTieringConfiguration",
	"GetBucketInventoryConfiguration":             "GetInventoryConfiguration",
	"GetBucketLifecycle":                          "GetLifecycleConfiguration",
	"GetBucketLifecycleConfiguration":             "GetLifecycleConfiguration",
	"GetBucketMetricsConfiguration":               "GetMetricsConfiguration",
	"GetBucketNotificationConfiguration":          "GetBucketNotification",
	"GetBucketReplication":                        "GetReplicationConfiguration",
	"GetObjectAttributes":                         "GetObject",
	"GetObjectLockConfiguration":                  "GetBucketObjectLockConfiguration",
	"GetPublicAccessBlock":                        "GetBucketPublicAccessBlock",
	"HeadBucket":                                  "ListBucket",
	"HeadObject":                                  "GetObject",
	"ListBucketAnalyticsConfigurations":           "GetAnalyticsConfiguration",
	"ListBucketIntelligentTieringConfigurations":  "GetIntelligentTieringConfiguration",
	"ListBucketInventoryConfigurations":           "GetInventoryConfiguration",
	"ListBucketMetricsConfigurations":             "GetMetricsConfiguration",
	"ListBuckets":                                 "ListAllMyBuckets",
	"ListMultipartUploads":                        "ListBucketMultipartUploads",
	"ListObjectVersions":                          "ListBucketVersions",
	"ListObjects":                                 "ListBucket",
	"ListObjectsV2":                               "ListBucket",
	"ListParts":                                   "ListMultipartUploadParts",
	"PutBucketAccelerateConfiguration":            "PutAccelerateConfiguration",
	"PutBucketAnalyticsConfiguration":             "PutAnalyticsConfiguration",
	"PutBucketCors":                               "PutBucketCORS",
	"PutBucketEncryption":                         "PutEncryptionConfiguration",
	"PutBucketIntelligentTieringConfiguration":    "PutIntelligentTieringConfiguration",
	"PutBucketInventoryConfiguration":             "PutInventoryConfiguration",
	"PutBucketLifecycle":                          "PutLifecycleConfiguration",
	"PutBucketLifecycleConfiguration":             "PutLifecycleConfiguration",
	"PutBucketMetricsConfiguration":               "PutMetricsConfiguration",
	"PutBucketNotificationConfiguration":          "PutBucketNotification",
	"PutBucketReplication":                        "PutReplicationConfiguration",
	"PutObjectLockConfiguration":                  "PutBucketObjectLockConfiguration",
	"PutPublicAccessBlock":                        "PutBucketPublicAccessBlock",
	"SelectObjectContent":                         "GetObject",
	"CreateSession":                               "s3express:CreateSession",
	"ListDirectoryBuckets":                        "s3express:ListAllMyDirectoryBuckets",
	"WriteGetObjectResponse":                      "s3-object-lambda:WriteGetObjectResponse",
}
