package sqlite

import (
	"os"
	"path/filepath"
	"testing"

	"clary/internal/store"
	"clary/internal/store/storetest"
)

func openIn(dir string) (store.Store, error) {
	return Open(filepath.Join(dir, "clary.db"), Options{})
}

func TestMain(m *testing.M) {
	storetest.Child(openIn)
	onFullDisk()
	os.Exit(m.Run())
}

func TestStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, openIn)
}
