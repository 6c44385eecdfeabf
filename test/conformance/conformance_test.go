package conformance

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"clary/internal/aws/facts"
	"clary/internal/aws/sigv4"
	"clary/internal/aws/validate"
	"clary/internal/aws/validate/validatetest"
	"clary/internal/identity"
	"clary/internal/server"
	"clary/test/daemon"
)

// world is one running server.
type world struct {
	t    *testing.T
	addr string
	keys sigv4.Credentials
	http *http.Client
}

func start(t *testing.T) *world {
	t.Helper()
	dir, err := os.MkdirTemp("", "clary-conformance-") //nolint:usetesting // what was begun may still run on it
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan string, 1), make(chan error, 1)
	go func() {
		done <- server.Run(ctx, server.Config{Data: dir, Listen: "127.0.0.1:0", LogLevel: slog.LevelError}, func(addr string) { ready <- addr })
	}()
	tr := &http.Transport{MaxIdleConnsPerHost: 16, DisableCompression: true}
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		cancel()
		if err := errors.Join(<-done, daemon.Clear(dir)); err != nil {
			t.Error(err)
		}
	})
	select {
	case addr := <-ready:
		key, err := identity.ReadRootKey(filepath.Join(dir, "keys"))
		if err != nil {
			t.Fatal(err)
		}
		return &world{t, addr, sigv4.Credentials{AccessKeyID: key.AccessKeyID, SecretAccessKey: key.SecretAccessKey}, &http.Client{Transport: tr, Timeout: time.Minute}}
	case err := <-done:
		done <- err
		t.Fatal("the server ended: ", err)
	case <-time.After(time.Minute):
		t.Fatal("the server does not get ready")
	}
	return nil
}

type answer struct {
	status int
	header http.Header
	body   []byte
}

func (w *world) send(t *testing.T, o *facts.Operation, m message) answer {
	t.Helper()
	return w.sendAs(t, w.keys, "us-east-1", o, m)
}

func (w *world) sendAs(t *testing.T, keys sigv4.Credentials, region string, o *facts.Operation, m message) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), m.method, "http://"+w.addr+m.path, bytes.NewReader(m.body))
	if err != nil {
		t.Fatalf("%s: %v", o.Name, err)
	}
	for k, v := range m.header {
		if k == "Content-Length" || k == "Expect" {
			continue // the transport's own
		}
		r.Header[k] = v
	}
	sum := sha256.Sum256(m.body)
	if o.Checksum.RequestRequired {
		md := sha256.Sum256(m.body)
		r.Header.Set("X-Amz-Checksum-Sha256", b64(md[:]))
	}
	sigv4.Sign(r, keys, region, o.Model.SigningName, hex.EncodeToString(sum[:]), time.Now())
	resp, err := w.http.Do(r)
	if err != nil {
		t.Fatalf("%s: %v", o.Name, err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s: %v", o.Name, err)
	}
	return answer{resp.StatusCode, resp.Header, b}
}

// fixed are texts that name things here as they do on AWS.
func fixed(m *facts.Model) map[*facts.Shape]string {
	out := map[*facts.Shape]string{}
	for shape, text := range map[string]string{
		"BucketName": "conformance-bucket", "ObjectKey": "a/key", "CopySource": "conformance-bucket/a/key",
		"MetadataKey": "name", "MetadataValue": "value", "ContentMD5": "", "MultipartUploadId": "none", "arnType": "arn:aws:iam::123456789012:role/Some",
		"NameType": "conformance/secret", "SecretIdType": "conformance/secret", "DurationType": "3h",
		"AccountId": "123456789012", "BudgetName": "conformance", "ZonedDateTime": "2026-01-01T00:00:00Z",
		"topicARN": "arn:aws:sns:us-east-1:123456789012:conformance", "topicName": "conformance",
		"BillingViewArn": "arn:aws:billing::123456789012:billingview/primary", "PolicyArn": "arn:aws:iam::123456789012:policy/Some",
		// what a body's bytes would have to match
		"ChecksumCRC32": "", "ChecksumCRC32C": "", "ChecksumSHA1": "", "ChecksumSHA256": "", "ChecksumCRC64NVME": "",
	} {
		if s := m.Shapes[shape]; s != nil {
			out[s] = text
		}
	}
	return out
}

