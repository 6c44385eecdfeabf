package build

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// wheelOf is a wheel of uv whose program is a shell script.
func wheelOf(t *testing.T, script string) []byte {
	t.Helper()
	var b bytes.Buffer
	zw := zip.NewWriter(&b)
	for name, data := range map[string]string{
		"uv-1.0.data/scripts/uv": script, "uv-1.0.dist-info/WHEEL": "Tag: py3-none-manylinux_2_17_" + machine() + "\n",
	} {
		w, err := zw.Create(name)
		if err == nil {
			_, err = w.Write([]byte(data))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// site is a build's folders and an index.
type site struct {
	dir, env, cache string
	index           *httptest.Server
	wheel           []byte
	page            string // the index's page; made when empty
	gets            int
}

func newSite(t *testing.T, script string) *site {
	t.Helper()
	root := t.TempDir()
	s := &site{dir: root + "/dir", env: root + "/env", cache: root + "/cache", wheel: wheelOf(t, script)}
	for _, d := range []string{s.dir, s.env, s.cache} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s.write(t, UVFile, "uv==1.0 \\\n    --hash=sha256:"+sum(s.wheel)+"\n")
	s.write(t, LockFile, "six==1.17.0 \\\n    --hash=sha256:"+strings.Repeat("0", 64)+"\n")
	mux := http.NewServeMux()
	mux.HandleFunc("/simple/uv/", func(w http.ResponseWriter, _ *http.Request) {
		if s.page == "" {
			_, _ = fmt.Fprintf(w, `<a href="../../files/uv-1.0-py3-none-manylinux_2_17_%s.whl#sha256=%s">uv</a>`, machine(), sum(s.wheel))
			return
		}
		_, _ = fmt.Fprint(w, s.page)
	})
	mux.HandleFunc("/files/", func(w http.ResponseWriter, _ *http.Request) {
		s.gets++
		_, _ = w.Write(s.wheel)
	})
	s.index = httptest.NewServer(mux)
	t.Cleanup(s.index.Close)
	return s
}

func (s *site) write(t *testing.T, name, data string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (s *site) run(t *testing.T) (int, string) {
	t.Helper()
	var out bytes.Buffer
	code := Main(t.Context(), []string{"-python", "/usr/bin/python3", "-dir", s.dir, "-env", s.env, "-cache", s.cache},
		[]string{"PATH=/usr/bin:/bin", "PIP_INDEX_URL=" + s.index.URL + "/simple/", "SECRET=x"}, &out)
	return code, out.String()
}

// The program in the wheel notes how it was called.
const noting = "#!/bin/sh\necho \"$@\" >> %s\nenv | grep SECRET\nexit 0\n"

// What the operator's index has comes from there, with the lock as a bound.
func TestWheels(t *testing.T) {
	t.Parallel()
	calls := filepath.Join(t.TempDir(), "calls")
	s := newSite(t, fmt.Sprintf(noting, calls))
	s.write(t, WheelFile, "https://user:secret@wheels.example.org/cpu\ntorch==2.0\ntorchvision==1.0\n")
	code, log := s.run(t)
	if code != 0 || strings.Contains(log, "secret") || !strings.Contains(log, "installing torch==2.0, torchvision==1.0 from wheels.example.org") {
		t.Fatalf("%d: %s", code, log)
	}
	data, err := os.ReadFile(calls)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	last := lines[len(lines)-1]
	for _, want := range []string{"pip install", "--constraint " + filepath.Join(s.dir, LockFile), "--index https://user:secret@wheels.example.org/cpu", "--default-index " + s.index.URL + "/simple", "--only-binary :all:", "torch==2.0 torchvision==1.0"} {
		if !strings.Contains(last, want) {
			t.Errorf("%q is not in %s", want, last)
		}
	}
}

func TestBuildCallsUV(t *testing.T) {
	t.Parallel()
	calls := filepath.Join(t.TempDir(), "calls")
	s := newSite(t, fmt.Sprintf(noting, calls))
	site := filepath.Join(s.env, "lib/python3.11/site-packages/botocore/data")
	if err := os.MkdirAll(site, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(site+"/endpoints.json", []byte(`{"partitions":[{"partition":"aws","services":{"sts":{"endpoints":{"us-east-1":{"variants":[1]},"aws-global":{"hostname":"sts.amazonaws.com"}}},"s3":{"endpoints":{"us-east-1":{"hostname":"s3"}}}}}]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	code, log := s.run(t)
	if code != 0 || strings.Contains(log, "SECRET") {
		t.Fatalf("%d: %s", code, log)
	}
	data, err := os.ReadFile(calls)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"--no-config", "venv", "--python /usr/bin/python3", "pip sync", "--require-hashes", "--only-binary :all:", "--compile-bytecode", "--default-index " + s.index.URL + "/simple"} {
		if !strings.Contains(string(data), want) {
			t.Errorf("%q is not among %s", want, data)
		}
	}
	data, err = os.ReadFile(s.env + "/share/clary/endpoints.json")
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Partitions []struct {
			Services map[string]struct {
				Endpoints map[string]map[string]any
			}
		}
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	services := doc.Partitions[0].Services
	if e := services["sts"].Endpoints["us-east-1"]; e["hostname"] != TLSAddr || e["variants"] != nil {
		t.Errorf("sts: %v", e)
	}
	if e := services["s3"].Endpoints["us-east-1"]; e["hostname"] != "s3" {
		t.Errorf("s3: %v", e)
	}
	// the next build fetches nothing
	if code, log := s.run(t); code != 0 || s.gets != 1 {
		t.Errorf("%d fetches, %d: %s", s.gets, code, log)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		prep func(*site)
		want string
	}{
		{"wheel was changed", func(s *site) { s.wheel = append(s.wheel, 0) }, "not the locked"},
		{"index lies about the hash", func(s *site) {
			s.page = fmt.Sprintf(`<a href="../../files/uv-1.0-py3-none-manylinux_2_17_%s.whl#sha256=%s">uv</a>`, machine(), strings.Repeat("0", 64))
		}, "no wheel of uv with a locked hash"},
		{"another machine's", func(s *site) {
			s.page = fmt.Sprintf(`<a href="../../files/uv-1.0-py3-none-manylinux_2_17_s390x.whl#sha256=%s">uv</a>`, sum(s.wheel))
		}, "no wheel of uv with a locked hash"},
		{"empty page", func(s *site) { s.page = " " }, "no wheel of uv"},
		{"broken JSON", func(s *site) { s.page = `{"files":` }, "the index's page of uv"},
		{"index away", func(s *site) { s.index.Close() }, "cannot be reached"},
		{"poisoned cache", func(s *site) {
			_ = os.MkdirAll(s.cache+"/wheels", 0o755)
			_ = os.WriteFile(s.cache+"/wheels/"+sum(s.wheel)+".whl", []byte("bad"), 0o644)
			s.index.Close()
		}, "cannot be reached"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "#!/bin/sh\nexit 0\n")
			hash := sum(s.wheel)
			tt.prep(s)
			if tt.name == "wheel was changed" {
				s.page = fmt.Sprintf(`<a href="../../files/uv-1.0-py3-none-manylinux_2_17_%s.whl#sha256=%s">uv</a>`, machine(), hash)
			}
			if code, log := s.run(t); code != 1 || !strings.Contains(log, tt.want) {
				t.Errorf("%d: %s", code, log)
			}
		})
	}
}

func TestFailureOfUVIsTold(t *testing.T) {
	t.Parallel()
	s := newSite(t, "#!/bin/sh\necho 'error: no such thing' >&2\nexit 2\n")
	code, log := s.run(t)
	if code != 1 || !strings.Contains(log, "error: no such thing") || !strings.Contains(log, "cannot make an environment") {
		t.Errorf("%d: %s", code, log)
	}
}

func TestParseIndex(t *testing.T) {
	t.Parallel()
	page := "https://me:secret@mirror.example/simple/uv/"
	for _, data := range []string{
		`{"files":[{"filename":"uv-1.whl","url":"https://mirror.example/f/uv-1.whl","hashes":{"sha256":"aa"}}]}`,
		`{"files":[{"filename":"uv-1.whl","url":"/f/uv-1.whl","hashes":{"sha256":"aa"}}]}`,
	} {
		files, err := parseIndex(page, []byte(data))
		if err != nil || len(files) != 1 || files[0].url != "https://me:secret@mirror.example/f/uv-1.whl" {
			t.Errorf("%+v, %v", files, err)
		}
	}
	files, err := parseIndex(page, []byte(`{"files":[{"filename":"uv-1.whl","url":"https://elsewhere.example/uv-1.whl","hashes":{"sha256":"aa"}}]}`))
	if err != nil || len(files) != 1 || strings.Contains(files[0].url, "secret") {
		t.Errorf("%+v, %v", files, err)
	}
	if got := hostOf(page); got != "mirror.example" {
		t.Errorf("hostOf = %q", got)
	}
}

func FuzzParseIndex(f *testing.F) {
	f.Add(`{"files":[{"filename":"x","url":"y"}]}`)
	f.Add(`<a href="../x.whl#sha256=` + strings.Repeat("a", 64) + `">`)
	f.Fuzz(func(_ *testing.T, data string) {
		files, err := parseIndex("https://host/simple/uv/", []byte(data))
		if err == nil {
			for _, f := range files {
				_ = forThisMachine(f.name)
			}
		}
	})
}
