package rescue

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"clary/internal/stage/rescue/bundle"
)

// How much of a repository's own files is read.
const (
	maxRefs   = 50_000
	maxConfig = 1 << 20
	maxPacked = 32 << 20
	maxIndex  = 1 << 30
)

// shadow is a repository of ours that has another's objects, refs, HEAD and
// index. git is run in it alone, so that nothing of what the other's
// configuration or hooks say is ever read by it; what it writes stays here.
type shadow struct {
	bundle.Git
	repo *repo
	refs map[string]string // by name
	info bundle.Info
	lost int // refs whose objects are not there
}

// mirror makes a repository's shadow in an empty folder.
func (s *scan) mirror(ctx context.Context, r *repo, git bundle.Git, dir string) (*shadow, error) {
	for _, d := range []string{"objects/info", "objects/pack", "refs/heads", "info", "from"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			return nil, err
		}
	}
	m := &shadow{Git: git, repo: r, refs: map[string]string{}}
	m.Dir, m.Work = dir, r.work
	m.info = bundle.Info{Folder: r.folder, Bare: r.work == "", Format: "sha1", Settings: map[string]string{}}
	if err := m.configure(ctx); err != nil {
		return nil, err
	}
	if err := s.lend(m); err != nil {
		return nil, err
	}
	if err := s.readRefs(m); err != nil {
		return nil, err
	}
	if err := m.readHead(); err != nil {
		return nil, err
	}
	for from, to := range map[string]string{"shallow": "shallow", "info/exclude": "info/exclude", "info/attributes": "info/attributes"} {
		text, err := small(filepath.Join(r.common, from), maxConfig)
		if errors.Is(err, fs.ErrNotExist) || err == nil && text == "" {
			continue
		}
		if err != nil {
			return nil, err
		}
		if from == "shallow" {
			m.info.Shallow = strings.Fields(text)
			if slices.ContainsFunc(m.info.Shallow, func(h string) bool { return !bundle.IsHash(h) }) {
				return nil, errors.New("its list of shallow commits is broken")
			}
		}
		if err := os.WriteFile(filepath.Join(dir, to), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	if err := m.readStashes(); err != nil {
		return nil, err
	}
	return m, m.check(ctx)
}

// configure reads the few settings that matter. git reads the file as text: it
// is nobody's configuration, and leads to no other.
func (m *shadow) configure(ctx context.Context) error {
	path := filepath.Join(m.repo.common, "config")
	text, err := small(path, maxConfig)
	if errors.Is(err, fs.ErrNotExist) {
		text, err = "", nil
	}
	if err != nil {
		return err
	}
	remotes := map[string]string{}
	upstreams := map[string]bundle.Upstream{}
	config := "[core]\n\trepositoryformatversion = 0\n\tbare = false\n"
	if err := os.WriteFile(filepath.Join(m.Dir, "HEAD"), []byte("ref: refs/heads/main\n"), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(m.Dir, "config"), []byte(config), 0o600); err != nil {
		return err
	}
	allowed := bundle.Settings()
	outside := m.Git
	outside.Work = ""
	err = outside.Each(ctx, strings.NewReader(text), func(record string) error {
		key, value, _ := strings.Cut(record, "\n")
		section, rest, _ := strings.Cut(key, ".")
		name, last := rest, ""
		if i := strings.LastIndexByte(rest, '.'); i >= 0 {
			name, last = rest[:i], rest[i+1:]
		}
		switch {
		case key == "extensions.objectformat":
			if value != "sha1" && value != "sha256" {
				return fmt.Errorf("its objects are named by %s", bundle.Printable(value))
			}
			m.info.Format = value
		case key == "extensions.refstorage" && value != "files":
			return fmt.Errorf("its refs are stored as %s", bundle.Printable(value))
		case section == "remote" && last == "url" && remotes[name] == "":
			remotes[name] = withoutCredentials(value)
		case section == "branch" && last == "remote":
			u := upstreams[name]
			u.Branch, u.Remote = name, value
			upstreams[name] = u
		case section == "branch" && last == "merge":
			u := upstreams[name]
			u.Branch, u.Merge = name, value
			upstreams[name] = u
		case slices.Contains(allowed[key], value):
			m.info.Settings[key] = value
		}
		return nil
	}, "config", "--file", "-", "--no-includes", "-z", "--list")
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(remotes)) {
		m.info.Remotes = append(m.info.Remotes, bundle.Remote{Name: name, URL: remotes[name]})
	}
	for _, name := range slices.Sorted(maps.Keys(upstreams)) {
		if u := upstreams[name]; u.Remote != "" && u.Merge != "" {
			m.info.Upstreams = append(m.info.Upstreams, u)
		}
	}
	if m.info.Format != "sha1" {
		config = strings.Replace(config, "version = 0", "version = 1", 1) + "[extensions]\n\tobjectformat = " + m.info.Format + "\n"
	}
	for _, key := range slices.Sorted(maps.Keys(m.info.Settings)) {
		section, name, _ := strings.Cut(key, ".")
		config += "[" + section + "]\n\t" + name + " = " + m.info.Settings[key] + "\n"
	}
	return os.WriteFile(filepath.Join(m.Dir, "config"), []byte(config), 0o600)
}

// withoutCredentials takes user, password and query from the address of a web
// server, and the password from others.
func withoutCredentials(address string) string {
	if !strings.Contains(address, "://") || strings.HasPrefix(address, "file:///") {
		return address // git@host:path, or a folder
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return "" // it cannot be told what in it is secret
	}
	u.RawQuery, u.Fragment, u.RawFragment, u.ForceQuery = "", "", "", false
	if u.User != nil && u.Scheme != "http" && u.Scheme != "https" {
		u.User = url.User(u.User.Username())
	} else {
		u.User = nil
	}
	return u.String()
}

