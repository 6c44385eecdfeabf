package catalog

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"clary/internal/compute/fake"
)

func TestFindJavas(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, release := range map[string]string{
		"a-8":        "IMPLEMENTOR=\"x\"\nJAVA_VERSION=\"1.8.0_412\"\n",
		"b-17":       "JAVA_VERSION=\"17.0.15\"\nJAVA_VERSION_DATE=\"2025\"\n",
		"c-no-java":  "JAVA_VERSION=\"21.0.1\"\n",
		"d-nonsense": "JAVA_VERSION=?\n",
	} {
		if err := os.MkdirAll(filepath.Join(dir, name, "bin"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name, "release"), []byte(release), 0o644); err != nil {
			t.Fatal(err)
		}
		if name == "c-no-java" {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name, "bin/java"), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	got := javasIn(dir)
	if len(got) != 2 || got[0] != (Java{dir + "/a-8", 8}) || got[1] != (Java{dir + "/b-17", 17}) {
		t.Errorf("%+v", got)
	}
}

const sparkImage = "173754725891.dkr.ecr.us-east-1.amazonaws.com/sagemaker-spark-processing:3.5-cpu"

// Java is looked for when a job wants it: it may be installed meanwhile.
func TestSparkWantsJava(t *testing.T) {
	t.Parallel()
	s := newSite(t, fake.Script{})
	pythons := []Python{system311}
	var javas []Java
	c, err := New(Config{
		Dir: s.dir, Driver: s.world.Driver(),
		Pythons: func(context.Context) []Python { return pythons }, Javas: func() []Java { return javas },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, have := range [][]Java{nil, {{"/usr/lib/jvm/java-25", 25}}} {
		javas = have
		rt, err := c.Resolve(t.Context(), sparkImage)
		if err != nil {
			t.Fatal(err)
		}
		if st := s.ensure(c, rt); st.Ready || !strings.Contains(st.Failed, "no Java that Spark 3.5.9 runs on") || !strings.Contains(st.Failed, "17 or 11 or 8") || !strings.Contains(st.Failed, "apt-get install -y openjdk-17") {
			t.Errorf("with %v: %+v", have, st)
		}
	}
	javas = []Java{{"/usr/lib/jvm/java-8", 8}, {"/usr/lib/jvm/java-17", 17}}
	rt, err := c.Resolve(t.Context(), sparkImage)
	if err != nil || rt.ID == "" || rt.Env["JAVA_HOME"] != "/usr/lib/jvm/java-17" || rt.Title != "Spark 3.5.9, Python 3.11" {
		t.Errorf("%+v, %v", rt, err)
	}
	if rt.Train != nil || rt.ScriptMode {
		t.Errorf("it trains with %q", rt.Train)
	}
	if st := s.ensure(c, rt); st.Failed != "" {
		t.Error(st.Failed)
	}
}

func TestNoSpark(t *testing.T) {
	t.Parallel()
	for major, can := range map[int]bool{7: false, 8: true, 17: true, 21: true, 25: false} {
		if why := noSpark([]Java{{"/usr/lib/jvm/x", major}}); (why == "") != can {
			t.Errorf("Java %d: %q", major, why)
		}
	}
	if why := noSpark(nil); !strings.Contains(why, "apt-get install -y openjdk-17") {
		t.Errorf("no Java: %q", why)
	}
}
