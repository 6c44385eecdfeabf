// Package bundle is what both ends of a rescue know of its bundles: under which
// refs a repository's state lies in one, and how git is run for a repository
// that nobody trusts.
//
// A bundle holds every ref of its repository under its own name, HEAD if it has
// a commit, and the refs below Prefix:
//
//	info        a commit of one file, InfoFile: an Info
//	index       a commit of what was staged, on HEAD's
//	worktree    a commit of what lay in the working tree, on index's. A file
//	            that index lacks was untracked
//	conflict/N  a commit of the entries of stage N (1 to 3) of paths in conflict
//	stash/N     the stashes, 0 the newest
//	merge       the other side of a merge that was under way
//
// A bare repository has neither index nor worktree.
package bundle

import (
	"regexp"
	"strings"
	"sync"
)

// The names in a bundle.
const (
	Prefix   = "refs/clary-rescue/"
	InfoRef  = Prefix + "info"
	Index    = Prefix + "index"
	Worktree = Prefix + "worktree"
	Conflict = Prefix + "conflict/"
	Stash    = Prefix + "stash/"
	Merge    = Prefix + "merge"
	InfoFile = "rescue.json"
)

// RawAttributes is an info/attributes that keeps git from converting anything:
// files are then what they are, byte for byte.
const RawAttributes = "* -text -ident -filter -working-tree-encoding\n"

// Info is what a repository's refs do not say.
type Info struct {
	Folder    string // below SageMaker; "" is SageMaker itself
	Bare      bool   `json:",omitempty"`
	Head      string `json:",omitempty"` // the ref that HEAD names, born or not; "" detached
	Commit    string `json:",omitempty"` // HEAD's; "" unborn
	Format    string // sha1, sha256
	Remotes   []Remote
	Upstreams []Upstream
	Stashes   []string `json:",omitempty"` // their messages, the newest first
	Shallow   []string `json:",omitempty"` // commits whose parents are not there
	Settings  map[string]string
}

// Remote is one without its credentials.
type Remote struct{ Name, URL string }

// Upstream is what a branch follows.
type Upstream struct{ Branch, Remote, Merge string }

// Settings are the ones of a repository's own configuration that say what its
// files mean, with the values that they may have. No other setting is read.
func Settings() map[string][]string {
	boolean := []string{"true", "false"}
	return map[string][]string{
		"core.filemode": boolean, "core.ignorecase": boolean,
		"core.autocrlf": {"true", "false", "input"}, "core.eol": {"lf", "crlf", "native"},
	}
}

// Every task starts the program that this is a part of; few need these.
var (
	hash = pattern(`^([0-9a-f]{40}|[0-9a-f]{64})$`)
	word = pattern(`^[A-Za-z0-9_][A-Za-z0-9._/-]{0,199}$`)
	scp  = pattern(`^([A-Za-z0-9._-]+@)?[A-Za-z0-9][A-Za-z0-9.-]*:[^:\s][^\s]*$`)
	web  = pattern(`^((https?|ssh|git)://[A-Za-z0-9\[]|ssh://[A-Za-z0-9._-]+@|file:///|/)\S+$`)
)

// pattern compiles an expression when it is first used.
func pattern(expr string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
}

// IsHash says whether s is an object's name in full.
func IsHash(s string) bool { return hash().MatchString(s) }

// IsRemoteName says whether a remote may be called s here.
func IsRemoteName(s string) bool { return word().MatchString(s) && IsRef("refs/remotes/"+s+"/x") }

// IsURL says whether s is an address that git fetches from without running
// anything else.
func IsURL(s string) bool {
	return len(s) <= 2048 && (web().MatchString(s) || scp().MatchString(s) && !strings.Contains(s, "::") && !strings.Contains(s, "://"))
}

// IsRef says whether git takes s for the name of a ref.
func IsRef(s string) bool {
	if !strings.HasPrefix(s, "refs/") || len(s) > 1024 || strings.HasSuffix(s, ".") || strings.HasSuffix(s, "/") ||
		strings.Contains(s, "..") || strings.Contains(s, "@{") || strings.Contains(s, "//") || strings.ContainsAny(s, " ~^:?*[\\\x7f") {
		return false
	}
	for part := range strings.SplitSeq(s, "/") {
		if strings.HasPrefix(part, ".") || strings.HasSuffix(part, ".lock") {
			return false
		}
	}
	return strings.IndexFunc(s, func(r rune) bool { return r < ' ' }) < 0
}
