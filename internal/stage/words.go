package stage

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
		text += " " + why
	}
	return userError("%s%s", text, t.meant(ctx, bucket, prefix))
}

// meant is a question for what the user may have meant, or "".
func (t *training) meant(ctx context.Context, bucket, prefix string) string {
	if near := t.nearest(ctx, bucket, prefix); near != "" && near != "s3://"+bucket+"/"+prefix {
		return fmt.Sprintf(" Did you mean %q?", near)
	}
	return ""
}

// nearest looks for what is named much like bucket and prefix: level by level,
// where it does not find a name it goes on below the one most like it. It sees
// only what the role may list.
func (t *training) nearest(ctx context.Context, bucket, prefix string) string {
	first, err := t.h.API.Near(ctx, bucket, "", 1)
	if client.Code(err) == "NoSuchBucket" {
		all, err := t.h.API.Buckets(ctx)
		if err != nil {
			return "" // advice only
		}
		if bucket = alike(bucket, all); bucket == "" {
			return ""
		}
	} else if err != nil || len(first) == 0 {
		return ""
	}
	at := ""
	parts := strings.SplitAfter(prefix, "/")
	for i, part := range parts {
		if part == "" {
			continue
		}
		names, err := t.h.API.Near(ctx, bucket, at, 1000)
		if err != nil || len(names) == 0 {
			return "" // below what was found, nothing is like it
		}
		for j := range names {
			names[j] = strings.TrimPrefix(names[j], at)
		}
		switch {
		case slices.Contains(names, part):
			at += part
		case !strings.HasSuffix(part, "/") && slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, part) }):
			at += part // a prefix need not be a whole name
		default:
			if i < len(parts)-1 && parts[i+1] != "" {
				names = slices.DeleteFunc(names, func(n string) bool { return !strings.HasSuffix(n, "/") })
			}
			next := alike(part, names)
			if next == "" {
				return ""
			}
			at += next
		}
	}
	return "s3://" + bucket + "/" + at
}

// alike is the name most like wanted, or "" if none is much like it.
func alike(wanted string, names []string) string {
	want := strings.ToLower(strings.TrimSuffix(wanted, "/"))
	best, bestD := "", max(2, len(want)/3)+1
	for _, n := range names {
		base := strings.ToLower(strings.TrimSuffix(n, "/"))
		d := distance(want, base)
		if want != "" && (strings.HasPrefix(base, want) || strings.HasPrefix(want, base)) {
			d = min(d, 1)
		}
		if d < bestD {
			best, bestD = n, d
		}
	}
	return best
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
		return t.nothingFound(ctx, ch, bucket, prefix, "Error message from S3: "+said(err))
	}
	//nolint:staticcheck // the text is shown to people as it is
	return fmt.Errorf("Data download failed: channel %q: %w", ch.Name, err)
}

func (t *training) getError(ctx context.Context, ch plan.Channel, it item, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case client.Code(err) == "NoSuchBucket":
		return userError("Data download failed: channel %q: the bucket %q does not exist", ch.Name, it.bucket)
	case client.IsNotFound(err):
		return userError("Data download failed: channel %q: the object s3://%s/%s does not exist.%s", ch.Name, it.bucket, it.key, t.meant(ctx, it.bucket, it.key))
	case client.IsDenied(err):
		return userError("Data download failed:AccessDenied (403): Access Denied. The role %q may not read s3://%s/%s: it needs \"s3:GetObject\" on \"arn:aws:s3:::%s/%s\". Error message from S3: %s",
			t.p.RoleArn, it.bucket, it.key, it.bucket, it.key, said(err))
	}
	//nolint:staticcheck // the text is shown to people as it is
	return fmt.Errorf("Data download failed: channel %q: s3://%s/%s: %w", ch.Name, it.bucket, it.key, err)
}

// said is what S3 said in the error.
func said(err error) string {
	if e, ok := errors.AsType[*client.Error](err); ok && e.Message != "" {
		return e.Message
	}
	return err.Error()
}

func (t *training) putError(ctx context.Context, what, bucket, key string, err error) error {
	switch {
	case err == nil:
		return nil
	case client.Code(err) == "NoSuchBucket":
		return userError("Artifact upload failed: %s: the bucket %q does not exist.%s", what, bucket, t.meant(ctx, bucket, ""))
	case client.Code(err) == "InsufficientStorage":
		//nolint:staticcheck // the text is shown to people as it is
		return fmt.Errorf("Artifact upload failed: %s: the server's disk is too full to keep s3://%s/%s. Make room on it and train again", what, bucket, key)
	case client.IsDenied(err):
		return userError("Artifact upload failed:AccessDenied (403): Access Denied. The role %q may not write %s to s3://%s/%s: it needs \"s3:PutObject\" on \"arn:aws:s3:::%s/%s\". Error message from S3: %s",
			t.p.RoleArn, what, bucket, key, bucket, key, said(err))
	}
	//nolint:staticcheck // the text is shown to people as it is
	return fmt.Errorf("Artifact upload failed: %s: s3://%s/%s: %w", what, bucket, key, err)
}
