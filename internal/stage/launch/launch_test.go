package launch

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"clary/internal/client/clienttest"
)

func bench(t *testing.T) (*launcher, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	base := t.TempDir()
	l := &launcher{base: base, code: filepath.Join(base, "code"), env: map[string]string{}, stdout: &log, stderr: &log}
	if err := os.MkdirAll(l.code, 0o755); err != nil {
		t.Fatal(err)
	}
	return l, &log
}

func hostile(t *testing.T, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	gz := gzip.NewWriter(&b)
	tw := tar.NewWriter(gz)
	for _, h := range headers {
		data := []byte("data")
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(data))
		}
		h.Mode = 0o7777
		if err := tw.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := tw.Write(data); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	if err := gz.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestUnpackHostile(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		headers []tar.Header
		want    []string // files in code
	}{
		{"parent", []tar.Header{{Name: "../../escaped"}}, []string{"escaped"}},
		{"absolute", []tar.Header{{Name: "/escaped"}}, []string{"escaped"}},
		{"backslash", []tar.Header{{Name: `..\..\escaped`}}, []string{"escaped"}},
		{"link out", []tar.Header{{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "../.."}, {Name: "l/escaped"}}, []string{"l/escaped"}},
		{"absolute link", []tar.Header{{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "/tmp"}}, nil},
		{"link chain", []tar.Header{
			{Name: "a/b/c", Typeflag: tar.TypeDir},
			{Name: "x", Typeflag: tar.TypeSymlink, Linkname: "a/b"},
			{Name: "y", Typeflag: tar.TypeSymlink, Linkname: "x/.."},
			{Name: "z", Typeflag: tar.TypeSymlink, Linkname: "y/.."},
			{Name: "z/../escaped"},
			{Name: "ok"},
		}, []string{"ok", "x", "y", "z"}},
		{"hard link out", []tar.Header{{Name: "h", Typeflag: tar.TypeLink, Linkname: "../../../../../../etc/passwd"}}, nil},
		{"hard link in", []tar.Header{{Name: "f"}, {Name: "h", Typeflag: tar.TypeLink, Linkname: "f"}}, []string{"f", "h"}},
		{"device", []tar.Header{{Name: "d", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}, {Name: "p", Typeflag: tar.TypeFifo}, {Name: "f"}}, []string{"f"}},
		{"twice", []tar.Header{{Name: "f"}, {Name: "f"}}, []string{"f"}},
		{"file over link", []tar.Header{{Name: "f", Typeflag: tar.TypeSymlink, Linkname: "g"}, {Name: "f"}}, []string{"f"}},
		{"nothing left", []tar.Header{{Name: ".."}, {Name: "./", Typeflag: tar.TypeDir}}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l, log := bench(t)
			if err := l.unpack(bytes.NewReader(hostile(t, tt.headers...))); err != nil {
				t.Fatal(err)
			}
			var got []string
			_ = filepath.WalkDir(l.base, func(p string, d os.DirEntry, err error) error {
				if err == nil && !d.IsDir() {
					rel, _ := filepath.Rel(l.code, p)
					got = append(got, rel)
				}
				return nil
			})
			slices.Sort(got)
			for _, g := range got {
				if strings.HasPrefix(g, "..") {
					t.Errorf("%s was written outside", g)
				}
				if fi, err := os.Lstat(filepath.Join(l.code, g)); err == nil && fi.Mode()&(os.ModeSetuid|os.ModeSetgid) != 0 {
					t.Errorf("%s has mode %v", g, fi.Mode())
				}
			}
			want := slices.Sorted(slices.Values(tt.want))
			for _, w := range want {
				if !slices.Contains(got, w) && tt.name != "link chain" {
					t.Errorf("files %q, want %q; %s", got, want, log)
					break
				}
			}
			if tt.name != "link chain" && len(got) != len(want) {
				t.Errorf("files %q, want %q; %s", got, want, log)
			}
		})
	}
}

func TestBombs(t *testing.T) {
	t.Parallel()
	b := &bounded{r: zeroes{}, left: 1 << 20}
	n := 0
	buf := make([]byte, 100_000)
	for {
		m, err := b.Read(buf)
		n += m
		if err != nil {
			if !strings.Contains(err.Error(), "unpack to more than") {
				t.Error(err)
			}
			break
		}
	}
	if n != 1<<20 {
		t.Errorf("%d bytes passed", n)
	}
	l, _ := bench(t)
	if err := l.unpack(strings.NewReader("not an archive")); err == nil || !strings.Contains(err.Error(), "not a tar.gz") {
		t.Errorf("err = %v", err)
	}
}

