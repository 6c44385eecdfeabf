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

// nothingFound says in AWS's words that an input has no objects, and names
// what the user may have meant.
func (j *job) nothingFound(ctx context.Context, ch plan.Channel, bucket, prefix, why string) error {
	text := fmt.Sprintf("No S3 objects found under S3 URL %q given in input data source. Please ensure that the bucket exists in the selected region (%s), "+
		"that objects exist under that S3 prefix, and that the role %q has \"s3:ListBucket\" permissions on bucket %q.",
		ch.S3Uri, j.region, j.role, bucket)
	if why != "" {
		text += " " + why
	}
	return userError("%s%s", text, j.meant(ctx, bucket, prefix))
}

// named is how a text calls an input.
func (j *job) named(ch plan.Channel) string { return fmt.Sprintf("%s %q", j.input, ch.Name) }

// meant is a question for what the user may have meant, or "".
func (j *job) meant(ctx context.Context, bucket, prefix string) string {
	if near := j.nearest(ctx, bucket, prefix); near != "" && near != "s3://"+bucket+"/"+prefix {
		return fmt.Sprintf(" Did you mean %q?", near)
	}
	return ""
}

// nearest looks for what is named much like bucket and prefix: level by level,
// where it does not find a name it goes on below the one most like it. It sees
// only what the role may list.
func (j *job) nearest(ctx context.Context, bucket, prefix string) string {
	first, err := j.h.API.Near(ctx, bucket, "", 1)
	if client.Code(err) == "NoSuchBucket" {
		all, err := j.h.API.Buckets(ctx)
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
		names, err := j.h.API.Near(ctx, bucket, at, 1000)
		if err != nil || len(names) == 0 {
			return "" // below what was found, nothing is like it
		}
		for n := range names {
			names[n] = strings.TrimPrefix(names[n], at)
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

func (j *job) listError(ctx context.Context, ch plan.Channel, bucket, prefix string, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case client.Code(err) == "NoSuchBucket":
		return j.nothingFound(ctx, ch, bucket, prefix, fmt.Sprintf("The bucket %q does not exist.", bucket))
	case client.IsDenied(err):
		return j.nothingFound(ctx, ch, bucket, prefix, "Error message from S3: "+said(err))
	}
	//nolint:staticcheck // the text is shown to people as it is
	return fmt.Errorf("Data download failed: %s: %w", j.named(ch), err)
}

func (j *job) getError(ctx context.Context, ch plan.Channel, it item, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case client.Code(err) == "NoSuchBucket":
		return userError("Data download failed: %s: the bucket %q does not exist", j.named(ch), it.bucket)
	case client.IsNotFound(err):
		return userError("Data download failed: %s: the object s3://%s/%s does not exist.%s", j.named(ch), it.bucket, it.key, j.meant(ctx, it.bucket, it.key))
	case client.IsDenied(err):
		return userError("Data download failed:AccessDenied (403): Access Denied. The role %q may not read s3://%s/%s: it needs \"s3:GetObject\" on \"arn:aws:s3:::%s/%s\". Error message from S3: %s",
			j.role, it.bucket, it.key, it.bucket, it.key, said(err))
	}
	//nolint:staticcheck // the text is shown to people as it is
	return fmt.Errorf("Data download failed: %s: s3://%s/%s: %w", j.named(ch), it.bucket, it.key, err)
}

// said is what S3 said in the error.
func said(err error) string {
	if e, ok := errors.AsType[*client.Error](err); ok && e.Message != "" {
		return e.Message
	}
	return err.Error()
}

func (j *job) putError(ctx context.Context, what, bucket, key string, err error) error {
	switch {
	case err == nil:
		return nil
	case client.Code(err) == "NoSuchBucket":
		return userError("%s upload failed: %s: the bucket %q does not exist.%s", j.kept, what, bucket, j.meant(ctx, bucket, ""))
	case client.Code(err) == "InsufficientStorage":
		return fmt.Errorf("%s upload failed: %s: the server's disk is too full to keep s3://%s/%s. Make room on it and run the job again", j.kept, what, bucket, key)
	case slices.Contains([]string{"KeyTooLongError", "InvalidURI", "InvalidArgument"}, client.Code(err)):
		return userError("%s upload failed: %s: S3 does not take the key %q: %s", j.kept, what, key, said(err))
	case client.IsDenied(err):
		return userError("%s upload failed:AccessDenied (403): Access Denied. The role %q may not write %s to s3://%s/%s: it needs \"s3:PutObject\" on \"arn:aws:s3:::%s/%s\". Error message from S3: %s",
			j.kept, j.role, what, bucket, key, bucket, key, said(err))
	}
	return fmt.Errorf("%s upload failed: %s: s3://%s/%s: %w", j.kept, what, bucket, key, err)
}