func TestEveryOperation(t *testing.T) {
	w := start(t)
	t.Run("services", func(t *testing.T) {
		for _, name := range facts.Services() {
			m, err := facts.Load(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, protocol := range protocols(m) {
				t.Run(name+"/"+protocol, func(t *testing.T) {
					t.Parallel()
					w.service(t, m, protocol)
				})
			}
		}
	})
}

type kind struct { // one constraint of one use of a shape
	member *facts.Member
	spoil  string
}

func (w *world) service(t *testing.T, m *facts.Model, protocol string) {
	names := slices.Sorted(maps.Keys(m.Operations))
	tried, texts := map[kind]int{}, fixed(m)
	good, bad := 0, 0
	for i, name := range names {
		o := m.Operations[name]
		if shadowed(name) && m.Service == "s3" {
			continue
		}
		for _, full := range []bool{false, true} {
			g := &validatetest.Maker{Rand: rand.New(rand.NewPCG(uint64(i), 11)), Full: full, Texts: texts}
			n := request(t, g, protocol, o)
			good++
			if full == (protocol == "query") {
				w.valid(t, protocol, o, &n)
				w.unknown(t, protocol, o, n)
			}
			if o.Input == nil {
				continue
			}
			for _, at := range validatetest.Sites("", o.Input, &n, nil) {
				for _, sp := range validatetest.Spoils() {
					spoilt, want, ok := sp.Apply(at)
					k := kind{at.Member, sp.Name}
					if !ok || tried[k] == 1 || !sayable(protocol, o, at, spoilt) {
						continue
					}
					tried[k]++
					bad++
					was := *at.Node
					*at.Node = spoilt
					w.invalid(t, protocol, o, &n, sp.Name+" of "+at.Path, fmt.Sprintf("at '%s' failed to satisfy constraint: %s", at.Path, want))
					*at.Node = was
				}
			}
		}
	}
	if good == 0 || bad == 0 && m.Service != "sagemaker-metrics" {
		t.Errorf("%d good and %d bad requests", good, bad)
	}
	t.Logf("%d operations, %d violations", good, bad)
}

// shadowed operations of S3 share method and path with another: an older
// generation's, or one that AWS serves at an endpoint of its own.
func shadowed(name string) bool {
	switch name {
	case "ListDirectoryBuckets", "PutBucketNotification", "GetBucketNotification", "PutBucketLifecycle", "GetBucketLifecycle":
		return true
	}
	return false
}

// sayable leaves out what a protocol cannot express: a form and XML know no
// null and no list without elements; a path has all its parts.
func sayable(protocol string, o *facts.Operation, at validatetest.Site, spoilt validate.Node) bool {
	switch protocol {
	case "query":
		if spoilt.Kind == validate.Null && len(at.Parent.Fields) == 1 && len(at.Path) > len(at.Member.Name) {
			return false // a form has no empty structures
		}
		return spoilt.Kind != validate.Object || len(spoilt.Fields) > 0
	case "rest-xml", "rest-json":
		top := o.Input.Member(at.Member.Name) == at.Member
		if top && at.Member.Location == "uri" {
			return false
		}
		if top && at.Member.Location != "" && (spoilt.Text == "" || strings.ContainsAny(spoilt.Text, "\x00\n")) && spoilt.Kind == validate.Text {
			return false // an empty header is none
		}
		if top && at.Member == o.Input.Payload && at.Member.Shape.Type == facts.Blob {
			return false // bytes are there, if none
		}
		if protocol == "rest-xml" && (strings.Contains(spoilt.Text, "\x00") || spoilt.Kind == validate.Array && len(spoilt.Items) == 0) {
			return false
		}
	}
	return true
}

// valid: a request that fits is answered, and the answer fits.
func (w *world) valid(t *testing.T, protocol string, o *facts.Operation, n *validate.Node) answer {
	t.Helper()
	a := w.send(t, o, write(protocol, o, n))
	code := errorCode(protocol, a)
	switch {
	case a.status >= 500 && (a.status != http.StatusNotImplemented || code != "NotImplemented"):
		t.Errorf("%s: %d %s", o.Name, a.status, a.body)
	case strings.Contains(string(a.body), "failed to satisfy constraint"):
		t.Errorf("%s: a request that fits was refused: %s", o.Name, a.body)
	case a.status < 300:
		if err := fitsOutput(protocol, o, a); err != nil {
			t.Errorf("%s: the answer does not fit: %v: %.600s", o.Name, err, a.body)
		}
	default:
		if err := knownError(protocol, o, a); err != nil {
			t.Errorf("%s: %d, and %v: %s", o.Name, a.status, err, a.body)
		}
	}
	if a.header.Get("X-Amzn-Requestid")+a.header.Get("X-Amz-Request-Id") == "" {
		t.Errorf("%s: no request id", o.Name)
	}
	return a
}

// unknown: members that the model does not have are ignored, as on AWS.
func (w *world) unknown(t *testing.T, protocol string, o *facts.Operation, n validate.Node) {
	t.Helper()
	if protocol != "json" && protocol != "query" && protocol != "smithy-rpc-v2-cbor" {
		return
	}
	m := write(protocol, o, &n)
	switch protocol {
	case "query":
		m.body = append(m.body, "&NoSuchMember.1.x=y"...)
	default:
		more := n
		more.Fields = append(slices.Clone(n.Fields), validate.Field{Name: "NoSuchMember", Value: validate.Node{Kind: validate.Array, Items: []validate.Node{{Kind: validate.Text, Text: "x"}}}})
		m = write(protocol, o, &more)
	}
	if a := w.send(t, o, m); a.status >= 500 || strings.Contains(string(a.body), "NoSuchMember") || strings.Contains(string(a.body), "SerializationException") {
		t.Errorf("%s with an unknown member: %d %s", o.Name, a.status, a.body)
	}
}

func named(name string) func(*facts.Shape) bool {
	return func(s *facts.Shape) bool { return s.Name == name }
}

// invalid: a broken constraint is refused for what it is.
func (w *world) invalid(t *testing.T, protocol string, o *facts.Operation, n *validate.Node, what, want string) {
	t.Helper()
	a := w.send(t, o, write(protocol, o, n))
	code := errorCode(protocol, a)
	if protocol == "rest-xml" {
		// S3 has codes of its own, and a request without a header that tells
		// operations apart is another operation's
		if a.status < 400 || a.status >= 500 && code != "NotImplemented" || code == "NotImplemented" && !strings.HasPrefix(what, "null of") {
			t.Errorf("%s, %s: %d %s", o.Name, what, a.status, a.body)
		}
		return
	}
	codes := []string{"ValidationException", "ValidationError"}
	if i := slices.IndexFunc(o.Errors, named("InvalidParameterException")); i >= 0 && !slices.ContainsFunc(o.Errors, named("ValidationException")) {
		codes = []string{or(o.Errors[i].ErrorCode, o.Errors[i].Name)}
	}
	text := plainText(protocol, a)
	if a.status != http.StatusBadRequest || !slices.Contains(codes, code) && code != "MalformedInput" || !strings.Contains(text, want) && code != "MalformedInput" {
		t.Errorf("%s, %s: %d %s; want %s", o.Name, what, a.status, text, want)
	}
}
