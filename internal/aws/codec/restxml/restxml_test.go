package restxml_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"clary/internal/api"
	"clary/internal/api/s3"
	"clary/internal/aws/apierr"
	"clary/internal/aws/checksum"
	"clary/internal/aws/codec/restxml"
	"clary/internal/aws/facts"
)

func operation(t testing.TB, name string) *facts.Operation {
	t.Helper()
	m, err := facts.Load("s3")
	if err != nil {
		t.Fatal(err)
	}
	o := m.Operations[name]
	if o == nil {
		t.Fatalf("no operation %s", name)
	}
	return o
}

func request(t testing.TB, method, target string, header map[string]string, body string) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	for k, v := range header {
		r.Header.Set(k, v)
	}
	return r
}

func TestDecodeEveryLocation(t *testing.T) {
	t.Parallel()
	r := request(t, "PUT", "/bucket/a//b%2Fc%20d/?x-id=PutObject", map[string]string{
		"x-amz-meta-One": "1", "X-Amz-Meta-tWO": "2", "Content-Type": "text/plain", "x-amz-server-side-encryption-bucket-key-enabled": "true",
		"x-amz-object-lock-retain-until-date": "2026-01-02T03:04:05.678Z", "If-Match": `"e"`, "X-Amz-Trailer": "x-amz-checksum-crc32, other",
	}, "stream")
	var in s3.PutObjectRequest
	if err := restxml.New().Decode(operation(t, "PutObject"), r, nil, &in); err != nil {
		t.Fatal(err)
	}
	if in.Bucket != "bucket" || in.Key != "a//b/c d/" || in.ContentType != "text/plain" || in.IfMatch != `"e"` ||
		!api.Value(in.BucketKeyEnabled) || api.Value(in.ContentLength) != 6 ||
		!in.ObjectLockRetainUntilDate.Equal(time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)) ||
		!reflect.DeepEqual(in.Metadata, map[string]string{"one": "1", "two": "2"}) {
		t.Errorf("got %+v", in)
	}
	body, ok := in.Body.(*restxml.Body)
	if !ok || !reflect.DeepEqual(body.Announced(), []string{"x-amz-checksum-crc32", "other"}) {
		t.Errorf("body is %+v", in.Body)
	}
	if data, err := io.ReadAll(in.Body); err != nil || string(data) != "stream" {
		t.Errorf("body reads %q, %v", data, err)
	}

	r = request(t, "GET", "/bucket?list-type=2&max-keys=7&fetch-owner=true&prefix=a%2Bb+c&start-after=", map[string]string{"x-amz-optional-object-attributes": "RestoreStatus, x"}, "")
	var list s3.ListObjectsV2Request
	if err := restxml.New().Decode(operation(t, "ListObjectsV2"), r, []byte{}, &list); err != nil {
		t.Fatal(err)
	}
	if api.Value(list.MaxKeys) != 7 || !api.Value(list.FetchOwner) || list.Prefix != "a+b c" ||
		!reflect.DeepEqual(list.OptionalObjectAttributes, []string{"RestoreStatus", "x"}) {
		t.Errorf("got %+v", list)
	}

	r = request(t, "GET", "/bucket/k?response-expires=Wed%2C%2021%20Oct%202015%2007%3A28%3A00%20GMT", map[string]string{
		"If-Modified-Since": "Wed, 21 Oct 2015 07:28:00 GMT", "If-Unmodified-Since": "never",
	}, "")
	var get s3.GetObjectRequest
	if err := restxml.New().Decode(operation(t, "GetObject"), r, []byte{}, &get); err != nil {
		t.Fatal(err)
	}
	at := time.Date(2015, 10, 21, 7, 28, 0, 0, time.UTC)
	if !get.IfModifiedSince.Equal(at) || !get.ResponseExpires.Equal(at) || !get.IfUnmodifiedSince.IsZero() {
		t.Errorf("got %+v", get)
	}
}

