package server

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"clary/internal/blob"
	"clary/internal/stage/agent"
)

// keeper keeps what is rescued of notebook instances in the bucket that the
// SageMaker SDK makes for an account, as the account itself.
type keeper struct{ blobs blob.Store }

// Bucket is the SDK's default one.
func (keeper) Bucket(account, region string) string { return "sagemaker-" + region + "-" + account }

const algorithm = "SHA256"

// Has implements notebook.Keeper.
func (k keeper) Has(ctx context.Context, account, region, key string, f agent.File) (bool, error) {
	o, err := k.blobs.Head(ctx, blob.Name{Bucket: k.Bucket(account, region), Key: key})
	if errors.Is(err, blob.ErrNoSuchBucket) || errors.Is(err, blob.ErrNoSuchKey) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	sum, err := sumOf(f)
	return err == nil && o.Size == f.Bytes && o.Meta.Checksums[algorithm] == sum, err
}

// Keep implements notebook.Keeper.
func (k keeper) Keep(ctx context.Context, account, region, key string, f agent.File, body io.Reader) error {
	sum, err := sumOf(f)
	if err != nil {
		return err
	}
	b := blob.Bucket{Name: k.Bucket(account, region), Account: account, Region: region, Created: time.Now().UTC().Truncate(time.Millisecond)}
	if err := k.blobs.CreateBucket(ctx, b); err != nil {
		if !errors.Is(err, blob.ErrBucketExists) {
			return err
		}
		old, err := k.blobs.Bucket(ctx, b.Name)
		if err != nil {
			return err
		}
		if old.Account != account {
			return fmt.Errorf("the bucket %s belongs to another account", b.Name)
		}
	}
	_, err = k.blobs.Put(ctx, blob.Put{
		Bucket: b.Name, Key: key, Body: body, Size: f.Bytes, Want: []string{algorithm},
		Meta: blob.Meta{ContentType: "application/octet-stream", ChecksumType: "FULL_OBJECT"},
		Verify: func(s blob.Sums) error {
			if s.Checksums[algorithm] != sum {
				return fmt.Errorf("%s is not what the task says: %w", f.Name, blob.ErrBadSum)
			}
			return nil
		},
	})
	return err
}

// sumOf is a file's SHA-256 as S3 writes it.
func sumOf(f agent.File) (string, error) {
	raw, err := hex.DecodeString(f.SHA256)
	if err != nil || len(raw) != 32 {
		return "", fmt.Errorf("%s has no SHA-256: %q", f.Name, f.SHA256)
	}
	return base64.StdEncoding.EncodeToString(raw), nil
}
