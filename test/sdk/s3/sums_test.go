package s3_test

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"clary/internal/aws/checksum"
	"clary/internal/aws/sigv4"
	"clary/internal/blob"
)

func sumHeader(algorithm string) string { return "X-Amz-Checksum-" + strings.ToLower(algorithm) }

func element(algorithm, sum string) string {
	return fmt.Sprintf("<Checksum%s>%s</Checksum%[1]s>", algorithm, sum)
}

// uploads are the ways in which a client tells a body's checksum.
var uploads = map[string]func(c caller, path, algorithm, sum, body string) (reply, string){ //nolint:gochecknoglobals // a constant
	"header": func(c caller, path, algorithm, sum, body string) (reply, string) {
		return c.do(http.MethodPut, path, map[string]string{sumHeader(algorithm): sum, "X-Amz-Sdk-Checksum-Algorithm": algorithm}, body)
	},
	"trailer": func(c caller, path, algorithm, sum, body string) (reply, string) {
		header := map[string]string{
			"X-Amz-Trailer": sumHeader(algorithm), "X-Amz-Decoded-Content-Length": fmt.Sprint(len(body)), "Content-Encoding": "aws-chunked",
			"X-Amz-Sdk-Checksum-Algorithm": algorithm,
		}
		framed := fmt.Sprintf("%x\r\n%s\r\n0\r\n%s:%s\r\n\r\n", len(body), body, sumHeader(algorithm), sum)
		return c.send("http://"+c.addr+path, http.MethodPut, header, framed, sigv4.StreamingUnsignedTrailer)
	},
}

// badSum says that an upload was refused for its sum, in S3's words.
func badSum(t *testing.T, algorithm string, res reply, body string) {
	t.Helper()
	if res.StatusCode != http.StatusBadRequest || !strings.Contains(body, "<Code>BadDigest</Code>") ||
		!strings.Contains(body, "<Message>The "+algorithm+" you specified did not match the calculated checksum.</Message>") {
		t.Errorf("a wrong sum: %s %s", res.Status, body)
	}
}

// TestSums tells every checksum in every way: the right one is kept and given
// back, the wrong one keeps the object as it was.
func TestSums(t *testing.T) {
	t.Parallel()
	c := newCaller(t)
	for _, algorithm := range checksum.All() {
		for way, put := range uploads {
			t.Run(algorithm+" "+way, func(t *testing.T) {
				t.Parallel()
				c := caller{t, c.addr}
				path := "/bucket/" + algorithm + way
				const data, other = "123456789", "987654321"
				sum := checksum.Of(algorithm, []byte(data))
				shown := func(what string, res reply) {
					t.Helper()
					if res.Header.Get(sumHeader(algorithm)) != sum || res.Header.Get("X-Amz-Checksum-Type") != checksum.FullObject {
						t.Errorf("%s: want %s in %v", what, sum, res.Header)
					}
				}
				res, text := put(c, path, algorithm, sum, data)
				if res.StatusCode != http.StatusOK {
					t.Fatalf("%s %s", res.Status, text)
				}
				shown("put", res)
				res, text = put(c, path, algorithm, sum, other)
				badSum(t, algorithm, res, text)
				if res, text := put(c, path, algorithm, sum[:len(sum)-4], data); res.StatusCode != http.StatusBadRequest || !strings.Contains(text, "<Code>InvalidRequest</Code>") {
					t.Errorf("what is no sum: %s %s", res.Status, text)
				}
				for _, method := range []string{http.MethodHead, http.MethodGet} {
					res, text := c.ok(method, path, map[string]string{"X-Amz-Checksum-Mode": "ENABLED"}, "")
					shown(method, res)
					if method == http.MethodGet && text != data {
						t.Errorf("refused uploads left %q", text)
					}
					if res, _ := c.ok(method, path, nil, ""); res.Header.Get(sumHeader(algorithm)) != "" {
						t.Errorf("%s tells a sum unasked", method)
					}
				}
				want := "<Checksum>" + element(algorithm, sum)
				if _, text := c.ok(http.MethodGet, path+"?attributes", map[string]string{"X-Amz-Object-Attributes": "Checksum"}, ""); !strings.Contains(text, want) {
					t.Errorf("no %s in the attributes %s", want, text)
				}
				// Of another algorithm, and of the source's when none is named.
				for _, asked := range []string{"", checksum.CRC32C} {
					_, text := c.ok(http.MethodPut, path+"copy", map[string]string{"X-Amz-Copy-Source": path, "X-Amz-Checksum-Algorithm": asked}, "")
					want := element(algorithm, sum)
					if asked != "" {
						want = element(asked, checksum.Of(asked, []byte(data)))
					}
					if !strings.Contains(text, want) {
						t.Errorf("no %s in the copy %s", want, text)
					}
				}
			})
		}
	}
}

