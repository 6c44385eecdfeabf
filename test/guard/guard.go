// Package guard clears away what a test leaves behind when it is ended from
// outside. It knows no program, only the folder that they work on. Start at
// Guard.
package guard

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

// sweep waits for the end of whoever holds the pipe's other end. A word on it
// says that all is well; without one, what runs on the folder is ended and the
// folder removed. Programs are known by the folder in their arguments or, as
// clients, in their environment; its own has it without a slash behind.
const sweep = `
trap '' INT TERM HUP
read -r word && exit 0
for round in 1 2 3 4 5; do
	found=
	for p in /proc/[0-9]*; do
		if cat "$p/cmdline" "$p/environ" 2>/dev/null | grep -qaF "$GUARDED/"; then
			kill -9 "${p#/proc/}" 2>/dev/null && found=yes
		fi
	done
	[ "$found" ] || break
done
rm -rf --one-file-system "$GUARDED"
`

// Guard sees to it that servers, tasks and files of a temporary folder are gone
// once this process has ended, however it ended: an interrupt or a time limit
// of `go test` runs no cleanup. release is called when they are gone, or shall
// stay.
func Guard(dir string) (release func() error, err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("/bin/sh", "-c", sweep) //nolint:noctx // it outlives us
	cmd.Stdin = r
	cmd.Env = []string{"PATH=/usr/bin:/bin", "GUARDED=" + dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // no terminal's signal is for it
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, r.Close(), w.Close())
	}
	return func() error {
		_, err := w.WriteString("well\n")
		return errors.Join(err, w.Close(), r.Close(), cmd.Wait())
	}, nil
}