func TestDecodeBody(t *testing.T) {
	t.Parallel()
	const doc = `<?xml version="1.0"?><!-- c --><CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
		<Part><PartNumber>1</PartNumber><ETag>&quot;a&quot;</ETag><Unknown><x>1</x></Unknown></Part>
		<Part><ETag><![CDATA["b"]]></ETag><PartNumber>2</PartNumber></Part></CompleteMultipartUpload>`
	r := request(t, "POST", "/bucket/k?uploadId=u", nil, "")
	var in s3.CompleteMultipartUploadRequest
	if err := restxml.New().Decode(operation(t, "CompleteMultipartUpload"), r, []byte(doc), &in); err != nil {
		t.Fatal(err)
	}
	p := in.MultipartUpload.Parts
	if in.UploadId != "u" || len(p) != 2 || p[0].ETag != `"a"` || api.Value(p[1].PartNumber) != 2 || p[1].ETag != `"b"` {
		t.Errorf("got %+v", p)
	}
	tagging := `<Tagging><TagSet><Tag><Key>k</Key><Value> v </Value></Tag></TagSet></Tagging>`
	var tags s3.PutObjectTaggingRequest
	r = request(t, "PUT", "/bucket/k?tagging", map[string]string{"Content-MD5": checksum.Of(checksum.MD5, []byte(tagging))}, "")
	if err := restxml.New().Decode(operation(t, "PutObjectTagging"), r, []byte(tagging), &tags); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(tags.Tagging.TagSet, []s3.Tag{{Key: "k", Value: " v "}}) {
		t.Errorf("got %+v", tags.Tagging)
	}
}

func TestRefusedBodies(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ op, target, body, sum, code string }{
		{"CompleteMultipartUpload", "/b/k?uploadId=u", "<a>", "", "MalformedXML"},
		{"CompleteMultipartUpload", "/b/k?uploadId=u", "<a></a><b></b>", "", "MalformedXML"},
		{"CompleteMultipartUpload", "/b/k?uploadId=u", "text", "", "MalformedXML"},
		{"CompleteMultipartUpload", "/b/k?uploadId=u", "<a>text</a>", "", "MalformedXML"},
		{"CompleteMultipartUpload", "/b/k?uploadId=u", "<a><Part><PartNumber>1</PartNumber><PartNumber>1</PartNumber></Part></a>", "", "MalformedXML"},
		{"CompleteMultipartUpload", "/b/k?uploadId=u", "<a><Part><PartNumber>99999999999</PartNumber></Part></a>", "", "MalformedXML"},
		{"CompleteMultipartUpload", "/b/k?uploadId=u", `<?xml version="1.0" encoding="latin1"?><a></a>`, "", "MalformedXML"},
		{"CompleteMultipartUpload", "/b/k?uploadId=u", `<!DOCTYPE a [<!ENTITY x "y">]><a></a>`, "", "MalformedXML"},
		{"DeleteObjects", "/b?delete", "<Delete><Object></Object></Delete>", "right", "MalformedXML"},
		{"DeleteObjects", "/b?delete", "", "right", "MissingRequestBodyError"},
		{"DeleteObjects", "/b?delete", "<Delete></Delete>", "", "InvalidRequest"},
		{"DeleteObjects", "/b?delete", "<Delete></Delete>", "AAAAAA==", "BadDigest"},
		{"DeleteObjects", "/b?delete", "<Delete></Delete>", "A", "InvalidRequest"},
	} {
		h := map[string]string{}
		switch c.sum {
		case "":
		case "right":
			h["x-amz-checksum-crc32"] = checksum.Of(checksum.CRC32, []byte(c.body))
		default:
			h["x-amz-checksum-crc32"] = c.sum
		}
		in := any(&s3.CompleteMultipartUploadRequest{})
		if c.op == "DeleteObjects" {
			in = &s3.DeleteObjectsRequest{}
		}
		err := restxml.New().Decode(operation(t, c.op), request(t, "POST", c.target, h, ""), []byte(c.body), in)
		if e, ok := errors.AsType[*apierr.Error](err); !ok || e.Code != c.code {
			t.Errorf("%s %q: got %v, want %s", c.op, c.body, err, c.code)
		}
	}
}

