package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"clary/internal/aws/action"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/identity"
	"clary/internal/resource"
	"clary/internal/store"
)

// Store is what a Recorder writes to.
type Store interface {
	AppendEvent(ctx context.Context, p *store.Pending) error
}

// Recorder records calls.
type Recorder struct {
	Store Store
	Log   *slog.Logger
	// BucketRegion is where a bucket is, "" for one that is not there: a call
	// about it is recorded in that region, whatever region it was signed for.
	// nil: where it was signed for.
	BucketRegion func(ctx context.Context, bucket string) string
}

// Begin notes a call before anything is asked of it. A change in the store
// under the returned context keeps the record; end keeps it otherwise, with the
// error that the caller is answered. An error of end means that the call must
// not be answered as done: nobody would know of it.
func (r *Recorder) Begin(ctx context.Context, c op.Call, about *identity.Request, in any, arn string) (_ context.Context, end func(error) error) {
	if !Records(c.Service, c.Operation) {
		return ctx, func(error) error { return nil }
	}
	c.Region = r.region(ctx, c, in)
	p := r.pending(c, about, in, arn, nil)
	return store.WithEvent(ctx, p), func(err error) error {
		switch {
		case p.Kept():
			return nil
		case err != nil:
			p = r.pending(c, about, in, arn, err)
		}
		// The caller may be gone; the record is for others.
		if aerr := r.Store.AppendEvent(context.WithoutCancel(ctx), p); aerr != nil {
			if err != nil {
				r.Log.Error("audit: a refused call was not recorded", "op", c.Operation, "request", c.RequestID, "err", aerr)
				return nil //nolint:nilerr // the caller gets err
			}
			return fmt.Errorf("audit: %w", aerr)
		}
		return nil
	}
}

// Records says whether a call is recorded: those that change something, but
// for data.
func Records(service, operation string) bool {
	for _, p := range []string{"Describe", "List", "Get", "Head", "Search", "Lookup", "Query", "Batch", "Filter", "Simulate", "Invoke", "Test", "Select", "Start", "Stop"} {
		if !strings.HasPrefix(operation, p) {
			continue
		}
		switch p {
		case "Start", "Stop": // queries and tails of logs; jobs and instances are changes
			return service != "logs"
		case "Batch": // of SageMaker's, those that delete and add change something
			return service == "sagemaker" && operation != "BatchDescribeModelPackage"
		}
		return false
	}
	switch service {
	case "sts": // it hands out credentials and changes nothing
		return false
	case "s3":
		return strings.Contains(operation, "Bucket") || strings.Contains(operation, "PublicAccessBlock")
	case "logs":
		return operation != "PutLogEvents"
	case "cloudwatch":
		return operation != "PutMetricData"
	case "sns":
		return !strings.HasPrefix(operation, "Publish")
	case "sagemaker-metrics", "sagemaker-runtime":
		return false
	}
	return true
}

// event is CloudTrail's form (https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html).
type event struct {
	Version      string         `json:"eventVersion"`
	Identity     userIdentity   `json:"userIdentity"`
	Time         string         `json:"eventTime"`
	Source       string         `json:"eventSource"`
	Name         string         `json:"eventName"`
	Region       string         `json:"awsRegion"`
	SourceIP     string         `json:"sourceIPAddress,omitempty"`
	UserAgent    string         `json:"userAgent,omitempty"`
	ErrorCode    string         `json:"errorCode,omitempty"`
	ErrorMessage string         `json:"errorMessage,omitempty"`
	Parameters   jsontext.Value `json:"requestParameters,omitempty"`
	RequestID    string         `json:"requestID"`
	ID           string         `json:"eventID"`
	ReadOnly     bool           `json:"readOnly"`
	Resources    []affected     `json:"resources,omitempty"`
	Type         string         `json:"eventType"`
	Management   bool           `json:"managementEvent"`
	Recipient    string         `json:"recipientAccountId"`
	Category     string         `json:"eventCategory"`
}

