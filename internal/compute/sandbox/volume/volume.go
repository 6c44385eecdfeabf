// Package volume keeps the volumes that outlive tasks: a folder each, with a
// file system of its own size where the server may mount one, else with what
// is in it. What is in a volume is a user's work: it must never be lost by a
// crash at any moment, nor mounted twice, nor shrunk. Start reading at Make and
// Open.
//
// A volume's folder holds
//
//	volume.json  its size and kind; written last, so what has none is rubbish
//	lock         held by the supervisor of the task that mounts it
//	holder       the task that it was given to
//	image        the file system
//	data/        or the files themselves
package volume

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"clary/internal/compute/sandbox/task"
)

const (
	infoFile   = "volume.json"
	holderFile = "holder"
	imageFile  = "image"
	dataDir    = "data"
)

// Least is the smallest volume that can be: a file system has to fit.
const Least = 16 << 20

// most is what ext4 takes as a file, and as a file system with our settings.
const most = 1<<44 - 1<<20

// Info is what is known of a volume.
type Info struct {
	Bytes int64
	Image bool
}

// Data is the folder of a volume that is no image.
func Data(dir string) string { return filepath.Join(dir, dataDir) }

// Image is the file of a volume that is one.
func Image(dir string) string { return filepath.Join(dir, imageFile) }

// Read reads what is known of the volume in dir; fs.ErrNotExist if there is
// none.
func Read(dir string) (Info, error) {
	var i Info
	b, err := os.ReadFile(filepath.Join(dir, infoFile))
	if err != nil {
		return i, err
	}
	if err := json.Unmarshal(b, &i); err != nil {
		return i, fmt.Errorf("%s: %w", dir, err)
	}
	return i, nil
}

// Make makes the volume in dir, whole and on disk or not at all.
func Make(dir string, i Info) (err error) {
	parent, name := filepath.Split(dir)
	tmp := filepath.Join(parent, "."+name)
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	if err := os.Mkdir(tmp, 0o700); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(tmp)
		}
	}()
	if i.Image {
		err = format(Image(tmp), size(i.Bytes))
	} else {
		err = os.Mkdir(Data(tmp), 0o755)
	}
	if err != nil {
		return err
	}
	if err := task.Write(tmp, infoFile, i, task.Durable); err != nil {
		return err
	}
	if err := os.Rename(tmp, dir); err != nil {
		return err
	}
	return task.SyncDir(filepath.Dir(dir))
}

// size is what an image of a volume has.
func size(bytes int64) int64 { return min(bytes, most) &^ 4095 }

// ErrInUse says that a task has the volume, or that its mount is still going.
var ErrInUse = errors.New("the volume is mounted")

// Grow makes the volume in dir larger. It may be repeated after a crash.
func Grow(dir string, bytes int64) error {
	lock, err := acquire(dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	i, err := Read(dir)
	if err != nil || bytes <= i.Bytes {
		return err
	}
	if i.Image {
		if err := idle(Image(dir)); err != nil {
			return err
		}
		if err := enlarge(Image(dir), size(bytes), lock); err != nil {
			return err
		}
	}
	i.Bytes = bytes
	return task.Write(dir, infoFile, i, task.Durable)
}

// Holder is the task that the volume in dir was given to last; "" if none.
func Holder(dir string) (string, error) {
	var id string
	b, err := os.ReadFile(filepath.Join(dir, holderFile))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err == nil {
		err = json.Unmarshal(b, &id)
	}
	return id, err
}

// Hand gives the volume in dir to a task.
func Hand(dir, id string) error { return task.Write(dir, holderFile, id, task.Durable) }
