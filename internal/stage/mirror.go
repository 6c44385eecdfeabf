package stage

import (
	"context"
	"errors"
	"fmt"
	"hash/crc64"
	"hash/maphash"
	"io"
	"io/fs"
	"iter"
	"maps"
	"os"
	"strings"
	"sync"
	"time"

	"clary/internal/client"
	"clary/internal/stage/plan"
)

const (
	// lookEvery is how often a live mirror looks for changes. It sends a file
	// that did not change between two looks, and at the end all that S3 does not
	// have as they are.
	lookEvery = 5 * time.Second
	// Files beyond this size are sent one at a time: whole parts of it are in
	// memory.
	smallFile = 512 << 10
	// failures is how many files may fail before the others are not tried.
	failures = 20
)

// mirror sends a folder's files to an S3 prefix: once, when the program has
// ended, or while it runs too. Nothing is ever deleted in S3.
type mirror struct {
	j              *job
	from           tree
	bucket, prefix string

	live bool
	quit chan struct{}
	wg   sync.WaitGroup

	look  uint32     // how many there were
	mu    sync.Mutex // guards known
	known map[uint64]known
}

type stamp struct{ size, mod int64 }

// known is what a live mirror knows of a file, under a hash of its name: there
// may be millions of them, in the memory that the task has. Files whose names
// have the same hash are taken for one that changes, and are sent at the end.
type known struct {
	stamp
	// sum is of what was sent, 0 if the file came from S3: a program that writes
	// through a mapping, or sets times, changes bytes and no stamp.
	sum  uint64
	look uint32 // the last that found it
	sent bool   // S3 has it so
}

func stampOf(info fs.FileInfo) stamp { return stamp{info.Size(), info.ModTime().UnixNano()} }

var seed = maphash.MakeSeed()

func hash(name string) uint64 { return maphash.String(seed, name) }

// mirror has a folder sent to a prefix from the program's start on, or at its
// end.
func (j *job) mirror(what, uri string, from tree, live bool) (*mirror, error) {
	if j.h.API == nil {
		return nil, fmt.Errorf("%s: this task has no way to S3", what)
	}
	bucket, prefix, err := client.ParseURI(strings.TrimSuffix(uri, "/"))
	if err != nil {
		return nil, userError("%s: %v", what, err)
	}
	if prefix != "" {
		prefix += "/"
	}
	m := &mirror{j: j, from: from, bucket: bucket, prefix: prefix, live: live, quit: make(chan struct{}), known: map[uint64]known{}}
	j.mirrors = append(j.mirrors, m)
	return m, nil
}

// restore brings what is in S3 already.
func (m *mirror) restore(ctx context.Context, ch plan.Channel) error {
	err := m.j.fetchAll(ctx, ch, m.from, func(ctx context.Context) iter.Seq2[item, error] {
		return m.j.below(ctx, ch, m.bucket, m.prefix)
	})
	if err != nil {
		return err
	}
	for f, err := range m.files(false) {
		if err != nil {
			return err
		}
		m.sent(f, 0)
	}
	return nil
}

// watch looks for changes until rest.
func (m *mirror) watch(ctx context.Context) {
	if !m.live {
		return
	}
	m.wg.Go(func() {
		tick := time.NewTicker(lookEvery)
		defer tick.Stop()
		told := false
		for {
			select {
			case <-m.quit:
				return
			case <-ctx.Done():
				return
			case <-tick.C:
				if err := m.send(ctx, false); err != nil && !told && ctx.Err() == nil {
					told = true
					m.j.h.say("clary: %v", err)
				}
			}
		}
	})
}

// rest ends the looks.
func (m *mirror) rest() {
	close(m.quit)
	m.wg.Wait()
}

// file is one that is there to be sent.
type file struct {
	name string
	stamp
}

