package server

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"clary/internal/blob"
	"clary/internal/blob/folder"
	"clary/internal/stage/agent"
	"clary/internal/store/sqlite"
)

func TestKeeper(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	db, err := sqlite.Open(filepath.Join(dir, "db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	blobs, err := folder.Open(folder.Config{Root: filepath.Join(dir, "blobs"), Index: db.Objects()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = errors.Join(blobs.Close(), db.Close()) })
	k := keeper{blobs}
	const account, region, key, text = "123456789012", "eu-west-1", "clary-rescue/nb/x/a.bundle", "what was there"
	ctx := t.Context()
	file := func(text string) agent.File {
		return agent.File{Name: "a.bundle", Bytes: int64(len(text)), SHA256: fmt.Sprintf("%x", sha256.Sum256([]byte(text)))}
	}
	has := func(text string) bool {
		ok, err := k.Has(ctx, account, region, key, file(text))
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if has(text) {
		t.Error("it is there before there is a bucket")
	}
	for _, body := range []string{"what was th", "what was there!", "what was Here."} {
		if err := k.Keep(ctx, account, region, key, file(text), strings.NewReader(body)); err == nil {
			t.Errorf("%q is kept as something else", body)
		}
		if has(text) || has(body) {
			t.Errorf("%q left a trace", body)
		}
	}
	for range 2 {
		if err := k.Keep(ctx, account, region, key, file(text), strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
	}
	if !has(text) || has(text[1:]+"!") {
		t.Error("what is kept is not known again")
	}
	_, r, err := blobs.Open(ctx, blob.Name{Bucket: "sagemaker-eu-west-1-123456789012", Key: key}, blob.Whole)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r); err != nil || string(b) != text {
		t.Errorf("%q, %v", b, err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if b, err := blobs.Bucket(ctx, "sagemaker-eu-west-1-123456789012"); err != nil || b.Account != account || b.Region != region {
		t.Errorf("bucket %+v, %v", b, err)
	}
	if err := blobs.CreateBucket(ctx, blob.Bucket{Name: "sagemaker-us-east-1-" + account, Account: "999999999999", Region: "us-east-1"}); err != nil {
		t.Fatal(err)
	}
	if err := k.Keep(ctx, account, "us-east-1", key, file(text), strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), "another account") {
		t.Errorf("another's bucket: %v", err)
	}
}
