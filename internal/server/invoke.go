package server

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"clary/internal/aws/apierr"
	"clary/internal/blob"
	"clary/internal/dataplane/router"
	"clary/internal/identity"
	"clary/internal/resource"
)

// openRouter makes the way of requests into endpoints.
func (r *rooms) openRouter() (err error) {
	r.router, err = router.New(router.Config{
		Records: r.store, Dialer: r.driver, Meter: counts{r}, Keep: captures{r, capturer{r.blobs, r.ids}}.keep,
		MaxPayload: r.cfg.InvokePayload, Timeout: r.cfg.InvokeTimeout, StreamTimeout: r.cfg.InvokeStreamTimeout, InFlight: r.cfg.InvokeInFlight,
		Log: r.log,
	})
	if err == nil {
		r.onClose(func() error {
			if r.heir.Load() != nil {
				return nil // it ends later
			}
			return r.router.Close()
		})
	}
	return err
}

// capturer writes what endpoints capture, as their roles may.
type capturer struct {
	blobs blob.Store
	auth  identity.Authorizer
}

func (c capturer) keep(ctx context.Context, f router.File) error {
	p := resource.Principal{
		Account: f.Account, RoleArn: f.RoleArn,
		Arn: "arn:aws:sts::" + f.Account + ":assumed-role/" + f.RoleArn[strings.LastIndexByte(f.RoleArn, '/')+1:] + "/SageMaker",
	}
	object := "arn:aws:s3:::" + f.Bucket + "/" + f.Key
	ctx = identity.WithRequest(ctx, &identity.Request{Secure: true, Region: f.Region, Time: time.Now(), Resource: object})
	if err := c.auth.Allow(ctx, p, "s3:PutObject", object); err != nil {
		return err
	}
	b, err := c.blobs.Bucket(ctx, f.Bucket)
	if errors.Is(err, blob.ErrNoSuchBucket) {
		return apierr.New(http.StatusNotFound, "NoSuchBucket", "The bucket %s does not exist.", f.Bucket)
	}
	if err != nil {
		return err
	}
	if b.Account != f.Account {
		return apierr.New(http.StatusForbidden, "AccessDenied", "The bucket %s belongs to another account.", f.Bucket)
	}
	_, err = c.blobs.Put(ctx, blob.Put{
		Bucket: f.Bucket, Key: f.Key, Body: bytes.NewReader(f.Body), Size: int64(len(f.Body)), Want: []string{algorithm},
		Meta: blob.Meta{ContentType: "application/json", ChecksumType: "FULL_OBJECT"},
	})
	return err
}