type userIdentity struct {
	Type        string `json:"type"`
	PrincipalID string `json:"principalId"`
	Arn         string `json:"arn"`
	Account     string `json:"accountId"`
	AccessKeyID string `json:"accessKeyId"`
	UserName    string `json:"userName,omitempty"`
	InvokedBy   string `json:"invokedBy,omitempty"`
}

type affected struct {
	Account string `json:"accountId"`
	Type    string `json:"type,omitempty"`
	Arn     string `json:"ARN"`
}

func (r *Recorder) pending(c op.Call, about *identity.Request, in any, arn string, err error) *store.Pending {
	p := &store.Pending{Event: resource.Event{
		Account: c.Account, Region: c.Region, ID: newID(), At: c.Received, Name: c.Operation, Source: sourceOf(c.Service),
		User: userName(c.Principal), AccessKeyID: c.Principal.AccessKeyID,
	}}
	e := event{
		Version: "1.09", Time: c.Received.UTC().Format(time.RFC3339), Source: p.Source, Name: c.Operation, Region: p.Region,
		UserAgent: clip(c.UserAgent, 512), RequestID: c.RequestID, ID: p.ID, Type: "AwsApiCall", Management: true,
		Recipient: c.Account, Category: "Management",
		Identity: userIdentity{
			Type: identityType(c.Principal), PrincipalID: c.Principal.UserID, Arn: c.Principal.Arn, Account: c.Principal.Account,
			AccessKeyID: c.Principal.AccessKeyID, UserName: p.User, InvokedBy: c.Principal.Service,
		},
		Parameters: parameters(in),
	}
	if about != nil && about.SourceIP.IsValid() {
		e.SourceIP = about.SourceIP.Unmap().String()
	} else if c.FromTask {
		e.SourceIP = "sagemaker.amazonaws.com"
	}
	if arn != "" && arn != "*" {
		p.ResourceType, p.ResourceName = resourceOf(arn)
		e.Resources = []affected{{c.Account, p.ResourceType, arn}}
	}
	if err != nil {
		a := apierr.From(err)
		e.ErrorCode, e.ErrorMessage = a.Code, clip(a.Message, 1024)
	}
	p.Render = func(seq int64, previous string) ([]byte, error) {
		b, err := json.Marshal(e, anyText)
		if err != nil {
			return nil, err
		}
		return fmt.Appendf(b[:len(b)-1], `,"additionalEventData":{"sequenceNumber":%d,"previousEventHash":%q}}`, seq, previous), nil
	}
	return p
}

func clip(s string, n int) string {
	if len(s) > n {
		s = strings.ToValidUTF8(s[:n], "")
	}
	return s
}

// region is where an event is looked up: those of global services are in
// us-east-1, as in CloudTrail, and those of a bucket where the bucket is.
func (r *Recorder) region(ctx context.Context, c op.Call, in any) string {
	switch c.Service {
	case "iam":
		return "us-east-1"
	case "s3":
		if name := action.Member(in, "Bucket"); r.BucketRegion != nil && len(name) == 1 {
			if region := r.BucketRegion(ctx, name[0]); region != "" {
				return region
			}
		}
	}
	return c.Region
}

func sourceOf(service string) string {
	if service == "cloudwatch" {
		service = "monitoring"
	}
	return service + ".amazonaws.com"
}

func identityType(p resource.Principal) string {
	switch {
	case p.Root:
		return "Root"
	case p.RoleArn != "":
		return "AssumedRole"
	case p.Service != "":
		return "AWSService"
	case p.Arn == "":
		return "AWSAccount" // nobody signed
	}
	return "IAMUser"
}

func userName(p resource.Principal) string {
	switch {
	case p.Root:
		return "root"
	case p.Service != "":
		return p.Service
	}
	return p.Arn[strings.LastIndexByte(p.Arn, '/')+1:]
}

