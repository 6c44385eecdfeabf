package s3

import (
	"context"

	"clary/internal/api/s3"
	"clary/internal/aws/op"
)

// The documents that a bucket can have on AWS and not here: reading says that
// there is none, deleting has nothing to do, and writing is refused by the
// front, which does so for every operation without a handler.

// absent answers that a bucket does not have a document.
func absent[In, Out any](s *Service, of func(*In) (bucket, owner string), code, message string) op.Handler {
	return op.On(op.Op(func(ctx context.Context, c op.Call, in *In) (*Out, error) {
		bucket, owner := of(in)
		if _, err := s.bucket(ctx, c, bucket, owner); err != nil {
			return nil, err
		}
		return nil, missing(code, message, bucket)
	}), func(_ op.Call, in *In) string { bucket, _ := of(in); return arn(bucket, "") })
}

// plain answers with the same for every bucket.
func plain[In, Out any](s *Service, of func(*In) (bucket, owner string), out func() *Out) op.Handler {
	return op.On(op.Op(func(ctx context.Context, c op.Call, in *In) (*Out, error) {
		bucket, owner := of(in)
		if _, err := s.bucket(ctx, c, bucket, owner); err != nil {
			return nil, err
		}
		return out(), nil
	}), func(_ op.Call, in *In) string { bucket, _ := of(in); return arn(bucket, "") })
}

func nothing() *struct{} { return nil }

const noLock = "Object Lock configuration does not exist for this bucket"

func (s *Service) unset() map[string]op.Handler {
	return map[string]op.Handler{
		"GetBucketLifecycleConfiguration": absent[s3.GetBucketLifecycleConfigurationRequest, s3.GetBucketLifecycleConfigurationOutput](s, func(in *s3.GetBucketLifecycleConfigurationRequest) (string, string) {
			return in.Bucket, in.ExpectedBucketOwner
		}, "NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist").As("s3:GetLifecycleConfiguration"),
		"DeleteBucketLifecycle": plain(s, func(in *s3.DeleteBucketLifecycleRequest) (string, string) { return in.Bucket, in.ExpectedBucketOwner }, nothing).As("s3:PutLifecycleConfiguration"),
		"GetBucketPolicy": absent[s3.GetBucketPolicyRequest, s3.GetBucketPolicyOutput](s, func(in *s3.GetBucketPolicyRequest) (string, string) { return in.Bucket, in.ExpectedBucketOwner },
			"NoSuchBucketPolicy", "The bucket policy does not exist"),
		"GetBucketPolicyStatus": absent[s3.GetBucketPolicyStatusRequest, s3.GetBucketPolicyStatusOutput](s, func(in *s3.GetBucketPolicyStatusRequest) (string, string) { return in.Bucket, in.ExpectedBucketOwner },
			"NoSuchBucketPolicy", "The bucket policy does not exist"),
		"DeleteBucketPolicy": plain(s, func(in *s3.DeleteBucketPolicyRequest) (string, string) { return in.Bucket, in.ExpectedBucketOwner }, nothing),
		"GetBucketWebsite": absent[s3.GetBucketWebsiteRequest, s3.GetBucketWebsiteOutput](s, func(in *s3.GetBucketWebsiteRequest) (string, string) { return in.Bucket, in.ExpectedBucketOwner },
			"NoSuchWebsiteConfiguration", "The specified bucket does not have a website configuration"),
		"DeleteBucketWebsite": plain(s, func(in *s3.DeleteBucketWebsiteRequest) (string, string) { return in.Bucket, in.ExpectedBucketOwner }, nothing),
		"GetBucketReplication": absent[s3.GetBucketReplicationRequest, s3.GetBucketReplicationOutput](s, func(in *s3.GetBucketReplicationRequest) (string, string) { return in.Bucket, in.ExpectedBucketOwner },
			"ReplicationConfigurationNotFoundError", "The replication configuration was not found").As("s3:GetReplicationConfiguration"),
		"DeleteBucketReplication": plain(s, func(in *s3.DeleteBucketReplicationRequest) (string, string) { return in.Bucket, in.ExpectedBucketOwner }, nothing).As("s3:PutReplicationConfiguration"),
		"GetObjectLockConfiguration": absent[s3.GetObjectLockConfigurationRequest, s3.GetObjectLockConfigurationOutput](s, func(in *s3.GetObjectLockConfigurationRequest) (string, string) {
			return in.Bucket, in.ExpectedBucketOwner
		}, "ObjectLockConfigurationNotFoundError", noLock).As("s3:GetBucketObjectLockConfiguration"),

		"GetBucketLogging": plain(s, func(in *s3.GetBucketLoggingRequest) (string, string) { return in.Bucket, in.ExpectedBucketOwner },
			func() *s3.GetBucketLoggingOutput { return &s3.GetBucketLoggingOutput{} }),
		"GetBucketNotificationConfiguration": plain(s, func(in *s3.GetBucketNotificationConfigurationRequest) (string, string) {
			return in.Bucket, in.ExpectedBucketOwner
		}, func() *s3.NotificationConfiguration { return &s3.NotificationConfiguration{} }).As("s3:GetBucketNotification"),
		"GetBucketAccelerateConfiguration": plain(s, func(in *s3.GetBucketAccelerateConfigurationRequest) (string, string) {
			return in.Bucket, in.ExpectedBucketOwner
		}, func() *s3.GetBucketAccelerateConfigurationOutput {
			return &s3.GetBucketAccelerateConfigurationOutput{}
		}).As("s3:GetAccelerateConfiguration"),
		"GetBucketRequestPayment": plain(s, func(in *s3.GetBucketRequestPaymentRequest) (string, string) { return in.Bucket, in.ExpectedBucketOwner },
			func() *s3.GetBucketRequestPaymentOutput {
				return &s3.GetBucketRequestPaymentOutput{Payer: "BucketOwner"}
			}),
		"ListBucketAnalyticsConfigurations": plain(s, func(in *s3.ListBucketAnalyticsConfigurationsRequest) (string, string) {
			return in.Bucket, in.ExpectedBucketOwner
		}, func() *s3.ListBucketAnalyticsConfigurationsOutput {
			return &s3.ListBucketAnalyticsConfigurationsOutput{IsTruncated: new(false)}
		}).As("s3:GetAnalyticsConfiguration"),
		"ListBucketInventoryConfigurations": plain(s, func(in *s3.ListBucketInventoryConfigurationsRequest) (string, string) {
			return in.Bucket, in.ExpectedBucketOwner
		}, func() *s3.ListBucketInventoryConfigurationsOutput {
			return &s3.ListBucketInventoryConfigurationsOutput{IsTruncated: new(false)}
		}).As("s3:GetInventoryConfiguration"),
		"ListBucketMetricsConfigurations": plain(s, func(in *s3.ListBucketMetricsConfigurationsRequest) (string, string) {
			return in.Bucket, in.ExpectedBucketOwner
		}, func() *s3.ListBucketMetricsConfigurationsOutput {
			return &s3.ListBucketMetricsConfigurationsOutput{IsTruncated: new(false)}
		}).As("s3:GetMetricsConfiguration"),
	}
}
