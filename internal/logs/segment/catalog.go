package segment

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"clary/internal/logs"
)

// Kinds of records in the catalogue.
const (
	catGroup    byte = 1 // number, account, region, name, created
	catNoGroup  byte = 2 // number
	catStream   byte = 3 // group, number, name, created, marked, segment, summary
	catNoStream byte = 4 // number, last segment
	catMark     byte = 5 // number: written to since the last check
	catCheck    byte = 6 // number, segment, summary
)

const (
	catSalt   = 0x636c617279 // distinguishes it from a segment
	catBuffer = 1 << 20
	catSlack  = 8 << 20 // bytes of history before the catalogue is written anew
)

// catalog is the file that names all groups and streams.
type catalog struct {
	path string

	mu      sync.Mutex // guards what follows
	f       *os.File
	size    int64
	base    int64 // size when it was last written anew
	broken  error
	purging map[uint64]uint32 // streams whose files are being removed: last segment

	syncing sync.Mutex // held over fsync; guards synced
	synced  int64      // size that is on disk; of the current file
}

func openCatalog(path string) (*catalog, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	return &catalog{path: path, f: f, purging: make(map[uint64]uint32)}, nil
}

// lock keeps a second process out of the folder for as long as it is held.
func lock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, logs.ErrInUse
		}
		return nil, err
	}
	return f, nil
}

// replay gives every record to fn, and cuts a torn tail. More than a
// crash explains is kept beside the catalogue for people.
func (c *catalog) replay(fn func(payload []byte) error) error {
	r := bufio.NewReaderSize(c.f, catBuffer)
	for {
		h, err := r.Peek(frameHead)
		if len(h) == 0 && errors.Is(err, io.EOF) {
			break
		}
		size := 0
		if len(h) == frameHead {
			size = int(binary.LittleEndian.Uint32(h))
		}
		b, err := r.Peek(min(frameHead+size, catBuffer))
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		payload, n, err := next(b, catSalt)
		if err != nil {
			if err := c.cut(); err != nil {
				return err
			}
			break
		}
		if err := fn(payload); err != nil {
			return fmt.Errorf("record at %d: %w", c.size, err)
		}
		c.size += int64(n)
		_, _ = r.Discard(n)
	}
	c.base = c.size
	return nil
}

// tornSize is how much a crash leaves half written at most, in all likelihood.
const tornSize = 64 << 10

func (c *catalog) cut() error {
	fi, err := c.f.Stat()
	if err != nil {
		return err
	}
	if fi.Size()-c.size > tornSize {
		rest := io.NewSectionReader(c.f, c.size, fi.Size()-c.size)
		o, err := os.OpenFile(fmt.Sprintf("%s.damaged-%d", c.path, c.size), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return err
		}
		_, err = io.Copy(o, rest)
		if err := errors.Join(err, o.Close()); err != nil {
			return err
		}
	}
	return c.f.Truncate(c.size)
}

// add appends a record.
func (c *catalog) add(payload []byte) error {
	b := end(append(begin(make([]byte, 0, frameHead+len(payload))), payload...), 0, catSalt)
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.write(b)
}

func (c *catalog) write(b []byte) error {
	if c.broken != nil {
		return c.broken
	}
	if _, err := c.f.WriteAt(b, c.size); err != nil {
		if cut := c.f.Truncate(c.size); cut != nil {
			c.broken = fmt.Errorf("log catalogue: %w", errors.Join(err, cut))
		}
		return err
	}
	c.size += int64(len(b))
	return nil
}

// sync returns once all that was added is on disk. Callers that come while one
// is at it share the next round.
func (c *catalog) sync() error {
	c.mu.Lock()
	want := c.size
	c.mu.Unlock()
	c.syncing.Lock()
	defer c.syncing.Unlock()
	if c.synced >= want {
		return nil
	}
	c.mu.Lock()
	f, size := c.f, c.size
	c.mu.Unlock()
	if err := f.Sync(); err != nil {
		return err
	}
	c.synced = size
	return nil
}

// grown says whether the catalogue holds mostly history.
func (c *catalog) grown() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.size > 2*c.base+catSlack
}

// rewrite replaces the catalogue by what all gives. Nothing is added meanwhile.
func (c *catalog) rewrite(all func(emit func(payload []byte) error) error) error {
	c.syncing.Lock()
	defer c.syncing.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	tmp := c.path + ".new"
	f, err := os.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, catBuffer)
	var size int64
	var buf []byte
	emit := func(payload []byte) error {
		buf = end(append(begin(buf[:0]), payload...), 0, catSalt)
		size += int64(len(buf))
		_, err := w.Write(buf)
		return err
	}
	err = all(emit)
	for id, last := range c.purging {
		if err == nil {
			err = emit(noStreamRecord(id, last))
		}
	}
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(tmp, c.path)
	}
	if err != nil {
		return errors.Join(err, f.Close(), os.Remove(tmp))
	}
	_ = c.f.Close()
	c.f, c.size, c.base, c.synced, c.broken = f, size, size, size, nil
	return syncDir(filepath.Dir(c.path))
}

func (c *catalog) close() error {
	err := c.sync()
	c.mu.Lock()
	defer c.mu.Unlock()
	return errors.Join(err, c.f.Close())
}

func (c *catalog) purge(id uint64, last uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.purging[id] = last
}

func (c *catalog) purged(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.purging, id)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func groupRecord(g *group) []byte {
	b := binary.AppendUvarint([]byte{catGroup}, g.number)
	for _, s := range []string{g.account, g.region, g.name} {
		b = putString(b, s)
	}
	return binary.AppendVarint(b, g.created)
}

func noGroupRecord(g *group) []byte {
	return binary.AppendUvarint([]byte{catNoGroup}, g.number)
}

func streamRecord(st *stream) []byte {
	b := binary.AppendUvarint([]byte{catStream}, st.group.number)
	b = binary.LittleEndian.AppendUint64(b, st.id)
	b = putString(b, st.name)
	b = binary.AppendVarint(b, st.created)
	marked := byte(0)
	if st.marked.Load() {
		marked = 1
	}
	b = append(b, marked)
	b = binary.AppendUvarint(b, uint64(st.segment.Load()))
	return st.summary().append(b)
}

func noStreamRecord(id uint64, last uint32) []byte {
	return binary.AppendUvarint(binary.LittleEndian.AppendUint64([]byte{catNoStream}, id), uint64(last))
}

func markRecord(st *stream) []byte {
	return binary.LittleEndian.AppendUint64([]byte{catMark}, st.id)
}

func checkRecord(st *stream) []byte {
	b := binary.LittleEndian.AppendUint64([]byte{catCheck}, st.id)
	b = binary.AppendUvarint(b, uint64(st.segment.Load()))
	return st.summary().append(b)
}

func (f *fields) uint64() uint64 {
	if len(f.b) < 8 {
		f.fail()
		return 0
	}
	v := binary.LittleEndian.Uint64(f.b)
	f.b = f.b[8:]
	return v
}
