package catalog

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestInspectShim looks at an interpreter that is a script which waits for
// another program, and gives up: that program is ended, too, and one that cannot
// be reached is not waited for.
func TestInspectShim(t *testing.T) {
	t.Parallel()
	for by, ended := range map[string]bool{"env": true, "setsid": false} {
		t.Run(by, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			shim, hold, alive := filepath.Join(dir, "python3.11"), filepath.Join(dir, "hold"), filepath.Join(dir, "alive")
			for _, p := range []string{hold, alive} {
				if err := syscall.Mkfifo(p, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			script := fmt.Sprintf("#!/bin/sh\nx=$(%s sh -c 'exec cat <%s 3>%s')\n", by, hold, alive)
			syscall.ForkLock.RLock() // or what another test starts has the script open, which cannot be run then
			err := os.WriteFile(shim, []byte(script), 0o700)
			syscall.ForkLock.RUnlock()
			if err != nil {
				t.Fatal(err)
			}
			holds, err := os.OpenFile(hold, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer holds.Close() // the program ends at the latest then

			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			back := make(chan error, 1)
			go func() {
				_, err := inspect(ctx, shim)
				back <- err
			}()
			lives, err := os.Open(alive) // once it runs
			if err != nil {
				t.Fatal(err)
			}
			defer lives.Close()
			cancel()
			select {
			case err := <-back:
				if err == nil {
					t.Error("it is an interpreter")
				}
			case <-time.After(15 * time.Second):
				t.Fatal("the program is waited for")
			}
			if !ended {
				return
			}
			if err := lives.SetReadDeadline(time.Now().Add(15 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadAll(lives); err != nil {
				t.Errorf("the program goes on: %v", err)
			}
		})
	}
}
