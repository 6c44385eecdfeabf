package s3

import (
	"clary/internal/api/s3"
	"clary/internal/aws/op"
)

// Operations implements op.Service. Each is checked as the IAM action that
// AWS names for it, on the bucket or object it is about.
func (s *Service) Operations() map[string]op.Handler {
	return map[string]op.Handler{
		"ListBuckets":         op.Op(s.ListBuckets).As("s3:ListAllMyBuckets"),
		"CreateBucket":        op.On(op.Op(s.CreateBucket), func(_ op.Call, in *s3.CreateBucketRequest) string { return arn(in.Bucket, "") }),
		"HeadBucket":          op.On(op.Op(s.HeadBucket), func(_ op.Call, in *s3.HeadBucketRequest) string { return arn(in.Bucket, "") }).As("s3:ListBucket"),
		"DeleteBucket":        op.On(op.Op(s.DeleteBucket), func(_ op.Call, in *s3.DeleteBucketRequest) string { return arn(in.Bucket, "") }),
		"GetBucketLocation":   op.On(op.Op(s.GetBucketLocation), func(_ op.Call, in *s3.GetBucketLocationRequest) string { return arn(in.Bucket, "") }),
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
	}
}

// arn names a bucket, or an object when there is a key.
func arn(bucket, key string) string {
	if key == "" {
		return "arn:aws:s3:::" + bucket
	}
	return "arn:aws:s3:::" + bucket + "/" + key
}
