package stage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"clary/internal/client"
	"clary/internal/stage/plan"
)

const (
	defaultCheckpoints = "/opt/ml/checkpoints"
	// checkpointEvery is how often changes are looked for. A file is sent when
	// it did not change between two looks, and always at the end.
	checkpointEvery = 5 * time.Second
)

// checkpoints keeps a folder and an S3 prefix alike: S3 to folder before the
// program starts, folder to S3 while it runs and at its end. Nothing is ever
// deleted in S3.
type checkpoints struct {
	t              *training
	root           *os.Root
	bucket, prefix string
	sent, seen     map[string]stamp
	quit           chan struct{}
	wg             sync.WaitGroup
}

type stamp struct {
	size int64
	mod  time.Time
}

// startCheckpoints is nil when the job asks for none. fetch ends the restoring,
// ctx all.
func (t *training) startCheckpoints(fetch, ctx context.Context) (*checkpoints, error) {
	if t.p.Checkpoint == nil || t.p.Checkpoint.S3Uri == "" {
		return nil, nil
	}
	if t.h.API == nil {
		return nil, errors.New("checkpoints: this task has no way to S3")
	}
	bucket, prefix, err := client.ParseURI(strings.TrimSuffix(t.p.Checkpoint.S3Uri, "/"))
	if err != nil {
		return nil, userError("CheckpointConfig: %v", err)
	}
	if prefix != "" {
		prefix += "/"
	}
	local := filepath.Clean("/" + or(t.p.Checkpoint.LocalPath, defaultCheckpoints))
	if err := os.MkdirAll(t.h.path(local), dirMode); err != nil {
		return nil, userError("CheckpointConfig: LocalPath %s cannot be made: %v", local, err)
	}
	if err := os.Chmod(t.h.path(local), dirMode); err != nil {
		return nil, fmt.Errorf("checkpoints: %w", err)
	}
	root, err := os.OpenRoot(t.h.path(local))
	if err != nil {
		return nil, fmt.Errorf("checkpoints: %w", err)
	}
	c := &checkpoints{t: t, root: root, bucket: bucket, prefix: prefix, sent: map[string]stamp{}, seen: map[string]stamp{}, quit: make(chan struct{})}
	if err := c.restore(fetch); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	c.wg.Go(func() {
		tick := time.NewTicker(checkpointEvery)
		defer tick.Stop()
		told := false
		for {
			select {
			case <-c.quit:
				return
			case <-ctx.Done():
				return
			case <-tick.C:
				if err := c.sync(ctx, false); err != nil && !told && ctx.Err() == nil {
					told = true
					t.h.say("clary: %v", err)
				}
			}
		}
	})
	return c, nil
}

// restore brings earlier checkpoints of the prefix.
func (c *checkpoints) restore(ctx context.Context) error {
	ch := plan.Channel{Name: "checkpoints", S3Uri: "s3://" + c.bucket + "/" + c.prefix}
	for o, err := range c.t.h.API.List(ctx, c.bucket, c.prefix) {
		if err != nil {
			return c.t.listError(ctx, ch, c.bucket, c.prefix, err)
		}
		it := item{bucket: c.bucket, key: o.Key, name: o.Key[len(c.prefix):], size: o.Size}
		if err := c.t.fetchOne(ctx, ch, c.root, it); err != nil {
			return err
		}
	}
	return c.scan(func(name string, s stamp) error { c.sent[name] = s; return nil })
}

func (c *checkpoints) scan(visit func(string, stamp) error) error {
	return tree{c.root, "."}.walk(func(name string, info fs.FileInfo) error {
		if !info.Mode().IsRegular() {
			return nil
		}
		return visit(name, stamp{info.Size(), info.ModTime()})
	})
}

// sync sends what changed since it was sent and, unless it is the end, has
// rested since the last look.
func (c *checkpoints) sync(ctx context.Context, end bool) error {
	now := map[string]stamp{}
	err := c.scan(func(name string, s stamp) error {
		now[name] = s
		if c.sent[name] == s || (!end && c.seen[name] != s) {
			return nil
		}
		f, _, err := tree{c.root, "."}.open(name)
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		defer f.Close() //nolint:errcheck // read only
		if _, err := c.t.h.API.Upload(ctx, c.bucket, c.prefix+name, f); err != nil {
			return c.t.putError(ctx, "checkpoint "+name, c.bucket, c.prefix+name, err)
		}
		c.sent[name] = s
		return nil
	})
	c.seen = now
	return err
}

// finish sends the rest after the program has ended.
func (c *checkpoints) finish(ctx context.Context) error {
	if c == nil {
		return nil
	}
	close(c.quit)
	c.wg.Wait()
	err := c.sync(ctx, true)
	return errors.Join(err, c.root.Close())
}