// lend gives the shadow the objects of a repository, and of those that it
// borrows from itself. They are named by links of ours, whose names are plain.
func (s *scan) lend(m *shadow) error {
	objects, err := s.within(m.repo.common, "objects")
	if err != nil {
		return err
	}
	var lent []string
	queue := []string{objects}
	for len(queue) > 0 && len(lent) < 16 {
		dir := queue[0]
		queue = queue[1:]
		link := filepath.Join(m.Dir, "from", fmt.Sprint(len(lent)))
		if err := os.Symlink(dir, link); err != nil {
			return err
		}
		lent = append(lent, link)
		text, err := small(filepath.Join(dir, "info/alternates"), 64<<10)
		if err != nil {
			continue // most have none; what is missing shows when it is asked for
		}
		for line := range strings.SplitSeq(text, "\n") {
			if line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			if more, err := s.within(dir, line); err == nil {
				queue = append(queue, more)
			}
		}
	}
	return os.WriteFile(filepath.Join(m.Dir, "objects/info/alternates"), []byte(strings.Join(lent, "\n")+"\n"), 0o600)
}

// readRefs reads a repository's refs, but for symbolic ones and such as git
// would not take.
func (s *scan) readRefs(m *shadow) error {
	put := func(name, value string) error {
		if !bundle.IsRef(name) || !bundle.IsHash(value) || strings.HasPrefix(name, bundle.Prefix) {
			return nil
		}
		m.refs[name] = value
		if len(m.refs) > maxRefs {
			return fmt.Errorf("it has more than %d refs", maxRefs)
		}
		return nil
	}
	packed, err := small(filepath.Join(m.repo.common, "packed-refs"), maxPacked)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for lines := bufio.NewScanner(strings.NewReader(packed)); lines.Scan(); {
		value, name, ok := strings.Cut(lines.Text(), " ")
		if !ok || value == "#" {
			continue
		}
		if err := put(name, value); err != nil {
			return err
		}
	}
	top, err := s.within(m.repo.common, "refs")
	if err != nil {
		return err
	}
	return filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !e.Type().IsRegular() {
			return nil
		}
		text, err := small(path, 4096)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(top, path)
		if err != nil {
			return err
		}
		return put("refs/"+rel, strings.TrimSpace(text))
	})
}

// readHead reads HEAD, and the other side of a merge.
func (m *shadow) readHead() error {
	path := filepath.Join(m.repo.git, "HEAD")
	text, err := small(path, 4096)
	if to, linkErr := os.Readlink(path); linkErr == nil { // as git made it once
		text, err = "ref: "+to, nil
	}
	if err != nil {
		return err
	}
	text = strings.TrimSpace(text)
	if ref, ok := strings.CutPrefix(text, "ref:"); ok {
		ref = strings.TrimSpace(ref)
		if !bundle.IsRef(ref) {
			return errors.New("its HEAD is broken")
		}
		m.info.Head, m.info.Commit = ref, m.refs[ref]
	} else if bundle.IsHash(text) {
		m.info.Commit = text
	} else {
		return errors.New("its HEAD is broken")
	}
	if merge, err := small(filepath.Join(m.repo.git, "MERGE_HEAD"), 4096); err == nil {
		if h := strings.Fields(merge); len(h) > 0 && bundle.IsHash(h[0]) {
			m.refs[bundle.Merge] = h[0]
		}
	}
	return nil
}

// check drops refs whose objects are not there, and writes the rest.
func (m *shadow) check(ctx context.Context) error {
	names := slices.Sorted(maps.Keys(m.refs))
	var in strings.Builder
	for _, name := range names {
		in.WriteString(m.refs[name] + "\n")
	}
	if m.info.Commit != "" {
		names = append(names, "HEAD")
		in.WriteString(m.info.Commit + "\n")
	}
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := m.Stream(ctx, strings.NewReader(in.String()), w, "cat-file", "--batch-check=%(objecttype)")
		_ = w.CloseWithError(err) // a pipe's close does not fail
		done <- err
	}()
	at := 0
	for lines := bufio.NewScanner(r); lines.Scan() && at < len(names); at++ {
		kind := lines.Text()
		name := names[at]
		missing := strings.HasSuffix(kind, " missing")
		switch {
		case name == "HEAD" && kind != "commit":
			_ = r.CloseWithError(io.ErrClosedPipe)
			<-done
			return errors.New("the commit of its HEAD is not there")
		case missing, strings.HasPrefix(name, "refs/heads/") && kind != "commit":
			m.lost++
			delete(m.refs, name)
		}
	}
	_ = r.CloseWithError(io.ErrClosedPipe)
	if err := <-done; err != nil {
		return err
	}
	if at != len(names) {
		return errors.New("its objects cannot be read")
	}
	return m.writeRefs()
}

// writeRefs makes the refs git's.
func (m *shadow) writeRefs() error {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(m.refs)) {
		b.WriteString(m.refs[name] + " " + name + "\n")
	}
	if err := os.WriteFile(filepath.Join(m.Dir, "packed-refs"), []byte(b.String()), 0o600); err != nil {
		return err
	}
	head := m.info.Commit
	if m.info.Head != "" {
		head = "ref: " + m.info.Head
	}
	return os.WriteFile(filepath.Join(m.Dir, "HEAD"), []byte(head+"\n"), 0o600)
}
