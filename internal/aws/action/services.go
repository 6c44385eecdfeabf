package action

import (
	"strings"

	"clary/internal/aws/facts"
)

// s3Form: the path of S3's REST API names what an operation is about.
func s3Form(o *facts.Operation) string {
	path, _, _ := strings.Cut(o.HTTP.URI, "?")
	switch {
	case strings.Contains(path, "{Key+}"):
		return "arn:aws:s3:::{Bucket}/{Key}"
	case strings.Contains(path, "{Bucket}"):
		return "arn:aws:s3:::{Bucket}"
	}
	return "*"
}

// has says whether the operation takes a member.
func has(o *facts.Operation, name string) bool { return o.Input != nil && o.Input.Member(name) != nil }

// firstOf gives the form of the first member that the operation takes.
func firstOf(o *facts.Operation, forms [][2]string) string {
	for _, f := range forms {
		if has(o, f[0]) {
			return f[1]
		}
	}
	return "*"
}

func iamForm(o *facts.Operation) string {
	return firstOf(o, [][2]string{
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
	})
}

var stsForms = map[string]string{ //nolint:gochecknoglobals // a constant table
	"AssumeRole":                "{RoleArn}",
	"AssumeRoleWithSAML":        "{RoleArn}",
	"AssumeRoleWithWebIdentity": "{RoleArn}",
	"AssumeRoot":                "arn:aws:iam::{TargetPrincipal}:root",
	"GetFederationToken":        "arn:aws:sts::{Account}:federated-user/{Name}",
}

func logsForm(o *facts.Operation) string {
	if f, ok := map[string]string{
		"DeleteDeliverySource": "delivery-source:{name}", "GetDeliverySource": "delivery-source:{name}", "PutDeliverySource": "delivery-source:{name}",
		"DeleteDeliveryDestination": "delivery-destination:{name}", "GetDeliveryDestination": "delivery-destination:{name}", "PutDeliveryDestination": "delivery-destination:{name}",
		"DeleteDelivery": "delivery:{id}", "GetDelivery": "delivery:{id}", "UpdateDeliveryConfiguration": "delivery:{id}",
		"CreateDelivery": "delivery-source:{deliverySourceName}",
	}[o.Name]; ok {
		return "arn:aws:logs:{Region}:{Account}:" + f
	}
	if has(o, "logGroupName") && has(o, "logStreamName") {
		return "arn:aws:logs:{Region}:{Account}:log-group:{logGroupName}:log-stream:{logStreamName}"
	}
	return firstOf(o, [][2]string{
		{"logGroupName", "arn:aws:logs:{Region}:{Account}:log-group:{logGroupName}:*"},
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
	if strings.HasSuffix(o.Name, "MetricStream") && has(o, "Name") {
		return "arn:aws:cloudwatch:{Region}:{Account}:metric-stream/{Name}"
	}
	if strings.HasSuffix(o.Name, "MetricStreams") && has(o, "Names") {
		return "arn:aws:cloudwatch:{Region}:{Account}:metric-stream/{Names}"
	}
	return firstOf(o, [][2]string{
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
	return firstOf(o, [][2]string{{"TopicArn", "{TopicArn}"}, {"ResourceArn", "{ResourceArn}"}})
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
