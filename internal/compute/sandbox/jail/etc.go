package jail

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"clary/internal/compute/sandbox/task"
)

// What a task gets of the host's /etc. All else (shadow, keys, machine-id,
// other people's settings) is not there.
var (
	etcFiles = []string{ //nolint:gochecknoglobals // constant tables
		"ld.so.cache", "ld.so.conf", "localtime", "timezone", "mime.types", "magic", "magic.mime", "protocols", "services",
		"os-release", "debian_version", "inputrc", "locale.alias", "bash.bashrc", "gai.conf", "host.conf",
	}
	etcFolders = []string{"alternatives", "ld.so.conf.d", "ssl/certs", "pki", "ca-certificates", "fonts", "terminfo", "java-*", "python3*", "crypto-policies"} //nolint:gochecknoglobals // constant tables
)

func makeEtc(s *task.Spec, root string) error {
	etc := filepath.Join(root, "etc")
	// A mount of its own stays writable when the root no longer is.
	if err := unix.Mount("etc", etc, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755,size=16m"); err != nil {
		return fmt.Errorf("etc: %w", err)
	}
	host := s.Task.Network.Host
	if host == "" {
		host = "algo-1"
	}
	files := map[string]string{
		"passwd":        passwd(s),
		"group":         group(s),
		"hosts":         hosts(host, s.Task.Network.Peers),
		"hostname":      host + "\n",
		"resolv.conf":   "",
		"nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\nprotocols: files\nservices: files\n",
		"profile":       "umask 022\n",
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(etc, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	for _, name := range etcFiles {
		b, err := os.ReadFile("/etc/" + name)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(etc, name), b, 0o644)
		}
		if err != nil {
			return err
		}
	}
	for _, pattern := range etcFolders {
		dirs, err := filepath.Glob("/etc/" + pattern)
		if err != nil {
			return err
		}
		for _, d := range dirs {
			if err := bind(d, root+d, true); err != nil && !errors.Is(err, fs.ErrPermission) {
				return err
			}
		}
	}
	if s.CABundle != "" {
		if err := bind(s.CABundle, filepath.Join(root, "run/clary/ca.pem"), true); err != nil {
			return fmt.Errorf("CA bundle: %w", err)
		}
	}
	if _, err := os.Stat("/etc/ssl/openssl.cnf"); err == nil {
		if err := bind("/etc/ssl/openssl.cnf", filepath.Join(etc, "ssl/openssl.cnf"), true); err != nil {
			return err
		}
	}
	return own(etc, s.HostUID)
}

// passwd names who there is. Where the task has one id only, it is its user's
// first, so that whoever looks it up finds the user's name and home, and root's
// all the same.
func passwd(s *task.Spec) string {
	const root, nobody = "root:x:0:0:root:/root:/bin/bash\n", "nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n"
	u := s.Task.User
	if u == nil {
		return root + "job:x:1000:1000:job:/tmp:/bin/bash\n" + nobody
	}
	user := fmt.Sprintf("%s:x:%d:%d:%s:%s:/bin/bash\n", u.Name, s.UserID(), s.UserID(), u.Name, u.Home)
	if s.UserID() == task.RootID {
		return user + root + nobody
	}
	return root + user + nobody
}

func group(s *task.Spec) string {
	const root, tty, nobody = "root:x:0:\n", "tty:x:5:\n", "nogroup:x:65534:\n"
	u := s.Task.User
	if u == nil {
		return root + tty + "job:x:1000:\n" + nobody
	}
	user := fmt.Sprintf("%s:x:%d:\n", u.Name, s.UserID())
	if s.UserID() == task.RootID {
		return user + root + tty + nobody
	}
	return root + tty + user + nobody
}

// own gives a folder of our own making, not what is mounted below it, to the
// task, so that it may change its copy.
func own(dir string, uid int) error {
	if uid == 0 {
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Type().IsRegular() {
			if err := os.Lchown(filepath.Join(dir, e.Name()), uid, uid); err != nil {
				return err
			}
		}
	}
	return os.Lchown(dir, uid, uid)
}

// hosts is the task's hosts file. Peers are known by name; the address of each
// is its place in the list.
func hosts(host string, peers []string) string {
	var b strings.Builder
	b.WriteString("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n")
	if len(peers) == 0 {
		peers = []string{host}
	}
	for i, p := range peers {
		fmt.Fprintf(&b, "%s %s\n", PeerAddr(i), p)
	}
	return b.String()
}
