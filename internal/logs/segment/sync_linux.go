package segment

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncAll forces out the file system that dir is on.
func syncAll(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close() //nolint:errcheck // opened to read
	return unix.Syncfs(int(d.Fd()))
}
