package s3

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"clary/internal/api/s3"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/blob"
)

const maxCorsRules = 100

var _ op.CrossOrigin = (*Service)(nil)

// GetBucketCors reads a bucket's rules about pages of other origins.
func (s *Service) GetBucketCors(ctx context.Context, c op.Call, in *s3.GetBucketCorsRequest) (*s3.GetBucketCorsOutput, error) {
	var rules []s3.CORSRule
	found, err := s.read(ctx, c, in.Bucket, in.ExpectedBucketOwner, docCors, &rules)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, missing("NoSuchCORSConfiguration", "The CORS configuration does not exist", in.Bucket)
	}
	return &s3.GetBucketCorsOutput{CORSRules: rules}, nil
}

// PutBucketCors replaces them.
func (s *Service) PutBucketCors(ctx context.Context, c op.Call, in *s3.PutBucketCorsRequest) (*struct{}, error) {
	if in.CORSConfiguration == nil || len(in.CORSConfiguration.CORSRules) == 0 || len(in.CORSConfiguration.CORSRules) > maxCorsRules {
		return nil, malformedXML()
	}
	for _, r := range in.CORSConfiguration.CORSRules {
		if err := checkCors(r); err != nil {
			return nil, err
		}
	}
	return nil, s.write(ctx, c, in.Bucket, in.ExpectedBucketOwner, docCors, in.CORSConfiguration.CORSRules)
}

// DeleteBucketCors removes them.
func (s *Service) DeleteBucketCors(ctx context.Context, c op.Call, in *s3.DeleteBucketCorsRequest) (*struct{}, error) {
	return nil, s.write(ctx, c, in.Bucket, in.ExpectedBucketOwner, docCors, nil)
}

func checkCors(r s3.CORSRule) error {
	if len(r.AllowedMethods) == 0 || len(r.AllowedOrigins) == 0 {
		return malformedXML()
	}
	for _, m := range r.AllowedMethods {
		if !slices.Contains([]string{"GET", "PUT", "POST", "DELETE", "HEAD"}, m) {
			return invalidRequest("Found unsupported HTTP method in CORS config. Unsupported method is %s", m)
		}
	}
	for name, list := range map[string][]string{"AllowedOrigin": r.AllowedOrigins, "AllowedHeader": r.AllowedHeaders} {
		for _, v := range list {
			if strings.Count(v, "*") > 1 {
				return invalidRequest("%s \"%s\" can not have more than one wildcard.", name, v)
			}
		}
	}
	for _, v := range r.ExposeHeaders {
		if strings.Contains(v, "*") {
			return invalidRequest("ExposeHeader \"%s\" contains wildcard. We currently do not support wildcard for ExposeHeader.", v)
		}
	}
	return nil
}

// CrossOrigin implements op.CrossOrigin. Nobody has signed what it answers, so
// a bucket that is not there looks like one without rules.
func (s *Service) CrossOrigin(ctx context.Context, c op.Cross) (map[string]string, error) {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(c.Path, "/"), "/")
	if c.Preflight {
		switch {
		case c.Origin == "":
			return nil, apierr.New(http.StatusBadRequest, "BadRequest", "Insufficient information. Origin request header needed.")
		case !slices.Contains([]string{"GET", "PUT", "POST", "DELETE", "HEAD"}, c.Method):
			return nil, apierr.New(http.StatusBadRequest, "BadRequest", "Invalid Access-Control-Request-Method: %s", c.Method)
		}
	}
	var rules []s3.CORSRule
	if validName(bucket) {
		raw, err := s.blobs.Setting(ctx, bucket, docCors)
		if err != nil && !errors.Is(err, blob.ErrNoSuchBucket) {
			return nil, failure(err, bucket, "")
		}
		if raw != nil {
			if err := json.Unmarshal(raw, &rules); err != nil {
				return nil, fmt.Errorf("cors of bucket %s: %w", bucket, err)
			}
		}
	}
	for _, r := range rules {
		if headers := corsHeaders(r, c); headers != nil {
			return headers, nil
		}
	}
	if !c.Preflight {
		return nil, nil
	}
	e := apierr.New(http.StatusForbidden, "AccessForbidden", "CORSResponse: CORS is not enabled for this bucket.")
	if rules != nil {
		e.Message = "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, request method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource's CORS spec."
	}
	kind := "OBJECT"
	if key == "" {
		kind = "BUCKET"
	}
	return nil, field(field(e, "Method", c.Method), "ResourceType", kind)
}

// corsHeaders are what a rule adds to an answer, nil when it does not apply.
func corsHeaders(r s3.CORSRule, c op.Cross) map[string]string {
	i := slices.IndexFunc(r.AllowedOrigins, func(p string) bool { return like(p, c.Origin) })
	if i < 0 || !slices.Contains(r.AllowedMethods, c.Method) {
		return nil
	}
	asked := []string{}
	for h := range strings.SplitSeq(c.Headers, ",") {
		if h = strings.ToLower(strings.TrimSpace(h)); h == "" {
			continue
		}
		if !slices.ContainsFunc(r.AllowedHeaders, func(p string) bool { return like(strings.ToLower(p), h) }) {
			return nil
		}
		asked = append(asked, h)
	}
	out := map[string]string{
		"Access-Control-Allow-Origin":  c.Origin,
		"Access-Control-Allow-Methods": strings.Join(r.AllowedMethods, ", "),
		"Vary":                         "Origin, Access-Control-Request-Headers, Access-Control-Request-Method",
	}
	if r.AllowedOrigins[i] == "*" {
		out["Access-Control-Allow-Origin"] = "*"
	} else {
		out["Access-Control-Allow-Credentials"] = "true"
	}
	if len(asked) > 0 {
		out["Access-Control-Allow-Headers"] = strings.Join(asked, ", ")
	}
	if len(r.ExposeHeaders) > 0 {
		out["Access-Control-Expose-Headers"] = strings.Join(r.ExposeHeaders, ", ")
	}
	if r.MaxAgeSeconds != nil {
		out["Access-Control-Max-Age"] = strconv.FormatInt(*r.MaxAgeSeconds, 10)
	}
	return out
}

// like matches a pattern with at most one star.
func like(pattern, s string) bool {
	before, after, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == s
	}
	return len(s) >= len(before)+len(after) && strings.HasPrefix(s, before) && strings.HasSuffix(s, after)
}