// TestSumsOfParts makes an object of parts with every checksum, in each of
// the two ways that S3 has for it.
func TestSumsOfParts(t *testing.T) {
	t.Parallel()
	c := newCaller(t)
	parts := []string{strings.Repeat("a", blob.MinPart), "tail"}
	whole := []byte(strings.Join(parts, ""))
	for _, algorithm := range checksum.All() {
		sums := make([]string, len(parts))
		pieces := make([]checksum.Piece, len(parts))
		for i, p := range parts {
			sums[i] = checksum.Of(algorithm, []byte(p))
			pieces[i] = checksum.Piece{Sum: sums[i], Size: int64(len(p))}
		}
		for _, typ := range []string{checksum.FullObject, checksum.Composite} {
			t.Run(algorithm+" "+typ, func(t *testing.T) {
				t.Parallel()
				c := caller{t, c.addr}
				path := "/bucket/" + algorithm + typ
				told := map[string]string{"X-Amz-Checksum-Algorithm": algorithm, "X-Amz-Checksum-Type": typ}
				if allowed := map[string]bool{
					checksum.FullObject: slices.Contains([]string{checksum.CRC32, checksum.CRC32C, checksum.CRC64NVME}, algorithm),
					checksum.Composite:  algorithm != checksum.CRC64NVME,
				}; !allowed[typ] {
					c.refused(http.StatusBadRequest, "InvalidRequest", http.MethodPost, path+"?uploads", told, "")
					return
				}
				if typ == checksum.DefaultType(algorithm) {
					delete(told, "X-Amz-Checksum-Type")
				}
				res, text := c.ok(http.MethodPost, path+"?uploads", told, "")
				var upload struct{ UploadId string } //nolint:revive // AWS's spelling
				if err := xml.Unmarshal([]byte(text), &upload); err != nil {
					t.Fatal(err)
				}
				if res.Header.Get("X-Amz-Checksum-Algorithm") != algorithm || res.Header.Get("X-Amz-Checksum-Type") != typ {
					t.Errorf("the upload is %v", res.Header)
				}
				at := func(n int) string { return fmt.Sprintf("%s?partNumber=%d&uploadId=%s", path, n+1, upload.UploadId) }
				var tags [2]string
				for n, way := range []string{"header", "trailer"} {
					res, text := uploads[way](c, at(n), algorithm, sums[n], "other")
					badSum(t, algorithm, res, text)
					res, text = uploads[way](c, at(n), algorithm, sums[n], parts[n])
					if tags[n] = res.Header.Get("Etag"); res.Header.Get(sumHeader(algorithm)) != sums[n] {
						t.Fatalf("part: %s %s %v", res.Status, text, res.Header)
					}
					res, text = uploads[way](c, at(n), algorithm, sums[n], "other")
					badSum(t, algorithm, res, text)
				}
				done := path + "?uploadId=" + upload.UploadId
				document := func(last string) string {
					var b bytes.Buffer
					for n, sum := range []string{sums[0], last} {
						fmt.Fprintf(&b, "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag>%s</Part>", n+1, tags[n], element(algorithm, sum))
					}
					return "<CompleteMultipartUpload>" + b.String() + "</CompleteMultipartUpload>"
				}
				want, err := checksum.OfParts(algorithm, typ, pieces)
				if err != nil {
					t.Fatal(err)
				}
				if typ == checksum.FullObject {
					want = checksum.Of(algorithm, whole)
				}
				c.refused(http.StatusBadRequest, "InvalidPart", http.MethodPost, done, nil, document(sums[0]))
				wrong := checksum.Of(algorithm, []byte("other"))
				if typ == checksum.Composite {
					wrong += "-2"
				}
				c.refused(http.StatusBadRequest, "BadDigest", http.MethodPost, done, map[string]string{sumHeader(algorithm): wrong}, document(sums[1]))
				if res, _ := c.do(http.MethodHead, path, nil, ""); res.StatusCode != http.StatusNotFound {
					t.Errorf("after refusals: %s", res.Status)
				}
				_, text = c.ok(http.MethodPost, done, map[string]string{sumHeader(algorithm): want, "X-Amz-Checksum-Type": typ}, document(sums[1]))
				has := func(what, text string, all ...string) {
					t.Helper()
					for _, one := range all {
						if !strings.Contains(text, one) {
							t.Errorf("no %s in %s: %s", one, what, text)
						}
					}
				}
				kind := "<ChecksumType>" + typ + "</ChecksumType>"
				has("the end", text, element(algorithm, want), kind)
				_, text = c.ok(http.MethodGet, path+"?attributes", map[string]string{"X-Amz-Object-Attributes": "Checksum,ObjectParts"}, "")
				has("the attributes", text, element(algorithm, want), kind, element(algorithm, sums[0]), element(algorithm, sums[1]))
				res, _ = c.ok(http.MethodHead, path, map[string]string{"X-Amz-Checksum-Mode": "ENABLED"}, "")
				if res.Header.Get(sumHeader(algorithm)) != want || res.Header.Get("X-Amz-Checksum-Type") != typ || res.Header.Get("Content-Length") != fmt.Sprint(len(whole)) {
					t.Errorf("the object is %v, want %s", res.Header, want)
				}
			})
		}
	}
}

