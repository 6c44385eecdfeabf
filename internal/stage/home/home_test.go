package home

import (
	"os"
	"path/filepath"
	"testing"
)

func TestWhatIsThereStays(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	name := filepath.Join(root, "home/u/.config/sagemaker/config.yaml")
	if err := Write(name, "mine"); err != nil {
		t.Fatal(err)
	}
	if err := Prepare(root, "/home/u", true); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(name); err != nil || string(data) != "mine" {
		t.Errorf("%q, %v", data, err)
	}
	if err := Write(filepath.Join(name, "x"), ""); err == nil {
		t.Error("a file below a file was written")
	}
}
