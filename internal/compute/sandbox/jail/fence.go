package jail

import (
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// fence is what a process may do with files, by paths of the task's root. It
// is the second lock on doors that mounts and ids have locked already, and
// holds should one of these be wrong.
type fence struct {
	look  []string // read and run
	use   []string // write to what is there, as to devices
	write []string // everything
}

const (
	readRights = ll.AccessFSExecute | ll.AccessFSReadFile | ll.AccessFSReadDir
	useRights  = readRights | ll.AccessFSWriteFile | ll.AccessFSTruncate | ll.AccessFSIoctlDev
	fileRights = ll.AccessFSExecute | ll.AccessFSReadFile | ll.AccessFSWriteFile | ll.AccessFSTruncate
	// allRights are those of Landlock 5; device nodes are nobody's to make.
	allRights   = ll.AccessFSIoctlDev<<1 - 1
	writeRights = allRights &^ (ll.AccessFSMakeChar | ll.AccessFSMakeBlock | ll.AccessFSIoctlDev)
	// outward are signals and abstract sockets of processes beyond the fence.
	outward = ll.ScopeAbstractUnixSocket | ll.ScopeSignal
)

// programFence is for the user's program, which sees all of its root.
func programFence(writable []string) fence {
	return fence{look: []string{"/"}, use: []string{"/dev", "/proc"}, write: slices.Concat(written(), writable)}
}

// stageFence is for stage, which handles what the program made and needs
// neither processes nor devices nor the host's programs.
func stageFence(writable []string) fence {
	return fence{look: []string{"/etc", "/opt"}, write: slices.Concat(written(), writable)}
}

// written are the places where a task may write.
func written() []string {
	places := []string{"/etc", "/dev/shm"}
	for _, f := range folders {
		places = append(places, f.path)
	}
	return places
}

// raise puts the fence around this process, all its threads and its children to
// come. Where the kernel knows less of it, or nothing, less of it stands.
func (f fence) raise() error {
	rules := []landlock.Rule{landlock.PathAccess(readRights, f.look...), landlock.PathAccess(useRights, f.use...)}
	for _, p := range f.write {
		st, err := os.Stat(p)
		switch {
		case err != nil && (os.IsNotExist(err) || os.IsPermission(err)):
		case err != nil:
			return fmt.Errorf("fence: %w", err)
		case st.Mode().Type() == fs.ModeDir:
			rules = append(rules, landlock.PathAccess(writeRights, p))
		default:
			rules = append(rules, landlock.PathAccess(fileRights, p))
		}
	}
	cfg, err := landlock.NewConfig(landlock.AccessFSSet(allRights), landlock.ScopedSet(outward))
	if err != nil {
		return fmt.Errorf("fence: %w", err)
	}
	if err := cfg.BestEffort().Restrict(rules...); err != nil {
		return fmt.Errorf("fence: %w", err)
	}
	return nil
}

// Landlock is the version of it that the kernel speaks, 0 if none.
func Landlock() int {
	const versionOnly = 1
	n, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, versionOnly)
	if errno != 0 {
		return 0
	}
	return int(n)
}
