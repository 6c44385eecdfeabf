package s3

import (
	"encoding/base64"
	"io"
	"net/http"
	"reflect"
	"strings"

	"clary/internal/aws/apierr"
	"clary/internal/aws/checksum"
	"clary/internal/blob"
)

// The model spells each checksum as a member of its own, in a dozen shapes:
// ChecksumCRC32 and so on. sumsOf reads them all from a request or a part.
func sumsOf(in any) map[string]string {
	v := reflect.Indirect(reflect.ValueOf(in))
	var out map[string]string
	for _, algorithm := range checksum.All() {
		f := v.FieldByName("Checksum" + algorithm)
		if f.IsValid() && f.Len() > 0 {
			if out == nil {
				out = map[string]string{}
			}
			out[algorithm] = f.String()
		}
	}
	return out
}

// setSums writes them to out, a pointer to an answer.
func setSums(out any, sums map[string]string) {
	v := reflect.ValueOf(out).Elem()
	for algorithm, sum := range sums {
		if f := v.FieldByName("Checksum" + algorithm); f.IsValid() {
			f.SetString(sum)
		}
	}
}

// unknownSum refuses the algorithms of the model that nobody here computes.
func unknownSum(in any) error {
	v := reflect.Indirect(reflect.ValueOf(in))
	for _, name := range []string{"XXHASH64", "XXHASH3", "XXHASH128"} {
		if f := v.FieldByName("Checksum" + name); f.IsValid() && f.Len() > 0 {
			return notImplemented("x-amz-checksum-" + strings.ToLower(name))
		}
	}
	return nil
}

// unknownAlgorithm refuses what is none of ours, and tells what S3 has of it
// from what nobody does.
func unknownAlgorithm(name string) error {
	if strings.HasPrefix(name, "XXHASH") {
		return notImplemented("x-amz-checksum-algorithm: " + name)
	}
	return invalidRequest("Checksum algorithm provided is unsupported. Please try again with any of the valid types: [%s]", strings.Join(checksum.All(), ", "))
}

// trailing is a body that checksums follow.
type trailing interface {
	Announced() []string // names of the trailers to come
	Trailer() http.Header
}

// expected says which checksum a body must have and where it is told.
type expected struct {
	md5       string
	algorithm string
	sum       string   // "" when it trails the body
	trailer   trailing // nil when nothing trails
}

func headerOf(algorithm string) string { return "x-amz-checksum-" + strings.ToLower(algorithm) }

// expect reads what a request says of its body's checksums. Without a word, a
// body is summed as S3 does nowadays.
func expect(in any, body io.Reader, md5, sdkAlgorithm string) (expected, error) {
	x := expected{md5: md5}
	if md5 != "" && !checksum.Valid(checksum.MD5, md5) {
		return x, apierr.New(http.StatusBadRequest, "InvalidDigest", "The Content-MD5 you specified was invalid.")
	}
	if err := unknownSum(in); err != nil {
		return x, err
	}
	given := sumsOf(in)
	if len(given) > 1 {
		return x, invalidRequest("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
	}
	for algorithm, sum := range given {
		if !checksum.Valid(algorithm, sum) {
			return x, invalidRequest("Value for %s header is invalid.", headerOf(algorithm))
		}
		x.algorithm, x.sum = algorithm, sum
	}
	if t, ok := body.(trailing); ok && x.algorithm == "" {
		for _, name := range t.Announced() {
			algorithm, ok := strings.CutPrefix(strings.ToUpper(name), "X-AMZ-CHECKSUM-")
			if !ok {
				continue
			}
			if !checksum.Known(algorithm) {
				return x, notImplemented(name)
			}
			x.algorithm, x.trailer = algorithm, t
		}
	}
	switch {
	case x.algorithm != "" || sdkAlgorithm == "":
	case checksum.Known(strings.ToUpper(sdkAlgorithm)):
		return x, invalidRequest("x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found.")
	default:
		return x, invalidRequest("Value for x-amz-sdk-checksum-algorithm header is invalid.")
	}
	return x, nil
}

// verify compares the sums of what was read with what was told.
func (x expected) verify(got blob.Sums) error {
	if x.md5 != "" {
		if sum := base64.StdEncoding.EncodeToString(got.MD5[:]); sum != x.md5 {
			e := apierr.New(http.StatusBadRequest, "BadDigest", "The Content-MD5 you specified did not match what we received.")
			return field(field(e, "ExpectedDigest", x.md5), "CalculatedDigest", sum)
		}
	}
	if x.algorithm == "" {
		return nil
	}
	want := x.sum
	if x.trailer != nil {
		want = x.trailer.Trailer().Get(headerOf(x.algorithm))
		if !checksum.Valid(x.algorithm, want) {
			return invalidRequest("Value for %s trailing header is invalid.", headerOf(x.algorithm))
		}
	}
	if want != got.Checksums[x.algorithm] {
		return apierr.New(http.StatusBadRequest, "BadDigest", "The %s you specified did not match the calculated checksum.", x.algorithm)
	}
	return nil
}
