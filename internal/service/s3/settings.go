package s3

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"clary/internal/api"
	"clary/internal/api/s3"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
)

// Names of the documents that a bucket has in the store.
const (
	docTags       = "tags"
	docEncryption = "encryption"
	docPublic     = "public-access-block"
	docCors       = "cors"
)

const maxBucketTags = 50

// read gets a bucket's document; found is false when nobody wrote one.
func (s *Service) read(ctx context.Context, c op.Call, bucket, owner, name string, doc any) (found bool, err error) {
	if _, err := s.bucket(ctx, c, bucket, owner); err != nil {
		return false, err
	}
	raw, err := s.blobs.Setting(ctx, bucket, name)
	if err != nil || raw == nil {
		return false, failure(err, bucket, "")
	}
	if err := json.Unmarshal(raw, doc); err != nil {
		return false, fmt.Errorf("%s of bucket %s: %w", name, bucket, err)
	}
	return true, nil
}

// write sets a bucket's document; nil removes it.
func (s *Service) write(ctx context.Context, c op.Call, bucket, owner, name string, doc any) error {
	if _, err := s.bucket(ctx, c, bucket, owner); err != nil {
		return err
	}
	var raw []byte
	if doc != nil {
		var err error
		if raw, err = json.Marshal(doc); err != nil {
			return fmt.Errorf("%s of bucket %s: %w", name, bucket, err)
		}
	}
	if err := s.blobs.SetSetting(ctx, bucket, name, raw); err != nil {
		return failure(err, bucket, "")
	}
	return nil
}

func missing(code, message, bucket string) *apierr.Error {
	return field(apierr.New(http.StatusNotFound, code, "%s", message), "BucketName", bucket)
}

// GetBucketTagging reads a bucket's tags.
func (s *Service) GetBucketTagging(ctx context.Context, c op.Call, in *s3.GetBucketTaggingRequest) (*s3.GetBucketTaggingOutput, error) {
	var tags map[string]string
	found, err := s.read(ctx, c, in.Bucket, in.ExpectedBucketOwner, docTags, &tags)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, missing("NoSuchTagSet", "The TagSet does not exist", in.Bucket)
	}
	return &s3.GetBucketTaggingOutput{TagSet: tagList(tags)}, nil
}

// PutBucketTagging replaces them.
func (s *Service) PutBucketTagging(ctx context.Context, c op.Call, in *s3.PutBucketTaggingRequest) (*struct{}, error) {
	if in.Tagging == nil {
		return nil, malformedXML()
	}
	tags, err := readTags(in.Tagging.TagSet, maxBucketTags)
	if err != nil {
		return nil, err
	}
	return nil, s.write(ctx, c, in.Bucket, in.ExpectedBucketOwner, docTags, tags)
}

// DeleteBucketTagging removes them.
func (s *Service) DeleteBucketTagging(ctx context.Context, c op.Call, in *s3.DeleteBucketTaggingRequest) (*struct{}, error) {
	return nil, s.write(ctx, c, in.Bucket, in.ExpectedBucketOwner, docTags, nil)
}

// encrypted is what every bucket has on AWS without a word.
func encrypted() *s3.ServerSideEncryptionConfiguration {
	return &s3.ServerSideEncryptionConfiguration{Rules: []s3.ServerSideEncryptionRule{{
		ApplyServerSideEncryptionByDefault: &s3.ServerSideEncryptionByDefault{SSEAlgorithm: "AES256"}, BucketKeyEnabled: new(false),
	}}}
}

// GetBucketEncryption tells what was recorded, else AWS's default.
func (s *Service) GetBucketEncryption(ctx context.Context, c op.Call, in *s3.GetBucketEncryptionRequest) (*s3.GetBucketEncryptionOutput, error) {
	cfg := encrypted()
	_, err := s.read(ctx, c, in.Bucket, in.ExpectedBucketOwner, docEncryption, &cfg)
	if err != nil {
		return nil, err
	}
	return &s3.GetBucketEncryptionOutput{ServerSideEncryptionConfiguration: cfg}, nil
}

// PutBucketEncryption records it.
func (s *Service) PutBucketEncryption(ctx context.Context, c op.Call, in *s3.PutBucketEncryptionRequest) (*struct{}, error) {
	cfg := in.ServerSideEncryptionConfiguration
	if cfg == nil || len(cfg.Rules) != 1 {
		return nil, malformedXML()
	}
	if d := cfg.Rules[0].ApplyServerSideEncryptionByDefault; d != nil {
		switch {
		case d.SSEAlgorithm == "AES256" && d.KMSMasterKeyID != "":
			return nil, invalidArgument("ApplyServerSideEncryptionByDefault", "", "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse")
		case d.SSEAlgorithm != "AES256" && d.SSEAlgorithm != "aws:kms" && d.SSEAlgorithm != "aws:kms:dsse":
			return nil, malformedXML()
		}
	}
	return nil, s.write(ctx, c, in.Bucket, in.ExpectedBucketOwner, docEncryption, cfg)
}

// DeleteBucketEncryption goes back to the default.
func (s *Service) DeleteBucketEncryption(ctx context.Context, c op.Call, in *s3.DeleteBucketEncryptionRequest) (*struct{}, error) {
	return nil, s.write(ctx, c, in.Bucket, in.ExpectedBucketOwner, docEncryption, nil)
}

