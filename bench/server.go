package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"clary/internal/aws/sigv4"
)

// server is a process under test.
type server struct {
	cmd    *exec.Cmd
	client *client
	ready  time.Duration // from exec to the first good answer
	out    *os.File
}

// port finds one that is free.
func port() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close() //nolint:errcheck // it only found a number
	return l.Addr().String(), nil
}

// start runs a server and asks it until it answers.
func (b *bench) start(name, addr string, creds func() (sigv4.Credentials, error), ask func(*client) error, argv ...string) (*server, error) {
	out, err := os.Create(filepath.Join(b.dir, name+".out"))
	if err != nil {
		return nil, err
	}
	s := &server{out: out}
	s.cmd = exec.Command(argv[0], argv[1:]...) //nolint:noctx // it is stopped by stop, which waits
	s.cmd.Stdout, s.cmd.Stderr = out, out
	begin := time.Now()
	if err := s.cmd.Start(); err != nil {
		return nil, errors.Join(err, out.Close())
	}
	for deadline := begin.Add(time.Minute); ; {
		if b.ctx.Err() != nil || time.Now().After(deadline) {
			text, _ := os.ReadFile(out.Name())
			return nil, errors.Join(fmt.Errorf("%s does not answer: %.2000s", name, text), s.stop())
		}
		cr, err := creds()
		if err == nil {
			if s.client == nil {
				s.client = newClient("http://"+addr, cr)
			}
			err = ask(s.client)
		}
		if err == nil {
			s.ready = time.Since(begin)
			return s, nil
		}
		time.Sleep(500 * time.Microsecond)
	}
}

// stop ends a server in good order.
func (s *server) stop() error {
	if s.client != nil {
		s.client.http.CloseIdleConnections()
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	kill := time.AfterFunc(20*time.Second, func() { _ = s.cmd.Process.Kill() })
	_ = s.cmd.Wait()
	kill.Stop()
	return s.out.Close()
}

// startClary runs the binary under test on a data folder.
func (b *bench) startClary(data string, flags ...string) (*server, error) {
	addr, err := port()
	if err != nil {
		return nil, err
	}
	creds := func() (sigv4.Credentials, error) {
		var k struct{ AccessKeyId, SecretAccessKey string } //nolint:revive // AWS's spelling
		text, err := os.ReadFile(filepath.Join(data, "keys", "root.json"))
		if err == nil {
			err = json.Unmarshal(text, &k)
		}
		return sigv4.Credentials{AccessKeyID: k.AccessKeyId, SecretAccessKey: k.SecretAccessKey}, err
	}
	argv := append([]string{b.clary, "serve", "--data", data, "--listen", addr, "--region", region}, flags...)
	return b.start("clary", addr, creds, listed, argv...)
}

func listed(c *client) error {
	_, err := c.call(context.Background(), "sagemaker", "ListTrainingJobs", []byte(`{"MaxResults":10}`))
	return err
}

func fixedCreds() (sigv4.Credentials, error) {
	return sigv4.Credentials{AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: "secret"}, nil
}

func (b *bench) startMoto() (*server, error) {
	if b.moto == "" {
		return nil, nil //nolint:nilnil // no peer is an answer
	}
	addr, err := port()
	if err != nil {
		return nil, err
	}
	host, p, _ := net.SplitHostPort(addr)
	return b.start("moto", addr, fixedCreds, listed, b.moto, "-H", host, "-p", p)
}

const cannedVerb = "canned-server"

func (b *bench) startCanned() (*server, error) {
	addr, err := port()
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return b.start("canned", addr, fixedCreds, listed, self, cannedVerb, addr)
}

// serveCanned is the floor: net/http and nothing else. A request that asks for
// it waits for an append and an fdatasync, which those who wait share.
func serveCanned(addr string) error {
	f, err := os.CreateTemp(".", ".canned-*")
	if err != nil {
		f, err = os.CreateTemp("", "canned-*")
	}
	if err != nil {
		return err
	}
	_ = os.Remove(f.Name())
	g := &group{f: f}
	describe := []byte(`{"TrainingJobName":"` + strings.Repeat("x", 1500) + `"}`)
	create := []byte(`{"TrainingJobArn":"arn:aws:sagemaker:us-west-2:123456789012:training-job/x"}`)
	page := bytes.Repeat([]byte("x"), 1<<20)
	srv := &http.Server{Addr: addr, ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		body := describe
		if strings.Contains(r.Header.Get("X-Amz-Target"), "Create") {
			body = create
		}
		if p := pageOf(r, page); p != nil {
			body = p
		}
		if r.Header.Get("X-Bench-Fsync") != "" || strings.HasSuffix(r.Header.Get("X-Amz-Target"), "CreateTrainingJob") {
			g.commit()
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		_, _ = w.Write(body)
	})}
	return srv.ListenAndServe()
}

// group commits for all who wait.
type group struct {
	f    *os.File
	mu   sync.Mutex // held over a commit; guards done
	gen  sync.Mutex // guards want
	want int64
	done int64
}

func (g *group) commit() {
	g.gen.Lock()
	g.want++
	mine := g.want
	g.gen.Unlock()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.done >= mine {
		return
	}
	g.gen.Lock()
	upTo := g.want
	g.gen.Unlock()
	_, _ = g.f.Write(make([]byte, 1500*(upTo-g.done)))
	_ = syscall.Fdatasync(int(g.f.Fd()))
	g.done = upTo
}

// pss is a process's proportional share of memory in KiB.
func pss(pid int) (int64, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, err
	}
	defer f.Close() //nolint:errcheck // opened to read
	sc := bufio.NewScanner(f)
	for sc.Scan() {
		if v, ok := strings.CutPrefix(sc.Text(), "Pss:"); ok {
			return strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(v, "kB")), 10, 64)
		}
	}
	return 0, errors.Join(errors.New("no Pss"), sc.Err())
}

// cpu is how long a process has run on a CPU.
func cpu(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, errors.New("stat is short")
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond, errors.Join(err1, err2)
}