func encode(t testing.TB, method, op string, out any) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	if err := restxml.New().Encode(w, request(t, method, "/bucket/k", nil, ""), operation(t, op), out, "REQ"); err != nil {
		t.Fatal(err)
	}
	return w
}

func TestEncode(t *testing.T) {
	t.Parallel()
	const head = `<?xml version="1.0" encoding="UTF-8"?>` + "\n"
	const ns = ` xmlns="http://s3.amazonaws.com/doc/2006-03-01/"`
	at := api.At(time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC))
	for _, c := range []struct {
		op   string
		out  any
		want string
	}{
		{"ListBuckets", &s3.ListBucketsOutput{Buckets: []s3.Bucket{}}, "<ListAllMyBucketsResult" + ns + "><Buckets></Buckets></ListAllMyBucketsResult>"},
		{"ListBuckets", &s3.ListBucketsOutput{Buckets: []s3.Bucket{{Name: "b", CreationDate: at}}}, "<ListAllMyBucketsResult" + ns + "><Buckets><Bucket><Name>b</Name><CreationDate>2026-01-02T03:04:05.678Z</CreationDate></Bucket></Buckets></ListAllMyBucketsResult>"},
		{"GetBucketLocation", &s3.GetBucketLocationOutput{}, "<LocationConstraint" + ns + "></LocationConstraint>"},
		{"GetBucketLocation", &s3.GetBucketLocationOutput{LocationConstraint: "eu-west-1"}, "<LocationConstraint" + ns + ">eu-west-1</LocationConstraint>"},
		{"CopyObject", &s3.CopyObjectOutput{CopyObjectResult: &s3.CopyObjectResult{ETag: `"e"`}}, "<CopyObjectResult" + ns + "><ETag>&#34;e&#34;</ETag></CopyObjectResult>"},
		{"ListObjectsV2", &s3.ListObjectsV2Output{Contents: []s3.Object{{Key: "a<&\x01"}, {Key: "ü", Size: new(int64(0))}}, IsTruncated: new(false)}, "<ListBucketResult" + ns + "><IsTruncated>false</IsTruncated><Contents><Key>a&lt;&amp;\uFFFD</Key></Contents><Contents><Key>ü</Key><Size>0</Size></Contents><Prefix></Prefix></ListBucketResult>"},
		{"GetObjectTagging", &s3.GetObjectTaggingOutput{TagSet: []s3.Tag{{Key: "k"}}}, "<Tagging" + ns + "><TagSet><Tag><Key>k</Key><Value></Value></Tag></TagSet></Tagging>"},
	} {
		w := encode(t, "GET", c.op, c.out)
		if w.Code != 200 || w.Body.String() != head+c.want || w.Header().Get("Content-Type") != "application/xml" {
			t.Errorf("%s: %d %s\nwant %s", c.op, w.Code, w.Body, c.want)
		}
	}
	w := encode(t, "GET", "GetObject", &s3.GetObjectOutput{
		Body: io.NopCloser(strings.NewReader("data")), ContentLength: new(int64(4)), LastModified: at, ContentRange: "bytes 0-3/9",
		Metadata: map[string]string{"CaMel": "v", "uni": "ü"},
	})
	h := w.Header()
	lower := map[string][]string(h) // as they go out, not as http.Header finds them
	if w.Code != 206 || w.Body.String() != "data" || h.Get("Content-Length") != "4" || h.Get("Last-Modified") != "Fri, 02 Jan 2026 03:04:05 GMT" ||
		!reflect.DeepEqual(lower["x-amz-meta-camel"], []string{"v"}) || !reflect.DeepEqual(lower["x-amz-meta-uni"], []string{"=?UTF-8?b?w7w=?="}) {
		t.Errorf("%d %q %v", w.Code, w.Body, h)
	}
	w = encode(t, "HEAD", "HeadObject", &s3.HeadObjectOutput{ContentLength: new(int64(99))})
	if w.Code != 200 || w.Body.Len() != 0 || w.Header().Get("Content-Length") != "99" {
		t.Errorf("%d %q %v", w.Code, w.Body, w.Header())
	}
	if w = encode(t, "DELETE", "DeleteBucket", nil); w.Code != 204 || w.Body.Len() != 0 {
		t.Errorf("%d %q", w.Code, w.Body)
	}
}