// TestSumsThatNobodyComputes refuses what would be lost in silence.
func TestSumsThatNobodyComputes(t *testing.T) {
	t.Parallel()
	c := newCaller(t)
	c.ok(http.MethodPut, "/bucket/k", nil, "before")
	for algorithm, sum := range map[string]string{"XXHASH64": "jLhB2k5+dpc=", "XXHASH3": "jLhB2k5+dpc=", "XXHASH128": "jLhB2k5+dpeMuEHaTn52lw=="} {
		for way, put := range uploads {
			if res, text := put(c, "/bucket/k", algorithm, sum, "data"); res.StatusCode != http.StatusNotImplemented || !strings.Contains(text, "<Code>NotImplemented</Code>") {
				t.Errorf("%s as a %s: %s %s", algorithm, way, res.Status, text)
			}
		}
		named := map[string]string{"X-Amz-Checksum-Algorithm": algorithm}
		c.refused(http.StatusNotImplemented, "NotImplemented", http.MethodPost, "/bucket/k?uploads", named, "")
		named["X-Amz-Copy-Source"] = "/bucket/k"
		c.refused(http.StatusNotImplemented, "NotImplemented", http.MethodPut, "/bucket/copy", named, "")
	}
	c.refused(http.StatusBadRequest, "InvalidRequest", http.MethodPost, "/bucket/k?uploads", map[string]string{"X-Amz-Checksum-Algorithm": "CRC16"}, "")
	if _, text := c.ok(http.MethodGet, "/bucket/k", nil, ""); text != "before" {
		t.Errorf("refused uploads left %q", text)
	}
}
