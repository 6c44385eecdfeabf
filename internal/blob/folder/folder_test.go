package folder_test

import (
	"path/filepath"
	"testing"

	"clary/internal/blob"
	"clary/internal/blob/blobtest"
	"clary/internal/blob/folder"
	"clary/internal/store/sqlite"
)

func open(t *testing.T, dir string) *folder.Store {
	t.Helper()
	db, err := sqlite.Open(filepath.Join(dir, "db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := folder.Open(folder.Config{Root: filepath.Join(dir, "blobs"), Index: db.Objects()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestConformance(t *testing.T) {
	t.Parallel()
	blobtest.Run(t, func(t *testing.T) blob.Store { return open(t, t.TempDir()) })
}
