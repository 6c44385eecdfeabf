package build

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// archiveOf is a tar.gz of files by name.
func archiveOf(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	tw := tar.NewWriter(zw)
	for name, data := range files {
		if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(data)), Mode: 0o600}); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write([]byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var pyspark = map[string]string{ //nolint:gochecknoglobals // a constant table
	"pyspark-9.9/PKG-INFO":                 "Name: pyspark\n",
	"pyspark-9.9/setup.py":                 "raise SystemExit('this is run by nobody')",
	"pyspark-9.9/pyspark/__init__.py":      "",
	"pyspark-9.9/pyspark/sql/session.py":   "x = 1",
	"pyspark-9.9/deps/jars/spark-core.jar": "PK",
	"pyspark-9.9/deps/bin/spark-submit":    "#!/bin/sh\n",
	"pyspark-9.9/deps/examples/pi.py":      "",
	"pyspark-9.9/deps/sbin/start-all.sh":   "",
}

func TestUnpackSpark(t *testing.T) {
	t.Parallel()
	site := t.TempDir()
	if err := unpackSpark(bytes.NewReader(archiveOf(t, pyspark)), site); err != nil {
		t.Fatal(err)
	}
	got := map[string]os.FileMode{}
	err := filepath.WalkDir(site, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		got[strings.TrimPrefix(p, site+"/")] = info.Mode()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{
		"pyspark/__init__.py": 0o644, "pyspark/sql/session.py": 0o644, "pyspark/jars/spark-core.jar": 0o644, "pyspark/bin/spark-submit": 0o755,
		"pyspark-9.9.dist-info/METADATA": 0o644,
	} {
		if got[name]&^0o022 != mode&^0o022 || got[name] == 0 {
			t.Errorf("%s has mode %v", name, got[name])
		}
		delete(got, name)
	}
	if len(got) != 0 {
		t.Errorf("unpacked too: %v", got)
	}
}

func TestUnpackSparkStaysInside(t *testing.T) {
	t.Parallel()
	for name, files := range map[string]map[string]string{
		"out of it":  {"pyspark-9.9/pyspark/../../../out": "x", "pyspark-9.9/deps/jars/a.jar": "PK"},
		"jars above": {"pyspark-9.9/deps/jars/../../../../out": "x"},
		"no Spark":   {"pyspark-9.9/pyspark/__init__.py": ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			site := filepath.Join(dir, "a/site")
			if err := os.MkdirAll(site, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := unpackSpark(bytes.NewReader(archiveOf(t, files)), site); err == nil {
				t.Error("it was taken")
			}
			for _, out := range []string{"out", "a/out"} {
				if _, err := os.Stat(filepath.Join(dir, out)); err == nil {
					t.Errorf("%s was written", out)
				}
			}
		})
	}
}

func TestSparkIsLocked(t *testing.T) {
	t.Parallel()
	data := archiveOf(t, pyspark)
	for _, tt := range []struct {
		name, locked string
		sent         []byte
		want         string // "" is success
	}{
		{"as locked", sum(data), data, ""},
		{"changed on the way", sum(data), append(bytes.Clone(data), 0), "EOF"},
		{"another hash", strings.Repeat("0", 64), data, "no archive of PySpark with the locked hash"},
		{"cut off", sum(data), data[:len(data)/2], "EOF"},
		{"another archive", sum(data), archiveOf(t, map[string]string{"pyspark-9.9/deps/jars/evil.jar": "PK"}), "not the locked"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			mux := http.NewServeMux()
			mux.HandleFunc("/simple/pyspark/", func(w http.ResponseWriter, _ *http.Request) {
				_, _ = fmt.Fprintf(w, `<a href="../../pyspark-9.9.tar.gz#sha256=%s">pyspark</a>`, sum(data))
			})
			mux.HandleFunc("/pyspark-9.9.tar.gz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(tt.sent) })
			index := httptest.NewServer(mux)
			t.Cleanup(index.Close)
			dir, env := t.TempDir(), t.TempDir()
			for _, d := range []string{"bin", "lib/python3.11/site-packages"} {
				if err := os.MkdirAll(filepath.Join(env, d), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(filepath.Join(env, "bin/python"), []byte("#!/bin/sh\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, SparkFile), []byte("pyspark==9.9 --hash=sha256:"+tt.locked+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			err := (&builder{dir: dir, env: env, index: index.URL + "/simple", out: &out}).spark(t.Context())
			link, _ := os.Readlink(filepath.Join(env, "bin", SparkSubmit))
			switch {
			case tt.want == "" && (err != nil || link != Task):
				t.Errorf("%v, %q", err, link)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || link != ""):
				t.Errorf("%v, %q", err, link)
			}
		})
	}
}
