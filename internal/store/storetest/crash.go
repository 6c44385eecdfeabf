package storetest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"clary/internal/resource"
	"clary/internal/store"
)

// childDir names the folder that a child process writes to.
const childDir = "CLARY_STORETEST_CHILD"

// Child writes until it is killed and tells what was answered, when this
// process is a child of the crash test; otherwise it returns at once.
func Child(open Open) {
	dir := os.Getenv(childDir)
	if dir == "" {
		return
	}
	s, err := open(dir)
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	run := resource.NewUID()
	var mu sync.Mutex // guards standard output
	for w := range 8 {
		go func() {
			for i := 0; ; i++ {
				name := fmt.Sprintf("%s-%d-%d", run, w, i)
				err := s.Update(context.Background(), func(tx store.Tx) error {
					total, err := tx.Get(key("total"))
					if errors.Is(err, store.ErrNotFound) {
						total, err = record("total"), nil
					}
					if err != nil {
						return err
					}
					if err := increment(total); err != nil {
						return err
					}
					if i%5 == 4 { // this one fails after it did half
						return errors.Join(tx.Put(record("half-"+name)), errors.New("bad"))
					}
					u := usage(name, epoch())
					u.UID = run
					return errors.Join(tx.Put(total), tx.Put(record(name)), tx.OpenUsage(u))
				})
				mu.Lock()
				switch {
				case err == nil:
					fmt.Println("ok", name)
				case i%5 != 4:
					fmt.Println("error", err)
				}
				mu.Unlock()
			}
		}()
	}
	select {}
}

// testCrash kills a process in mid-write, again and again: what it had
// answered is there, and what is there is whole.
func testCrash(t *testing.T, open Open) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var answered []string
	for round := range 5 {
		c := exec.Command(self, "-test.run=^$")
		c.Env = append(os.Environ(), childDir+"="+dir)
		c.Stderr = os.Stderr
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(out)
		kill := 20 + rand.IntN(300) // lines
		before := len(answered)
		for n := 0; ; n++ {
			line, err := lines.ReadString('\n')
			if errors.Is(err, io.EOF) {
				break
			}
			if n == kill {
				if err := c.Process.Kill(); err != nil {
					t.Error(err)
				}
			}
			what, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
			if what != "ok" || err != nil {
				t.Errorf("child: %s %s %v", what, rest, err)
				break
			}
			answered = append(answered, rest)
		}
		_ = c.Process.Kill()
		_ = c.Wait()
		if len(answered)-before < 20 {
			t.Fatalf("round %d: only %d writes were answered", round, len(answered)-before)
		}
		check(t, open, dir, answered)
	}
	t.Logf("%d answered writes", len(answered))
}

func check(t *testing.T, open Open, dir string, answered []string) {
	begin := time.Now()
	s, err := open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if d := time.Since(begin); d > 10*time.Second {
		t.Errorf("opening after a crash took %s", d)
	}
	defer s.Close() //nolint:errcheck // the checks are done
	have := make(map[string]bool)
	for _, r := range all(t, s, resource.Query{Kind: kind, Limit: 1000}, nil) {
		have[r.Name] = true
		if strings.HasPrefix(r.Name, "half-") {
			t.Errorf("%s: half a transaction", r.Name)
		}
	}
	billed := make(map[string]bool)
	for _, u := range listUsage(t, s, resource.UsageQuery{}) {
		billed[u.ID] = true
	}
	for _, name := range answered {
		if !have[name] || !billed[name] {
			t.Errorf("%s was answered; its record is there: %t, its usage: %t", name, have[name], billed[name])
		}
	}
	// Nothing is there in part: the count, the records and the usage agree.
	if n := count(t, get(t, s, "total")); n != len(have)-1 || n != len(billed) {
		t.Errorf("the count says %d, there are %d records and %d intervals", n, len(have)-1, len(billed))
	}
}
