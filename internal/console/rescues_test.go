package console

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"clary/internal/api/s3"
	sm "clary/internal/api/sagemaker"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
)

// bucket is a world with objects, or an error.
type bucket struct {
	*world
	keys []string
	err  error
	at   string // the instance's status
	in   *s3.ListObjectsV2Request
}

func (b *bucket) Call(ctx context.Context, c op.Call, in any) (any, error) {
	if c.Operation != "ListObjectsV2" {
		out, err := b.world.Call(ctx, c, in)
		if n, ok := out.(*sm.DescribeNotebookInstanceOutput); ok && b.at != "" {
			n.NotebookInstanceStatus = b.at
		}
		return out, err
	}
	b.in, _ = in.(*s3.ListObjectsV2Request)
	if b.err != nil {
		return nil, b.err
	}
	out := &s3.ListObjectsV2Output{}
	for _, k := range b.keys {
		out.Contents = append(out.Contents, s3.Object{Key: k, Size: ptr(2048)})
	}
	return out, nil
}

// TestRescues: the page of notebook instances says what was kept of deleted
// ones, the newest first, to whoever may see it.
func TestRescues(t *testing.T) {
	t.Parallel()
	page := func(b *bucket, path string) string {
		t.Helper()
		c, cookie := open(t, b.world)
		c.cfg.Calls = b
		r := httptest.NewRequest(http.MethodGet, "http://console.localhost"+path, nil)
		r.AddCookie(cookie)
		rec := httptest.NewRecorder()
		c.ServeHTTP(rec, r)
		if rec.Code != http.StatusOK {
			t.Fatalf("%d %s", rec.Code, rec.Body)
		}
		return rec.Body.String()
	}
	b := &bucket{world: newWorld(), keys: []string{
		"clary-rescue/nb/20261129T000000Z-a/loose.tar.gz", "clary-rescue/nb/20261129T000000Z-a/manifest.json",
		"clary-rescue/nb/20261130T023808Z-b/x.bundle", "clary-rescue/nb/20261130T023808Z-b/y.bundle", "clary-rescue/nb/20261130T023808Z-b/manifest.json",
		"clary-rescue/half/20261130T023809Z-c/x.bundle", "clary-rescue/other/thing", "clary-rescue/odd/when-d/manifest.json",
	}}
	text := page(b, "/notebook-instances")
	first := strings.Index(text, "/object?uri=s3%3A%2F%2Fsagemaker-us-east-1-123456789012%2Fclary-rescue%2Fnb%2F20261130T023808Z-b%2Fmanifest.json")
	second := strings.Index(text, "20261129T000000Z-a%2Fmanifest.json")
	if first < 0 || second < first || strings.Contains(text, "half") || strings.Contains(text, "when-d") || strings.Contains(text, "and more of it") {
		t.Errorf("%s", text)
	}
	if !strings.Contains(text, `<td class="num">2</td><td class="num">4.0 KiB</td>`) || b.in.Bucket != "sagemaker-us-east-1-123456789012" || b.in.Prefix != "clary-rescue/" {
		t.Errorf("%+v %s", b.in, text)
	}
	for i := range shownRescues {
		b.keys = append(b.keys, fmt.Sprintf("clary-rescue/many/2025010%dT000000Z-x/manifest.json", i))
	}
	if text := page(b, "/notebook-instances"); strings.Count(text, "manifest.json") != shownRescues || !strings.Contains(text, "and more of it") {
		t.Errorf("%s", text)
	}
	for _, err := range []error{apierr.AccessDenied("no"), apierr.New(http.StatusNotFound, "NoSuchBucket", "none")} {
		if text := page(&bucket{world: newWorld(), err: err}, "/notebook-instances"); strings.Contains(text, "Kept of") {
			t.Errorf("%s", text)
		}
	}
	for status, told := range map[string]bool{"InService": false, "Stopped": true, "Failed": true, "Deleting": true} {
		if text := page(&bucket{world: newWorld(), at: status}, "/notebook-instances/n"); strings.Contains(text, "are kept in <code>s3://sagemaker-us-east-1-123456789012/clary-rescue/n/</code> first") != told {
			t.Errorf("%s: %s", status, text)
		}
	}
}
