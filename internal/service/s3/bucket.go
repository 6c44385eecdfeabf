package s3

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"clary/internal/api"
	"clary/internal/api/s3"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/blob"
)

const (
	home       = "us-east-1" // the region whose buckets have no location constraint
	maxBuckets = 10000
)

// validName says whether a new bucket may have the name.
func validName(name string) bool {
	if len(name) < 3 || len(name) > 63 {
		return false
	}
	for i := range len(name) {
		c := name[i]
		edge := i == 0 || i == len(name)-1
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
		case c == '-' && !edge:
		case c == '.' && !edge && name[i-1] != '.':
		default:
			return false
		}
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return false
	}
	for _, p := range []string{"xn--", "sthree-", "amzn-s3-demo-"} {
		if strings.HasPrefix(name, p) {
			return false
		}
	}
	for _, s := range []string{"-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"} {
		if strings.HasSuffix(name, s) {
			return false
		}
	}
	return true
}

func invalidName(name string) *apierr.Error {
	return field(apierr.New(http.StatusBadRequest, "InvalidBucketName", "The specified bucket is not valid."), "BucketName", name)
}

// checkExisting refuses what can be no bucket's name.
func checkExisting(name string) *apierr.Error {
	if !validName(name) {
		return invalidName(name)
	}
	return nil
}

