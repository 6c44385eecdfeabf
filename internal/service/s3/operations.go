package s3

import (
	"maps"

	"clary/internal/api/s3"
	"clary/internal/aws/op"
)

// Operations implements op.Service. Each is checked as the IAM action that
// AWS names for it, on the bucket or object it is about.
func (s *Service) Operations() map[string]op.Handler {
	all := map[string]op.Handler{
		"ListBuckets":         op.Op(s.ListBuckets).As("s3:ListAllMyBuckets"),
		"CreateBucket":        op.On(op.Op(s.CreateBucket), func(_ op.Call, in *s3.CreateBucketRequest) string { return arn(in.Bucket, "") }),
		"HeadBucket":          op.On(op.Op(s.HeadBucket), func(_ op.Call, in *s3.HeadBucketRequest) string { return arn(in.Bucket, "") }).As("s3:ListBucket"),
		"DeleteBucket":        op.On(op.Op(s.DeleteBucket), func(_ op.Call, in *s3.DeleteBucketRequest) string { return arn(in.Bucket, "") }),
		"GetBucketLocation":   op.On(op.Op(s.GetBucketLocation), func(_ op.Call, in *s3.GetBucketLocationRequest) string { return arn(in.Bucket, "") }),
		"PutBucketVersioning": op.On(op.Op(s.PutBucketVersioning), func(_ op.Call, in *s3.PutBucketVersioningRequest) string { return arn(in.Bucket, "") }),
		"ListObjectVersions":  op.On(op.Op(s.ListObjectVersions), func(_ op.Call, in *s3.ListObjectVersionsRequest) string { return arn(in.Bucket, "") }).As("s3:ListBucketVersions"),
		"GetBucketVersioning": op.On(op.Op(s.GetBucketVersioning), func(_ op.Call, in *s3.GetBucketVersioningRequest) string { return arn(in.Bucket, "") }),

		"ListObjects":   op.On(op.Op(s.ListObjects), func(_ op.Call, in *s3.ListObjectsRequest) string { return arn(in.Bucket, "") }).As("s3:ListBucket"),
		"ListObjectsV2": op.On(op.Op(s.ListObjectsV2), func(_ op.Call, in *s3.ListObjectsV2Request) string { return arn(in.Bucket, "") }).As("s3:ListBucket"),

		"PutObject":           op.On(op.Op(s.PutObject), func(_ op.Call, in *s3.PutObjectRequest) string { return arn(in.Bucket, in.Key) }),
		"GetObject":           op.On(op.Op(s.GetObject), func(_ op.Call, in *s3.GetObjectRequest) string { return arn(in.Bucket, in.Key) }),
		"HeadObject":          op.On(op.Op(s.HeadObject), func(_ op.Call, in *s3.HeadObjectRequest) string { return arn(in.Bucket, in.Key) }).As("s3:GetObject"),
		"GetObjectAttributes": op.On(op.Op(s.GetObjectAttributes), func(_ op.Call, in *s3.GetObjectAttributesRequest) string { return arn(in.Bucket, in.Key) }).As("s3:GetObject"),
		"DeleteObject":        op.On(op.Op(s.DeleteObject), func(_ op.Call, in *s3.DeleteObjectRequest) string { return arn(in.Bucket, in.Key) }),
		"DeleteObjects":       op.Op(s.DeleteObjects).As(op.Free), // each key is checked on its own
		"CopyObject":          op.On(op.Op(s.CopyObject), func(_ op.Call, in *s3.CopyObjectRequest) string { return arn(in.Bucket, in.Key) }).As("s3:PutObject"),

		"GetObjectTagging":    op.On(op.Op(s.GetObjectTagging), func(_ op.Call, in *s3.GetObjectTaggingRequest) string { return arn(in.Bucket, in.Key) }),
		"PutObjectTagging":    op.On(op.Op(s.PutObjectTagging), func(_ op.Call, in *s3.PutObjectTaggingRequest) string { return arn(in.Bucket, in.Key) }),
		"DeleteObjectTagging": op.On(op.Op(s.DeleteObjectTagging), func(_ op.Call, in *s3.DeleteObjectTaggingRequest) string { return arn(in.Bucket, in.Key) }),

		"CreateMultipartUpload":   op.On(op.Op(s.CreateMultipartUpload), func(_ op.Call, in *s3.CreateMultipartUploadRequest) string { return arn(in.Bucket, in.Key) }).As("s3:PutObject"),
		"UploadPart":              op.On(op.Op(s.UploadPart), func(_ op.Call, in *s3.UploadPartRequest) string { return arn(in.Bucket, in.Key) }).As("s3:PutObject"),
		"UploadPartCopy":          op.On(op.Op(s.UploadPartCopy), func(_ op.Call, in *s3.UploadPartCopyRequest) string { return arn(in.Bucket, in.Key) }).As("s3:PutObject"),
		"CompleteMultipartUpload": op.On(op.Op(s.CompleteMultipartUpload), func(_ op.Call, in *s3.CompleteMultipartUploadRequest) string { return arn(in.Bucket, in.Key) }).As("s3:PutObject"),
		"AbortMultipartUpload":    op.On(op.Op(s.AbortMultipartUpload), func(_ op.Call, in *s3.AbortMultipartUploadRequest) string { return arn(in.Bucket, in.Key) }),
		"ListParts":               op.On(op.Op(s.ListParts), func(_ op.Call, in *s3.ListPartsRequest) string { return arn(in.Bucket, in.Key) }).As("s3:ListMultipartUploadParts"),
		"ListMultipartUploads":    op.On(op.Op(s.ListMultipartUploads), func(_ op.Call, in *s3.ListMultipartUploadsRequest) string { return arn(in.Bucket, "") }).As("s3:ListBucketMultipartUploads"),

		"GetBucketTagging":           op.On(op.Op(s.GetBucketTagging), func(_ op.Call, in *s3.GetBucketTaggingRequest) string { return arn(in.Bucket, "") }),
		"PutBucketTagging":           op.On(op.Op(s.PutBucketTagging), func(_ op.Call, in *s3.PutBucketTaggingRequest) string { return arn(in.Bucket, "") }),
		"DeleteBucketTagging":        op.On(op.Op(s.DeleteBucketTagging), func(_ op.Call, in *s3.DeleteBucketTaggingRequest) string { return arn(in.Bucket, "") }).As("s3:PutBucketTagging"),
		"GetBucketEncryption":        op.On(op.Op(s.GetBucketEncryption), func(_ op.Call, in *s3.GetBucketEncryptionRequest) string { return arn(in.Bucket, "") }).As("s3:GetEncryptionConfiguration"),
		"PutBucketEncryption":        op.On(op.Op(s.PutBucketEncryption), func(_ op.Call, in *s3.PutBucketEncryptionRequest) string { return arn(in.Bucket, "") }).As("s3:PutEncryptionConfiguration"),
		"DeleteBucketEncryption":     op.On(op.Op(s.DeleteBucketEncryption), func(_ op.Call, in *s3.DeleteBucketEncryptionRequest) string { return arn(in.Bucket, "") }).As("s3:PutEncryptionConfiguration"),
		"GetPublicAccessBlock":       op.On(op.Op(s.GetPublicAccessBlock), func(_ op.Call, in *s3.GetPublicAccessBlockRequest) string { return arn(in.Bucket, "") }).As("s3:GetBucketPublicAccessBlock"),
		"PutPublicAccessBlock":       op.On(op.Op(s.PutPublicAccessBlock), func(_ op.Call, in *s3.PutPublicAccessBlockRequest) string { return arn(in.Bucket, "") }).As("s3:PutBucketPublicAccessBlock"),
		"DeletePublicAccessBlock":    op.On(op.Op(s.DeletePublicAccessBlock), func(_ op.Call, in *s3.DeletePublicAccessBlockRequest) string { return arn(in.Bucket, "") }).As("s3:PutBucketPublicAccessBlock"),
		"GetBucketOwnershipControls": op.On(op.Op(s.GetBucketOwnershipControls), func(_ op.Call, in *s3.GetBucketOwnershipControlsRequest) string { return arn(in.Bucket, "") }),
		"PutBucketOwnershipControls": op.On(op.Op(s.PutBucketOwnershipControls), func(_ op.Call, in *s3.PutBucketOwnershipControlsRequest) string { return arn(in.Bucket, "") }),
		"GetBucketCors":              op.On(op.Op(s.GetBucketCors), func(_ op.Call, in *s3.GetBucketCorsRequest) string { return arn(in.Bucket, "") }).As("s3:GetBucketCORS"),
		"PutBucketCors":              op.On(op.Op(s.PutBucketCors), func(_ op.Call, in *s3.PutBucketCorsRequest) string { return arn(in.Bucket, "") }).As("s3:PutBucketCORS"),
		"DeleteBucketCors":           op.On(op.Op(s.DeleteBucketCors), func(_ op.Call, in *s3.DeleteBucketCorsRequest) string { return arn(in.Bucket, "") }).As("s3:PutBucketCORS"),
		"GetBucketAcl":               op.On(op.Op(s.GetBucketAcl), func(_ op.Call, in *s3.GetBucketAclRequest) string { return arn(in.Bucket, "") }),
		"PutBucketAcl":               op.On(op.Op(s.PutBucketAcl), func(_ op.Call, in *s3.PutBucketAclRequest) string { return arn(in.Bucket, "") }),
		"GetObjectAcl":               op.On(op.Op(s.GetObjectAcl), func(_ op.Call, in *s3.GetObjectAclRequest) string { return arn(in.Bucket, in.Key) }),
		"PutObjectAcl":               op.On(op.Op(s.PutObjectAcl), func(_ op.Call, in *s3.PutObjectAclRequest) string { return arn(in.Bucket, in.Key) }),
	}
	maps.Copy(all, s.unset())
	return all
}

// arn names a bucket, or an object when there is a key.
func arn(bucket, key string) string {
	if key == "" {
		return "arn:aws:s3:::" + bucket
	}
	return "arn:aws:s3:::" + bucket + "/" + key
}
