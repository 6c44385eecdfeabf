package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	deployRounds = 7
	deployGoal   = 100 * time.Millisecond // beyond the model server's own start
)

// deployRow measures how long an endpoint takes to be in service beside its
// model server alone, of the same runtime and the same script, in turns. The
// runtime is built before, and all files are in the page cache.
func (b *bench) deployRow() (err error) {
	data := filepath.Join(b.dir, "deploy")
	s, err := b.startClary(data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := b.servedModel(s.client, 1, "one"); err != nil {
		return err
	}
	var ours, floor []time.Duration
	for i := range deployRounds + 1 {
		name := fmt.Sprintf("bench-%d", i)
		took, err := b.deploy(s.client, "CreateEndpoint", name, "one")
		if err != nil {
			return err
		}
		if err := b.undeploy(s.client, name); err != nil {
			return err
		}
		bare, err := b.bareModelServer(data)
		if err != nil {
			return err
		}
		if i > 0 { // the first one builds the runtime
			ours, floor = append(ours, took), append(floor, bare)
		}
	}
	raw("endpoint", ours)
	raw("bare model server", floor)
	over := quantile(ours, 0.5) - quantile(floor, 0.5)
	b.add(row{
		name: "Endpoint of one scikit-learn instance, CreateEndpoint → InService", ours: times(ours),
		floor: fmt.Sprintf("its model server alone, from exec to 200 of /ping, %s; Clary takes %s more", times(floor), ms(over)),
		goal:  "≤ 100 ms more", met: reached(over <= deployGoal), note: notes["deploy"],
	})
	return nil
}

func (b *bench) undeploy(c *client, name string) error {
	in := map[string]any{"EndpointName": name}
	if err := c.json(b.ctx, "sagemaker", "DeleteEndpoint", in, nil); err != nil {
		return err
	}
	return b.until(time.Minute, func() (bool, error) {
		err := c.json(b.ctx, "sagemaker", "DescribeEndpoint", in, nil)
		if err != nil && strings.Contains(err.Error(), "Could not find endpoint") {
			return true, nil
		}
		return false, err
	})
}

// bareServer starts a model server as it is, in /opt/ml of its own.
const bareServer = `mount -t tmpfs none /opt && mkdir /opt/ml && mount --bind "$1" /opt/ml && exec "$2" serve -framework scikit-learn`

// bareModelServer gives the time from a model server's start to its first good
// answer.
func (b *bench) bareModelServer(data string) (time.Duration, error) {
	m, err := b.startBareModel(data, modelScript)
	if err != nil {
		return 0, err
	}
	m.stop()
	return m.took, nil
}

// bareModel is a model server that runs without Clary.
type bareModel struct {
	url  string
	took time.Duration // from its start to its first good answer
	cmd  *exec.Cmd
}

func (m *bareModel) stop() {
	_ = m.cmd.Process.Signal(syscall.SIGTERM)
	kill := time.AfterFunc(20*time.Second, func() { _ = m.cmd.Process.Kill() })
	_ = m.cmd.Wait()
	kill.Stop()
}

// startBareModel starts a script's model server, of two workers, with the runtime
// below data. It must be root, for a mount that nobody else sees.
func (b *bench) startBareModel(data, script string) (*bareModel, error) {
	pythons, err := filepath.Glob(filepath.Join(data, "runtimes", "*", "env", "bin", "python3"))
	if err != nil || len(pythons) != 1 {
		return nil, fmt.Errorf("%d runtimes with Python: %w", len(pythons), err)
	}
	ml := filepath.Join(b.dir, "ml")
	if err := os.RemoveAll(ml); err != nil { // another script's code may lie there
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(ml, "model", "code"), 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(ml, "model", "code", "inference.py"), []byte(script), 0o644); err != nil {
		return nil, err
	}
	addr, err := port()
	if err != nil {
		return nil, err
	}
	_, number, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	m := &bareModel{url: "http://127.0.0.1:" + number}
	m.cmd = exec.Command("unshare", "-m", "sh", "-c", bareServer, "sh", ml, filepath.Join(filepath.Dir(b.clary), "clary-task")) //nolint:noctx // it is stopped by stop
	m.cmd.Env = []string{
		"PATH=" + filepath.Dir(pythons[0]) + ":" + os.Getenv("PATH"), "SAGEMAKER_PROGRAM=inference.py", "SAGEMAKER_SUBMIT_DIRECTORY=/opt/ml/model/code",
		"SAGEMAKER_BIND_TO_PORT=" + number, "SM_NUM_CPUS=2", "HOME=/root",
	}
	var out strings.Builder
	m.cmd.Stdout, m.cmd.Stderr = &out, &out
	begin := time.Now()
	if err := m.cmd.Start(); err != nil {
		return nil, err
	}
	err = b.until(time.Minute, func() (bool, error) {
		resp, err := http.Get(m.url + "/ping") //nolint:noctx // loopback
		if err != nil {
			return false, nil //nolint:nilerr // it does not listen yet
		}
		return resp.StatusCode == http.StatusOK, resp.Body.Close()
	})
	m.took = time.Since(begin)
	if err != nil {
		m.stop()
		return nil, fmt.Errorf("the bare model server: %w: %.1000s", err, out.String())
	}
	return m, nil
}