var regionName = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]$`)

// location gives the region that a constraint means.
func location(c op.Call, constraint string) (string, *apierr.Error) {
	switch {
	case constraint == "":
		if c.Region != home && c.Region != "" {
			return "", apierr.New(http.StatusBadRequest, "IllegalLocationConstraintException",
				"The unspecified location constraint is incompatible for the region specific endpoint this request was sent to.")
		}
		return home, nil
	case constraint == "EU":
		return "eu-west-1", nil
	case constraint == home || !regionName.MatchString(constraint):
		return "", field(apierr.New(http.StatusBadRequest, "InvalidLocationConstraint",
			"The specified location-constraint is not valid"), "LocationConstraint", constraint)
	case c.Region != home && c.Region != "" && constraint != c.Region:
		return "", apierr.New(http.StatusBadRequest, "IllegalLocationConstraintException",
			"The %s location constraint is incompatible for the region specific endpoint this request was sent to.", constraint)
	}
	return constraint, nil
}

// CreateBucket makes a bucket.
func (s *Service) CreateBucket(ctx context.Context, c op.Call, in *s3.CreateBucketRequest) (*s3.CreateBucketOutput, error) {
	if !validName(in.Bucket) {
		return nil, invalidName(in.Bucket)
	}
	if in.ACL != "" && in.ACL != "private" || in.GrantFullControl+in.GrantRead+in.GrantReadACP+in.GrantWrite+in.GrantWriteACP != "" {
		return nil, apierr.New(http.StatusBadRequest, "InvalidBucketAclWithObjectOwnership", "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting")
	}
	if api.Value(in.ObjectLockEnabledForBucket) {
		return nil, notImplemented("x-amz-bucket-object-lock-enabled")
	}
	if in.ObjectOwnership != "" && in.ObjectOwnership != "BucketOwnerEnforced" {
		return nil, notImplemented("x-amz-object-ownership")
	}
	constraint := ""
	if cfg := in.CreateBucketConfiguration; cfg != nil {
		constraint = cfg.LocationConstraint
		if cfg.Bucket != nil || cfg.Location != nil {
			return nil, notImplemented("directory buckets")
		}
		if len(cfg.Tags) > 0 {
			return nil, notImplemented("bucket tags")
		}
	}
	region, bad := location(c, constraint)
	if bad != nil {
		return nil, bad
	}
	out := &s3.CreateBucketOutput{Location: "/" + in.Bucket}
	err := s.blobs.CreateBucket(ctx, blob.Bucket{
		Name: in.Bucket, Account: c.Account, Region: region, Created: time.Now().UTC().Truncate(time.Millisecond),
	})
	if err == nil {
		return out, nil
	}
	old, lookErr := s.blobs.Bucket(ctx, in.Bucket)
	if lookErr != nil {
		return nil, failure(err, in.Bucket, "")
	}
	if old.Account != c.Account {
		return nil, field(apierr.New(http.StatusConflict, "BucketAlreadyExists",
			"The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again."), "BucketName", in.Bucket)
	}
	if old.Region == home && region == home {
		return out, nil // as only that region does
	}
	return nil, field(apierr.New(http.StatusConflict, "BucketAlreadyOwnedByYou",
		"Your previous request to create the named bucket succeeded and you already own it."), "BucketName", in.Bucket)
}

// HeadBucket says that a bucket is there.
func (s *Service) HeadBucket(ctx context.Context, c op.Call, in *s3.HeadBucketRequest) (*s3.HeadBucketOutput, error) {
	b, err := s.bucket(ctx, c, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	return &s3.HeadBucketOutput{BucketRegion: b.Region, AccessPointAlias: new(false)}, nil
}

// DeleteBucket removes an empty bucket.
func (s *Service) DeleteBucket(ctx context.Context, c op.Call, in *s3.DeleteBucketRequest) (*struct{}, error) {
	if _, err := s.bucket(ctx, c, in.Bucket, in.ExpectedBucketOwner); err != nil {
		return nil, err
	}
	if err := s.blobs.DeleteBucket(ctx, in.Bucket); err != nil {
		return nil, failure(err, in.Bucket, "")
	}
	return nil, nil
}

// GetBucketLocation gives a bucket's region, "" for us-east-1.
func (s *Service) GetBucketLocation(ctx context.Context, c op.Call, in *s3.GetBucketLocationRequest) (*s3.GetBucketLocationOutput, error) {
	b, err := s.bucket(ctx, c, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	if b.Region == home {
		b.Region = ""
	}
	return &s3.GetBucketLocationOutput{LocationConstraint: b.Region}, nil
}

// ListBuckets lists the account's buckets by name.
func (s *Service) ListBuckets(ctx context.Context, c op.Call, in *s3.ListBucketsRequest) (*s3.ListBucketsOutput, error) {
	limit := int64(maxBuckets)
	if in.MaxBuckets != nil {
		if limit = *in.MaxBuckets; limit < 1 || limit > maxBuckets {
			return nil, invalidArgument("max-buckets", "", "Argument max-buckets must be an integer between 1 and 10000")
		}
	}
	after, err := readToken(in.ContinuationToken)
	if err != nil {
		return nil, err
	}
	all, err := s.blobs.Buckets(ctx, c.Account)
	if err != nil {
		return nil, failure(err, "", "")
	}
	out := &s3.ListBucketsOutput{Buckets: []s3.Bucket{}, Owner: owner(c.Account), Prefix: in.Prefix}
	for _, b := range all {
		if b.Name <= after || !strings.HasPrefix(b.Name, in.Prefix) || (in.BucketRegion != "" && in.BucketRegion != b.Region) {
			continue
		}
		if int64(len(out.Buckets)) == limit {
			out.ContinuationToken = makeToken(out.Buckets[limit-1].Name)
			break
		}
		out.Buckets = append(out.Buckets, s3.Bucket{Name: b.Name, CreationDate: api.At(b.Created), BucketRegion: b.Region})
	}
	return out, nil
}

// tokenMark tells our tokens from what a client made up.
const tokenMark = "c1:"

func makeToken(after string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(tokenMark + after))
}

func readToken(token string) (after string, err error) {
	if token == "" {
		return "", nil
	}
	raw, decodeErr := base64.RawURLEncoding.DecodeString(token)
	after, ok := strings.CutPrefix(string(raw), tokenMark)
	if decodeErr != nil || !ok {
		return "", invalidArgument("continuation-token", token, "The continuation token provided is incorrect")
	}
	return after, nil
}
