package stage

import (
	"context"
	"fmt"
	"path"
	"strings"

	"clary/internal/client"
	"clary/internal/stage/plan"
)

// nothingFound says in AWS's words that a channel has no objects, and names
// what the user may have meant.
func (t *training) nothingFound(ctx context.Context, ch plan.Channel, bucket, prefix, why string) error {
	text := fmt.Sprintf("No S3 objects found under S3 URL %q given in input data source. Please ensure that the bucket exists in the selected region (%s), "+
		"that objects exist under that S3 prefix, and that the role %q has \"s3:ListBucket\" permissions on bucket %q.",
		ch.S3Uri, t.p.Region, t.p.RoleArn, bucket)
	if why != "" {
		return userError("%s %s", text, why)
	}
	if near := t.nearest(ctx, bucket, prefix); near != "" {
		text += fmt.Sprintf(" Did you mean %q?", near)
	}
	return userError("%s", text)
}

// nearest looks for a key or folder whose name is much like the last part of
// prefix.
func (t *training) nearest(ctx context.Context, bucket, prefix string) string {
	wanted := strings.TrimSuffix(prefix, "/")
	folder := wanted[:strings.LastIndexByte(wanted, '/')+1]
	names, err := t.h.API.Near(ctx, bucket, folder, 1000)
	if err != nil {
		return "" // advice only
	}
	want := path.Base(wanted)
	best, bestD := "", max(2, len(want)/3)+1
	for _, n := range names {
		base := path.Base(n)
		d := distance(strings.ToLower(want), strings.ToLower(base))
		if strings.HasPrefix(base, want) || strings.HasPrefix(want, base) {
			d = min(d, 1)
		}
		if d < bestD {
			best, bestD = n, d
		}
	}
	if best == "" {
		return ""
	}
	return "s3://" + bucket + "/" + best
}

// distance is Levenshtein's, on bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		prev := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			prev, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, prev+cost)
		}
	}
	return row[len(b)]
}

func (t *training) listError(ctx context.Context, ch plan.Channel, bucket, prefix string, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case client.Code(err) == "NoSuchBucket":
		return t.nothingFound(ctx, ch, bucket, prefix, fmt.Sprintf("The bucket %q does not exist.", bucket))
	case client.IsDenied(err):
		return userError("Data download failed: access denied. The role %q may not list the objects of channel %q: it needs \"s3:ListBucket\" on \"arn:aws:s3:::%s\". S3 said: %v", t.p.RoleArn, ch.Name, bucket, err)
	}
	//lint:ignore ST1005 the text is shown to people as it is
	return fmt.Errorf("Data download failed: channel %q: %w", ch.Name, err)
}

func (t *training) getError(ctx context.Context, ch plan.Channel, it item, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case client.Code(err) == "NoSuchBucket":
		return userError("Data download failed: channel %q: the bucket %q does not exist", ch.Name, it.bucket)
	case client.IsNotFound(err):
		text := fmt.Sprintf("Data download failed: channel %q: the object s3://%s/%s does not exist", ch.Name, it.bucket, it.key)
		if near := t.nearest(ctx, it.bucket, it.key); near != "" && near != "s3://"+it.bucket+"/"+it.key {
			text += fmt.Sprintf(". Did you mean %q?", near)
		}
		return userError("%s", text)
	case client.IsDenied(err):
		return userError("Data download failed: access denied. The role %q may not read s3://%s/%s: it needs \"s3:GetObject\" on \"arn:aws:s3:::%s/%s\". S3 said: %v",
			t.p.RoleArn, it.bucket, it.key, it.bucket, it.key, err)
	}
	//lint:ignore ST1005 the text is shown to people as it is
	return fmt.Errorf("Data download failed: channel %q: s3://%s/%s: %w", ch.Name, it.bucket, it.key, err)
}

func (t *training) putError(what, bucket, key string, err error) error {
	switch {
	case err == nil:
		return nil
	case client.Code(err) == "NoSuchBucket":
		return userError("Artifact upload failed: %s: the bucket %q does not exist", what, bucket)
	case client.IsDenied(err):
		return userError("Artifact upload failed: access denied. The role %q may not write %s to s3://%s/%s: it needs \"s3:PutObject\" on \"arn:aws:s3:::%s/%s\". S3 said: %v",
			t.p.RoleArn, what, bucket, key, bucket, key, err)
	}
	//lint:ignore ST1005 the text is shown to people as it is
	return fmt.Errorf("Artifact upload failed: %s: s3://%s/%s: %w", what, bucket, key, err)
}
