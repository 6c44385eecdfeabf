package catalog

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// syncFS puts everything below dir on disk, thousands of files at once.
func syncFS(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(int(d.Fd())), d.Close())
}