// GetPublicAccessBlock tells what was recorded, else that all is blocked, as it
// is on AWS and here.
func (s *Service) GetPublicAccessBlock(ctx context.Context, c op.Call, in *s3.GetPublicAccessBlockRequest) (*s3.GetPublicAccessBlockOutput, error) {
	cfg := &s3.PublicAccessBlockConfiguration{
		BlockPublicAcls: new(true), IgnorePublicAcls: new(true), BlockPublicPolicy: new(true), RestrictPublicBuckets: new(true),
	}
	if _, err := s.read(ctx, c, in.Bucket, in.ExpectedBucketOwner, docPublic, &cfg); err != nil {
		return nil, err
	}
	if cfg == nil {
		return nil, missing("NoSuchPublicAccessBlockConfiguration", "The public access block configuration was not found", in.Bucket)
	}
	return &s3.GetPublicAccessBlockOutput{PublicAccessBlockConfiguration: cfg}, nil
}

// PutPublicAccessBlock records it; nothing is public here either way.
func (s *Service) PutPublicAccessBlock(ctx context.Context, c op.Call, in *s3.PutPublicAccessBlockRequest) (*struct{}, error) {
	p := in.PublicAccessBlockConfiguration
	if p == nil || (p.BlockPublicAcls == nil && p.IgnorePublicAcls == nil && p.BlockPublicPolicy == nil && p.RestrictPublicBuckets == nil) {
		return nil, apierr.New(http.StatusBadRequest, "InvalidRequest", "Must specify at least one configuration.")
	}
	for _, b := range []**bool{&p.BlockPublicAcls, &p.IgnorePublicAcls, &p.BlockPublicPolicy, &p.RestrictPublicBuckets} {
		*b = new(api.Value(*b))
	}
	return nil, s.write(ctx, c, in.Bucket, in.ExpectedBucketOwner, docPublic, p)
}

// DeletePublicAccessBlock leaves the bucket without one.
func (s *Service) DeletePublicAccessBlock(ctx context.Context, c op.Call, in *s3.DeletePublicAccessBlockRequest) (*struct{}, error) {
	return nil, s.write(ctx, c, in.Bucket, in.ExpectedBucketOwner, docPublic, json.RawMessage("null"))
}

const enforced = "BucketOwnerEnforced"

// GetBucketOwnershipControls tells the one way there is.
func (s *Service) GetBucketOwnershipControls(ctx context.Context, c op.Call, in *s3.GetBucketOwnershipControlsRequest) (*s3.GetBucketOwnershipControlsOutput, error) {
	if _, err := s.bucket(ctx, c, in.Bucket, in.ExpectedBucketOwner); err != nil {
		return nil, err
	}
	return &s3.GetBucketOwnershipControlsOutput{OwnershipControls: &s3.OwnershipControls{
		Rules: []s3.OwnershipControlsRule{{ObjectOwnership: enforced}},
	}}, nil
}

// PutBucketOwnershipControls takes the one way there is.
func (s *Service) PutBucketOwnershipControls(ctx context.Context, c op.Call, in *s3.PutBucketOwnershipControlsRequest) (*struct{}, error) {
	if _, err := s.bucket(ctx, c, in.Bucket, in.ExpectedBucketOwner); err != nil {
		return nil, err
	}
	if in.OwnershipControls == nil || len(in.OwnershipControls.Rules) != 1 {
		return nil, malformedXML()
	}
	if o := in.OwnershipControls.Rules[0].ObjectOwnership; o != enforced {
		return nil, notImplemented("ObjectOwnership " + o)
	}
	return nil, nil
}

// full is the grant that a bucket and all in it have.
func full(account string) []s3.Grant {
	return []s3.Grant{{Grantee: &s3.Grantee{Type: "CanonicalUser", ID: owner(account).ID}, Permission: "FULL_CONTROL"}}
}

func aclRefused() *apierr.Error {
	return apierr.New(http.StatusBadRequest, "AccessControlListNotSupported", "The bucket does not allow ACLs")
}

// GetBucketAcl says that the bucket is its owner's.
func (s *Service) GetBucketAcl(ctx context.Context, c op.Call, in *s3.GetBucketAclRequest) (*s3.GetBucketAclOutput, error) {
	b, err := s.bucket(ctx, c, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	return &s3.GetBucketAclOutput{Owner: owner(b.Account), Grants: full(b.Account)}, nil
}

// PutBucketAcl refuses, as a bucket whose owner owns everything does.
func (s *Service) PutBucketAcl(ctx context.Context, c op.Call, in *s3.PutBucketAclRequest) (*struct{}, error) {
	if _, err := s.bucket(ctx, c, in.Bucket, in.ExpectedBucketOwner); err != nil {
		return nil, err
	}
	return nil, aclRefused()
}

// GetObjectAcl says that the object is the bucket's owner's.
func (s *Service) GetObjectAcl(ctx context.Context, c op.Call, in *s3.GetObjectAclRequest) (*s3.GetObjectAclOutput, error) {
	head, err := s.HeadObject(ctx, c, &s3.HeadObjectRequest{Bucket: in.Bucket, Key: in.Key, VersionId: in.VersionId, ExpectedBucketOwner: in.ExpectedBucketOwner})
	if err != nil || head == nil {
		return nil, err
	}
	return &s3.GetObjectAclOutput{Owner: owner(c.Account), Grants: full(c.Account)}, nil
}

// PutObjectAcl refuses as PutBucketAcl does.
func (s *Service) PutObjectAcl(ctx context.Context, c op.Call, in *s3.PutObjectAclRequest) (*s3.PutObjectAclOutput, error) {
	if _, err := s.bucket(ctx, c, in.Bucket, in.ExpectedBucketOwner); err != nil {
		return nil, err
	}
	return nil, aclRefused()
}
