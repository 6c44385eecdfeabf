package stage

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"clary/internal/stage/plan"
)

func packed(t *testing.T, headers ...tar.Header) string {
	t.Helper()
	var b bytes.Buffer
	gz := gzip.NewWriter(&b)
	tw := tar.NewWriter(gz)
	for _, h := range headers {
		if h.Typeflag == 0 {
			h.Typeflag, h.Size = tar.TypeReg, int64(len(h.Name))
		}
		if err := tw.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := tw.Write([]byte(h.Name)); err != nil {
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
	return b.String()
}

func (b *bench) serve(models ...plan.Model) plan.Result {
	b.t.Helper()
	return Run(b.t.Context(), plan.Plan{Serving: &plan.Serving{Region: "eu-west-1", RoleArn: "arn:aws:iam::123456789012:role/r", VCPU: 3, Models: models}}, b.host)
}

// openAgain lets a folder be deleted whose files may not be written.
func openAgain(dir string) {
	_ = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_ = os.Chmod(p, 0o700)
		}
		return nil
	})
}

const model = "/opt/ml/model"

func TestServing(t *testing.T) {
	t.Parallel()
	b := newBench(t, `cd $ML; find . -type f | sort; find model additional-model-data-sources/* -perm /222 ! -type l; stat -c '%a %n' model/bin/run model/m.bin; cat model/link; echo $SAGEMAKER_REGION $AWS_REGION $SM_NUM_CPUS $HOME; exec sleep 600`)
	b.s3.Set("bucket", "m/model.tar.gz", packed(t, tar.Header{Name: "m.bin", Mode: 0o600}, tar.Header{Name: "code/inference.py"}, tar.Header{Name: "../../out"},
		tar.Header{Name: "bin/run", Mode: 0o777}, tar.Header{Name: "link", Typeflag: tar.TypeSymlink, Linkname: "m.bin"}, tar.Header{Name: "away", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}))
	b.s3.Set("bucket", "more/a/x", "1")
	b.s3.Set("bucket", "more/b", "2")
	b.s3.Set("bucket", "one.bin", "3")
	t.Cleanup(func() { openAgain(b.host.Root) })
	done := make(chan plan.Result, 1)
	go func() {
		done <- b.serve(
			plan.Model{Name: "ModelDataUrl", S3Uri: "s3://bucket/m/model.tar.gz", Archive: true, LocalPath: model},
			plan.Model{Name: "extra", S3Uri: "s3://bucket/more/", Prefix: true, LocalPath: "/opt/ml/additional-model-data-sources/extra"},
			plan.Model{Name: "single", S3Uri: "s3://bucket/one.bin", LocalPath: "/opt/ml/additional-model-data-sources/single"},
		)
	}()
	b.waitFor("eu-west-1 eu-west-1 3 /root\n")
	close(b.stop)
	if res := <-done; res.Failure != "" || res.Signal != "terminated" {
		t.Errorf("%+v", res)
	}
	want := `./additional-model-data-sources/extra/a/x
./additional-model-data-sources/extra/b
./additional-model-data-sources/single/one.bin
./model/bin/run
./model/code/inference.py
./model/m.bin
./model/out
555 model/bin/run
444 model/m.bin
m.bin`
	log := b.log.String()
	if !strings.Contains(log, want) {
		t.Errorf("%s\nwant %s", log, want)
	}
	if !strings.Contains(log, `"away" in the files of s3://bucket/m/model.tar.gz is left out`) {
		t.Errorf("nothing is said of what is left out: %s", log)
	}
	if _, err := os.Lstat(b.host.path("/opt/out")); err == nil {
		t.Error("a file was written outside")
	}
	if got := strings.Join(b.steps, " "); got != "Downloading Training" {
		t.Errorf("steps %s", got)
	}
}

func TestServingFails(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		script string
		model  plan.Model
		class  string
		want   []string
	}{
		"no object":  {"exit 1", plan.Model{S3Uri: "s3://bucket/m/modle.tar.gz", Archive: true}, classClient, []string{`Failed to download model data from URL: "s3://bucket/m/modle.tar.gz"`, `Did you mean "s3://bucket/m/model.tar.gz"?`}},
		"no bucket":  {"exit 1", plan.Model{S3Uri: "s3://buckte/m/model.tar.gz", Archive: true}, classClient, []string{`the bucket "buckte" does not exist`}},
		"nothing":    {"exit 1", plan.Model{S3Uri: "s3://bucket/n/", Prefix: true}, classClient, []string{"No S3 objects found"}},
		"no archive": {"exit 1", plan.Model{S3Uri: "s3://bucket/m/text", Archive: true}, classClient, []string{"are not a tar.gz"}},
		"crash":      {"echo 'Traceback (most recent call last):\n  File \"x\", line 1\nKeyError: 1'; exit 3", plan.Model{S3Uri: "s3://bucket/m/model.tar.gz", Archive: true}, classAlgorithm, []string{"KeyError: 1"}},
		"end":        {"exit 0", plan.Model{S3Uri: "s3://bucket/m/model.tar.gz", Archive: true}, classAlgorithm, []string{"ended by itself"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, tt.script)
			b.s3.Set("bucket", "m/model.tar.gz", packed(t, tar.Header{Name: "m.bin"}))
			b.s3.Set("bucket", "m/text", "text")
			t.Cleanup(func() { openAgain(b.host.Root) })
			tt.model.Name, tt.model.LocalPath = "ModelDataUrl", model
			res := b.serve(tt.model)
			for _, want := range tt.want {
				if res.Class != tt.class || !strings.Contains(res.Failure, want) {
					t.Errorf("%+v, want %s", res, want)
				}
			}
		})
	}
}