type zeroes struct{}

func (zeroes) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestSourcesFromS3(t *testing.T) {
	t.Parallel()
	s3 := clienttest.New("bucket")
	s3.Set("bucket", "job/sourcedir.tar.gz", tarball(t, map[string]string{"train.py": "pass"}))
	mux := http.NewServeMux()
	mux.Handle("/", s3)
	mux.HandleFunc("/v2/secret", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"AccessKeyId":"A","SecretAccessKey":"s","Token":"t","Expiration":"2030-01-01T00:00:00Z"}`))
	})
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	l, _ := bench(t)
	l.env = map[string]string{"S3_ENDPOINT_URL": srv.URL, "AWS_REGION": "us-east-1", "AWS_CONTAINER_CREDENTIALS_FULL_URI": srv.URL + "/v2/secret"}
	if err := l.fetch(t.Context(), "s3://bucket/job/none.tar.gz"); err == nil || !strings.Contains(err.Error(), "do not exist") {
		t.Errorf("err = %v", err)
	}
	if err := l.fetch(t.Context(), "s3://bucket/job/sourcedir.tar.gz"); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(filepath.Join(l.code, "train.py")); err != nil || string(data) != "pass" {
		t.Errorf("%q, %v", data, err)
	}
	// What is there already is used as it is.
	if err := l.fetch(t.Context(), "s3://bucket/job/none.tar.gz"); err != nil {
		t.Error(err)
	}
}

// The reason says what the script's own words were.
func TestFailureHoldsTheTraceback(t *testing.T) {
	t.Parallel()
	c := toolkitCase{name: "x", program: "train.py", sources: map[string]string{"train.py": "def f():\n    raise KeyError('column')\nf()\n"}}
	base, dir := c.prepare(t), pythonDir(t)
	var log bytes.Buffer
	if code := Main(context.Background(), base, c.environ(base, dir), &log, &log); code != 1 {
		t.Errorf("exit code %d", code)
	}
	data, err := os.ReadFile(base + "/output/failure")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"ExecuteUserScriptError:\nExitCode 1\n", "Traceback (most recent call last)", "KeyError: 'column'", "train.py\""} {
		if !strings.Contains(string(data), want) {
			t.Errorf("%q is not in %s", want, data)
		}
	}
	if !strings.Contains(log.String(), "KeyError") {
		t.Errorf("log %s", log.String())
	}
}

func TestKilledScript(t *testing.T) {
	t.Parallel()
	c := toolkitCase{name: "x", program: "train.py", sources: map[string]string{"train.py": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n"}}
	base, dir := c.prepare(t), pythonDir(t)
	var log bytes.Buffer
	if code := Main(context.Background(), base, c.environ(base, dir), &log, &log); code != 137 {
		t.Errorf("exit code %d", code)
	}
	data, _ := os.ReadFile(base + "/output/failure")
	if !strings.Contains(string(data), "ExitCode -9") || !strings.Contains(string(data), "OutOfMemory") {
		t.Errorf("%s", data)
	}
}

func TestMissingScriptIsNamed(t *testing.T) {
	t.Parallel()
	c := toolkitCase{name: "x", program: "trian.py", sources: map[string]string{"train.py": ""}}
	base, dir := c.prepare(t), pythonDir(t)
	var log bytes.Buffer
	if code := Main(context.Background(), base, c.environ(base, dir), &log, &log); code != 1 {
		t.Errorf("exit code %d", code)
	}
	data, _ := os.ReadFile(base + "/output/failure")
	if !strings.Contains(string(data), `"trian.py" is not among the sources; they hold: train.py`) {
		t.Errorf("%s", data)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{`1`, `"a"`, `[1,{"a":null}]`, `1e5`, `-0`, `{`, `NaN`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := parse([]byte(s))
		if err != nil {
			return
		}
		if again, err := parse([]byte(toJSON(v))); err != nil || repr(again) == "" {
			t.Errorf("%q became %q: %v", s, toJSON(v), err)
		}
		_ = toArg(v)
	})
}
