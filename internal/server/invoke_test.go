package server

import (
	"errors"
	"io"
	"path/filepath"
	"testing"

	"clary/internal/aws/apierr"
	"clary/internal/blob"
	"clary/internal/blob/folder"
	"clary/internal/dataplane/router"
	"clary/internal/identity"
	"clary/internal/store/sqlite"
)

// What is captured is written as the endpoint's role may, and no further.
func TestCapturer(t *testing.T) {
	t.Parallel()
	dir, ctx := t.TempDir(), t.Context()
	const account = "123456789012"
	db, err := sqlite.Open(filepath.Join(dir, "db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	blobs, err := folder.Open(folder.Config{Root: filepath.Join(dir, "blobs"), Index: db.Objects()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = errors.Join(blobs.Close(), db.Close()) })
	ids, err := identity.Open(identity.Config{Store: db, Dir: filepath.Join(dir, "keys"), Account: account})
	if err != nil {
		t.Fatal(err)
	}
	role, err := ids.CreateRole(ctx, account, identity.Role{
		Name: "Model", Path: "/team/", Trust: `{"Statement":{"Effect":"Allow","Principal":{"Service":"sagemaker.amazonaws.com"},"Action":"sts:AssumeRole"}}`,
		Policies: map[string]string{"p": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:PutObject","Resource":["arn:aws:s3:::mine/captured/*","arn:aws:s3:::theirs/*","arn:aws:s3:::none/*"],"Condition":{"Bool":{"aws:SecureTransport":"true"},"StringEquals":{"aws:RequestedRegion":"eu-west-1"}}}]}`},
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, owner := range map[string]string{"mine": account, "theirs": "999999999999"} {
		if err := blobs.CreateBucket(ctx, blob.Bucket{Name: name, Account: owner, Region: "eu-west-1"}); err != nil {
			t.Fatal(err)
		}
	}
	c := capturer{blobs, ids}
	for _, tt := range []struct{ bucket, key, code string }{
		{"mine", "captured/e/v/1.jsonl", ""},
		{"mine", "elsewhere/1.jsonl", "AccessDeniedException"},
		{"theirs", "captured/1.jsonl", "AccessDenied"},
		{"none", "captured/1.jsonl", "NoSuchBucket"},
	} {
		f := router.File{Account: account, Region: "eu-west-1", RoleArn: role.Arn, Bucket: tt.bucket, Key: tt.key, Body: []byte("{}\n")}
		err := c.keep(ctx, f)
		if e, ok := errors.AsType[*apierr.Error](err); tt.code == "" && err != nil || tt.code != "" && (!ok || e.Code != tt.code) {
			t.Errorf("%s/%s: %v", tt.bucket, tt.key, err)
		}
		if tt.code != "" {
			continue
		}
		_, r, err := blobs.Open(ctx, blob.Name{Bucket: tt.bucket, Key: tt.key}, blob.Whole)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(r); err != nil || string(b) != "{}\n" {
			t.Errorf("%q, %v", b, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}