// files are those of the folder; a link to one is one.
func (m *mirror) files(tell bool) iter.Seq2[file, error] {
	enough := errors.New("enough")
	return func(yield func(file, error) bool) {
		empty, err := m.from.empty()
		if _, told := errors.AsType[*clientError](err); err != nil && !told {
			err = userError("%s cannot be read to be uploaded: %v", m.from.path("."), err) // what it is now, the program made it
		} else if err == nil && !empty {
			err = m.j.uploadable(m.from, tell, func(name string, info fs.FileInfo, link string) error {
				if link != "" {
					to, err := m.from.root.Stat(m.from.at(name))
					if err != nil || !to.Mode().IsRegular() {
						if tell {
							m.j.h.say("clary: %s is not a link to a file and is not uploaded", m.from.path(name))
						}
						return nil
					}
					info = to
				}
				if info.IsDir() || yield(file{name, stampOf(info)}, nil) {
					return nil
				}
				return enough
			})
		}
		if err != nil && !errors.Is(err, enough) {
			yield(file{}, err)
		}
	}
}

// changed are those files that may not have been sent as they are now. Unless
// it is the end, they have rested since the last look.
func (m *mirror) changed(end bool) iter.Seq2[file, error] {
	return func(yield func(file, error) bool) {
		m.look++
		for f, err := range m.files(end) {
			if err == nil && m.live && !m.due(f, end) {
				continue
			}
			if !yield(f, err) {
				return
			}
		}
		if !end {
			m.forget()
		}
	}
}

func (m *mirror) due(f file, end bool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := hash(f.name)
	k, same := m.known[key]
	same = same && k.stamp == f.stamp
	if end {
		return !same || !k.sent || k.sum != 0
	}
	if !same {
		k = known{stamp: f.stamp}
	}
	k.look = m.look
	m.known[key] = k
	return same && !k.sent
}

// forget drops what the last look did not find.
func (m *mirror) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.known, func(_ uint64, k known) bool { return k.look != m.look })
}

// was is the sum of a file that was sent, by its stamp, as it is now.
func (m *mirror) was(f file) (sum uint64, sent bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.known[hash(f.name)]
	return k.sum, k.sent && k.stamp == f.stamp
}

// sent notes that S3 has a file.
func (m *mirror) sent(f file, sum uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.known[hash(f.name)] = known{f.stamp, sum, m.look, true}
}

// send sends what changed. A file that fails keeps no other from being sent.
func (m *mirror) send(ctx context.Context, end bool) error {
	var large, mu sync.Mutex
	var failed []error // guarded by mu
	// What is on its way when there are enough of them goes on.
	err := each(ctx, parallel, func(context.Context) iter.Seq2[file, error] { return m.changed(end) }, func(_ context.Context, f file) error {
		if f.size > smallFile {
			large.Lock()
			defer large.Unlock()
		}
		err := m.sendOne(ctx, f)
		if err == nil {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		if len(failed) == failures {
			return err
		}
		failed = append(failed, err)
		return nil
	})
	return errors.Join(append(failed, err)...)
}

func (m *mirror) sendOne(ctx context.Context, f file) error {
	in, _, err := m.from.open(f.name)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil // it is gone since
	case errors.Is(err, os.ErrPermission):
		return userError("%s cannot be read to be uploaded: %v", m.from.path(f.name), err)
	case err != nil:
		return err
	}
	defer in.Close() //nolint:errcheck // read only
	var body io.Reader = in
	sum := crc64.New(crc64.MakeTable(crc64.ECMA))
	if m.live {
		if was, sent := m.was(f); sent {
			_, err := io.Copy(sum, in)
			if err == nil && sum.Sum64() == was {
				return nil
			}
			sum.Reset()
			if _, serr := in.Seek(0, io.SeekStart); err != nil || serr != nil {
				return errors.Join(err, serr)
			}
		}
		body = io.TeeReader(in, sum)
	}
	if _, err := m.j.h.API.Upload(ctx, m.bucket, m.prefix+f.name, body); err != nil {
		return m.j.putError(ctx, m.from.path(f.name), m.bucket, m.prefix+f.name, err)
	}
	if m.live {
		m.sent(f, sum.Sum64())
	}
	return nil
}