// resourceOf is the type as CloudFormation names it, and the name, of an ARN.
func resourceOf(arn string) (kind, name string) {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 {
		return "", arn
	}
	service, rest := parts[2], parts[5]
	kind, name = "bucket", rest // of S3, whose ARNs name nothing else
	if i := strings.IndexAny(rest, "/:"); i > 0 && service != "s3" {
		kind, name = rest[:i], rest[i+1:]
	}
	title := map[string]string{"sagemaker": "SageMaker", "s3": "S3", "iam": "IAM", "logs": "Logs", "cloudwatch": "CloudWatch", "secretsmanager": "SecretsManager"}[service]
	if title == "" {
		title = service
	}
	name, _, _ = strings.Cut(name, ":") // log-group:NAME:*
	if i := len(name) - len("-??????"); service == "secretsmanager" && i > 0 && name[i] == '-' {
		name = name[:i] // its ARN ends in characters of AWS's own
	}
	return "AWS::" + title + "::" + pascal(kind), name
}

func pascal(kebab string) string {
	var b strings.Builder
	for w := range strings.SplitSeq(kebab, "-") {
		if w != "" {
			b.WriteString(strings.ToUpper(w[:1]) + w[1:])
		}
	}
	return b.String()
}

// maxParameters bounds what a record repeats of a request.
const maxParameters = 64 << 10

// anyText: what a client says may be no UTF-8, and must be recorded all the
// same.
var anyText = jsontext.AllowInvalidUTF8(true) //nolint:gochecknoglobals // a constant

// secret members hold what a user may have meant for the program alone;
// CloudTrail does not show them either.
func secret(member string) bool {
	switch member {
	case "Environment", "HyperParameters", "StaticHyperParameters", "Content", "SecretAccessKey", "SessionToken", "SecretString", "SecretBinary", "RotationToken",
		"Password", "OldPassword", "NewPassword", "PrivateKey", "AddPrivateKey", "ClientSecret", "KMSMasterKeyID", "KeyId",
		"ModelCardContent", "Expression":
		return true
	}
	return false
}

const hidden = "HIDDEN_DUE_TO_SECURITY_REASONS"

// withoutLogin hides what stands before an @ in the address of a Git repository,
// or in a list of them: a request that is refused for its password is recorded
// as well.
func withoutLogin(v any) any {
	switch v := v.(type) {
	case string:
		if i := strings.LastIndexByte(v, '@'); i >= 0 {
			return hidden + v[i:]
		}
	case []any:
		for i := range v {
			v[i] = withoutLogin(v[i])
		}
	}
	return v
}

// parameters is the request with its members spelled as CloudTrail spells
// them, the first letter small, and without what it hides. Of a request that is
// too large it says so.
func parameters(in any) jsontext.Value {
	if in == nil {
		return nil
	}
	b, err := json.Marshal(in, anyText)
	if err != nil {
		return nil
	}
	if len(b) > maxParameters {
		return fmt.Appendf(nil, `{"omitted":true,"originalSize":%d,"reason":"requestParameters too large"}`, len(b))
	}
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		return nil
	}
	if b, err = json.Marshal(lower(v), json.Deterministic(true)); err != nil {
		return nil
	}
	return b
}

func lower(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, x := range v {
			switch k {
			case "RepositoryUrl", "DefaultCodeRepository", "AdditionalCodeRepositories":
				x = withoutLogin(x)
			}
			if secret(k) {
				x = hidden
			}
			if k != "" && 'A' <= k[0] && k[0] <= 'Z' {
				k = string(k[0]+'a'-'A') + k[1:]
			}
			out[k] = lower(x)
		}
		return out
	case []any:
		for i := range v {
			v[i] = lower(v[i])
		}
	}
	return v
}

// errBroken is the common part of what Verify finds.
var errBroken = errors.New("the chain of audit events is broken")