func TestEncodeError(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"UnsupportedOperation": "501 NotImplemented", "AccessDeniedException": "403 AccessDenied", "InternalFailure": "500 InternalError",
		"ValidationException": "400 InvalidRequest", "InvalidClientTokenId": "403 InvalidAccessKeyId", "NoSuchKey": "418 NoSuchKey",
	} {
		w := httptest.NewRecorder()
		e := apierr.New(http.StatusTeapot, in, "a < b")
		e.Fields = map[string]string{"Key": "k&", "header:X-Extra": "1"}
		restxml.New().EncodeError(w, request(t, "GET", "/b/k", nil, ""), nil, e, "REQ")
		status, code, _ := strings.Cut(want, " ")
		if http.StatusText(w.Code) == "" || !strings.HasPrefix(w.Result().Status, status) ||
			!strings.Contains(w.Body.String(), "<Error><Code>"+code+"</Code><Message>") || !strings.Contains(w.Body.String(), "<Key>k&amp;</Key>") ||
			!strings.Contains(w.Body.String(), "<RequestId>REQ</RequestId>") || w.Header().Get("X-Extra") != "1" {
			t.Errorf("%s: %d %s", in, w.Code, w.Body)
		}
	}
}

// FuzzDecode looks for panics, and for errors that are not the client's.
func FuzzDecode(f *testing.F) {
	f.Add("/b/k?uploadId=u", "x-amz-checksum-crc32", "AAAAAA==", "<a><Part><PartNumber>1</PartNumber></Part></a>")
	f.Add("/b//k%00?partNumber=x&versionId=", "If-Modified-Since", "x", "<Delete><Object><Key>k</Key></Object></Delete>")
	f.Add("/b?max-keys=-9223372036854775809", "Range", "bytes=0-", "")
	c := restxml.New()
	ops := []*facts.Operation{
		operation(f, "CompleteMultipartUpload"), operation(f, "DeleteObjects"), operation(f, "PutObjectTagging"), operation(f, "CreateBucket"),
		operation(f, "ListObjectsV2"), operation(f, "GetObject"), operation(f, "PutObject"),
	}
	inputs := []func() any{
		func() any { return new(s3.CompleteMultipartUploadRequest) }, func() any { return new(s3.DeleteObjectsRequest) },
		func() any { return new(s3.PutObjectTaggingRequest) }, func() any { return new(s3.CreateBucketRequest) },
		func() any { return new(s3.ListObjectsV2Request) }, func() any { return new(s3.GetObjectRequest) }, func() any { return new(s3.PutObjectRequest) },
	}
	f.Fuzz(func(t *testing.T, target, name, value, body string) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			return
		}
		for i, op := range ops {
			r := &http.Request{Method: op.HTTP.Method, URL: u, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
			r.Header.Set(name, value)
			r.Header.Set("Content-Md5", checksum.Of(checksum.MD5, []byte(body)))
			in := inputs[i]()
			err := c.Decode(op, r, []byte(body), in)
			if _, ok := errors.AsType[*apierr.Error](err); err != nil && !ok && !strings.Contains(err.Error(), "path is not its own") {
				t.Fatalf("%s: %v", op.Name, err)
			}
		}
	})
}
