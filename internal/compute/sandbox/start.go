package sandbox

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"clary/internal/compute"
	"clary/internal/compute/sandbox/jail"
	"clary/internal/compute/sandbox/task"
)

// What stands in /etc/passwd must not say more than it should.
var (
	userPattern = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,30}$`)  //nolint:gochecknoglobals // a constant
	homePattern = regexp.MustCompile(`^/[A-Za-z0-9_./-]{1,200}$`) //nolint:gochecknoglobals // a constant
)

// Start accepts a task durably and starts its supervisor.
func (d *Driver) Start(_ context.Context, t compute.Task) error {
	if err := checkID(t.ID); err != nil {
		return err
	}
	sup, err := d.accept(t)
	if err != nil {
		return fmt.Errorf("task %s: %w", t.ID, err)
	}
	if sup != nil {
		err := d.release(t.ID, sup)
		d.mu.Lock()
		d.beginning--
		d.mu.Unlock()
		return err
	}
	if _, err := task.ReadStatus(d.dir(t.ID)); !errors.Is(err, fs.ErrNotExist) {
		return nil // it has begun; Status tells how it goes
	}
	if alive, err := task.Alive(d.dir(t.ID)); err != nil || alive {
		return err
	}
	return d.spawn(t.ID)
}

// accept writes the task's folder, whole and on disk, and returns the task's
// supervisor, which started meanwhile and waits for its release; or it finds
// the folder written.
func (d *Driver) accept(t compute.Task) (*starting, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.known(t.ID); err == nil {
		return nil, nil //nolint:nilnil // accepted before
	} else if !errors.Is(err, compute.ErrNotFound) {
		return nil, err
	}
	if err := d.admit(t.Kind); err != nil {
		return nil, err
	}
	s, err := d.spec(t)
	if err != nil {
		return nil, err
	}
	if err := d.claim(s); err != nil {
		return nil, err
	}
	tmp := filepath.Join(d.cfg.Dir, "."+string(t.ID))
	if err := os.RemoveAll(tmp); err != nil {
		return nil, err
	}
	if err := os.Mkdir(tmp, 0o700); err != nil {
		return nil, err
	}
	var mnt *os.File
	if v := d.volumes.take(s.Limits.DiskBytes); v != nil {
		if err := os.Rename(v.path, filepath.Join(tmp, task.ImageFile)); err != nil {
			v.drop()
			return nil, err
		}
		mnt = v.mnt
	}
	sup, err := d.start(t.ID, tmp, mnt)
	if err != nil {
		_ = mnt.Close() // of nil, too
		return nil, err
	}
	err = task.Write(tmp, task.SpecFile, s, task.Durable)
	if err == nil {
		err = os.Rename(tmp, d.dir(t.ID))
	}
	if err == nil {
		err = task.SyncDir(d.cfg.Dir)
	}
	if err != nil {
		sup.drop()
		return nil, err
	}
	d.uids[s.HostUID] = t.ID
	d.spawned[t.ID] = sup
	d.beginning++
	return sup, nil
}

func (d *Driver) spec(t compute.Task) (*task.Spec, error) {
	if u := t.User; u != nil && (!userPattern.MatchString(u.Name) || !homePattern.MatchString(u.Home)) {
		return nil, fmt.Errorf("user %q with home %q cannot be", u.Name, u.Home)
	}
	if n := t.Network; len(n.Peers) > 1 {
		if i := slices.Index(n.Peers, n.Host); i < 0 || !strings.HasSuffix(string(t.ID), fmt.Sprintf("-%d", i+1)) {
			return nil, fmt.Errorf("host %q of %q cannot have this id", n.Host, n.Peers)
		}
	}
	secret, err := credentialsPath()
	if err != nil {
		return nil, err
	}
	machine, err := machineSize()
	if err != nil {
		return nil, err
	}
	s := &task.Spec{
		Task: t, Created: time.Now(), CredentialsPath: secret,
		APISocket: d.cfg.APISocket, CABundle: d.cfg.CABundle, UploadLimit: d.cfg.UploadLimit, MaxOutput: d.cfg.MaxOutput,
		Egress: task.Egress{Allow: d.cfg.EgressAllow, HTTPProxy: d.cfg.HTTPProxy, HTTPSProxy: d.cfg.HTTPSProxy, NoProxy: d.cfg.NoProxy},
		Limits: task.Limits{
			VCPU: min(t.Resources.VCPU, machine.VCPU), MemoryBytes: min(t.Resources.MemoryBytes, machine.MemoryBytes),
			DiskBytes: t.Resources.DiskBytes, PIDs: t.Resources.PIDs,
		},
	}
	if d.root {
		if s.HostUID, err = d.freeUID(); err != nil {
			return nil, err
		}
	}
	s.Filter = d.filter
	if s.UserID() != task.RootID {
		s.Filter = d.usersFilter
	}
	s.Env, s.Template = environment(s), d.volumes.template(s.Limits.DiskBytes)
	return s, nil
}

// freeUID finds the first of ids that no task of this folder has. Folders begin
// at different places, so that two servers of one machine hardly meet.
func (d *Driver) freeUID() (int, error) {
	const slots = (task.LastUID - task.FirstUID) / task.IDsOfTask
	h := fnv.New32a()
	_, _ = h.Write([]byte(d.cfg.Dir))
	first := int(h.Sum32()) % slots
	for i := range slots {
		uid := task.FirstUID + (first+i)%slots*task.IDsOfTask
		used := false
		for n := range task.IDsOfTask {
			_, taken := d.uids[uid+n]
			used = used || taken
		}
		if !used {
			return uid, nil
		}
	}
	return 0, fmt.Errorf("%w: every user id is taken", compute.ErrCapacity)
}

// spawn makes sure that a supervisor of an accepted task has been started.
func (d *Driver) spawn(id compute.TaskID) error {
	d.mu.Lock()
	if d.spawned[id] != nil {
		d.mu.Unlock()
		return nil
	}
	sup, err := d.start(id, d.dir(id), nil)
	if err != nil {
		d.mu.Unlock()
		return fmt.Errorf("task %s: start supervisor: %w", id, err)
	}
	d.spawned[id] = sup
	d.mu.Unlock()
	return d.release(id, sup)
}

// starting is a supervisor that was started and touches nothing before it is
// released: until then the task may not be on disk.
type starting struct {
	cmd     *exec.Cmd
	conn    *os.File   // a byte releases it; it ends when the supervisor listens or has ended
	started chan error // one value
}

// start begins to start a supervisor whose folder is now at dir: a process that
// nothing ties to this one, in a session of its own, with no descriptor of ours
// but the end of conn and the mount of its volume, which is closed here, and no
// signal when we end.
func (d *Driver) start(id compute.TaskID, dir string, volume *os.File) (*starting, error) {
	log, err := os.OpenFile(filepath.Join(dir, task.LogFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		_ = log.Close()
		return nil, fmt.Errorf("socket pair: %w", err)
	}
	_ = unix.SetNonblock(fds[0], true) // so that a wait for it can be called off
	theirs := os.NewFile(uintptr(fds[1]), "supervisor")
	cmd := exec.Command(d.cfg.TaskBinary, "supervise", d.dir(id)) //nolint:noctx // it must outlive every context
	cmd.Dir = "/"
	cmd.Env = []string{"GOMAXPROCS=2", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.Stdin, cmd.Stderr = theirs, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if volume != nil {
		cmd.Args, cmd.ExtraFiles = append(cmd.Args, jail.WithVolume), []*os.File{volume}
	}
	s := &starting{cmd: cmd, conn: os.NewFile(uintptr(fds[0]), "supervisor"), started: make(chan error, 1)}
	go func() {
		s.started <- cmd.Start()
		_, _ = theirs.Close(), log.Close()
		if volume != nil {
			_ = volume.Close()
		}
	}()
	return s, nil
}

// release lets a supervisor begin.
func (d *Driver) release(id compute.TaskID, s *starting) error {
	err := <-s.started
	if err != nil {
		d.unspawn(id, s)
		_ = s.conn.Close()
		return fmt.Errorf("task %s: start supervisor: %w", id, err)
	}
	_, _ = s.conn.Write([]byte{1}) // fails only if it has ended, which is seen below
	go func() {                    // collects it, should we live longer
		_ = s.cmd.Wait()
		d.unspawn(id, s)
	}()
	d.watchFrom(id, s.conn)
	return nil
}

// drop ends a supervisor that will not be released.
func (s *starting) drop() {
	_ = s.conn.Close()
	go func() {
		if <-s.started == nil {
			_ = s.cmd.Wait()
		}
	}()
}

// unspawn forgets a supervisor that has ended.
func (d *Driver) unspawn(id compute.TaskID, s *starting) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.spawned[id] == s {
		delete(d.spawned, id)
	}
}
