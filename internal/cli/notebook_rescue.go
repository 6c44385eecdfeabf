package cli

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"clary/internal/cli/rescue"
	"clary/internal/client"
	"clary/internal/stage/agent"
)

const (
	rescuePrefix = "clary-rescue/"
	manifestFile = "manifest.json"
	looseFile    = "loose.tar.gz"
	maxManifest  = 4 << 20
)

// rescueRow is one rescue as --json prints it.
type rescueRow struct {
	agent.Manifest
	Bytes int64
	URI   string // of its folder
	key   string
}

func (a *app) notebookRescue() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rescue", Short: "What was kept of deleted notebook instances", Aliases: []string{"rescues"},
		Long: "When a notebook instance is deleted, what on its volume is nowhere else is kept first, in the bucket\n" +
			"sagemaker-REGION-ACCOUNT: a Git bundle of each repository with work that no remote has, and an archive of\n" +
			"files that are in no repository.",
	}
	ls := a.verb("ls [NAME]", "List what was kept, the newest first", cobra.MaximumNArgs(1), func(ctx context.Context, n *notebooks, args []string) error {
		return n.listRescues(ctx, strings.Join(args, ""))
	})
	ls.Aliases = []string{"list"}
	ls.Flags().BoolVar(&a.json, "json", false, "print JSON")
	var at, to string
	restore := a.verb("restore NAME", "Bring back what was kept of an instance, the last time unless told otherwise", cobra.ExactArgs(1), func(ctx context.Context, n *notebooks, args []string) error {
		r, err := n.pick(ctx, args[0], at)
		if err != nil {
			return err
		}
		return n.restore(ctx, r, cmp.Or(to, args[0]))
	})
	restore.Flags().StringVar(&at, "at", "", "when it was kept, as ls prints it, or the begin of that")
	restore.Flags().StringVar(&to, "to", "", "folder to make (default: NAME); one that is there must be empty")
	cmd.AddCommand(ls, restore)
	return cmd
}

// bucket is where the server keeps rescues.
func (n *notebooks) bucket() string { return "sagemaker-" + n.t.Region + "-" + n.t.Account }

// rescues are what was kept of an instance, "" of all, the newest first.
func (n *notebooks) rescues(ctx context.Context, name string) ([]rescueRow, error) {
	prefix := rescuePrefix
	if name != "" {
		prefix += name + "/"
	}
	rows := []rescueRow{}
	for o, err := range n.c.List(ctx, n.bucket(), prefix) {
		if client.IsNotFound(err) {
			return rows, nil // nothing was ever kept
		}
		if err != nil {
			return nil, worded(err, n.t.Addr)
		}
		parts := strings.Split(o.Key, "/")
		if len(parts) != 4 || parts[3] != manifestFile || o.Size > maxManifest {
			continue
		}
		r := rescueRow{key: path.Dir(o.Key), URI: "s3://" + n.bucket() + "/" + path.Dir(o.Key) + "/"}
		text, err := n.read(ctx, o.Key)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(text, &r.Manifest); err != nil { // not the server's: others write to the bucket too
			if _, err := fmt.Fprintf(n.Err, "%s is no manifest of a rescue: %s\n", printable("s3://"+n.bucket()+"/"+o.Key), printable(err.Error())); err != nil {
				return nil, err
			}
			continue
		}
		for _, f := range r.Files {
			r.Bytes += f.Bytes
		}
		rows = append(rows, r)
	}
	slices.SortStableFunc(rows, func(a, b rescueRow) int { return b.At.Compare(a.At) })
	return rows, nil
}

func (n *notebooks) read(ctx context.Context, key string) ([]byte, error) {
	r, _, err := n.c.Get(ctx, n.bucket(), key)
	if err != nil {
		return nil, err
	}
	defer r.Close() //nolint:errcheck // read only
	return io.ReadAll(io.LimitReader(r, maxManifest))
}

func (n *notebooks) listRescues(ctx context.Context, name string) error {
	rows, err := n.rescues(ctx, name)
	if err != nil {
		return err
	}
	if n.json {
		return n.printJSON(rows)
	}
	if len(rows) == 0 {
		_, err := fmt.Fprintln(n.Out, "Nothing was kept of a deleted notebook instance.")
		return err
	}
	var cells [][]string
	for _, r := range rows {
		cells = append(cells, []string{r.Instance, r.at(), fmt.Sprint(len(r.Files)), inBytes(r.Bytes), r.URI})
	}
	printTable(n.Out, []string{"notebook", "at", "files", "size", "where"}, cells, nil, 3, 4)
	return nil
}

func (r rescueRow) at() string { return r.At.UTC().Format(time.RFC3339) }

// tellRescue says what a deletion kept.
func (n *notebooks) tellRescue(ctx context.Context, name string, before []rescueRow) error {
	rows, err := n.rescues(ctx, name)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if slices.ContainsFunc(before, func(b rescueRow) bool { return b.key == r.key }) {
			continue
		}
		if _, err := fmt.Fprintf(n.Err, "%s is deleted. What only its volume had is in %s (%s): clary notebook rescue restore %s\n", name, r.URI, inBytes(r.Bytes), name); err != nil {
			return err
		}
		for _, note := range r.Notes {
			if _, err := fmt.Fprintf(n.Err, "  %s\n", printable(note)); err != nil {
				return err
			}
		}
	}
	return nil
}

// pick is the rescue that is meant.
func (n *notebooks) pick(ctx context.Context, name, at string) (rescueRow, error) {
	rows, err := n.rescues(ctx, name)
	if err != nil {
		return rescueRow{}, err
	}
	if len(rows) == 0 {
		return rescueRow{}, fmt.Errorf("nothing was kept of %s: see clary notebook rescue ls", name)
	}
	if at == "" {
		return rows[0], nil
	}
	plain := strings.NewReplacer("-", "", ":", "", " ", "T")
	var found []rescueRow
	for _, r := range rows {
		if strings.HasPrefix(plain.Replace(r.at()), plain.Replace(at)) {
			found = append(found, r)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return rescueRow{}, fmt.Errorf("nothing was kept of %s at %s: see clary notebook rescue ls %s", name, at, name)
	}
	return rescueRow{}, fmt.Errorf("%d times something was kept of %s at %s: say more of the time", len(found), name, at)
}

var fileName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

// restore brings a rescue back into a folder. What cannot be brought back is
// said, and keeps nothing else from it.
func (n *notebooks) restore(ctx context.Context, r rescueRow, to string) error {
	temp, err := os.MkdirTemp("", "clary-rescue-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp) //nolint:errcheck // copies
	home := filepath.Join(temp, "home")
	if err := os.Mkdir(home, 0o700); err != nil {
		return err
	}
	target, err := rescue.Open(to, home)
	if err != nil {
		return err
	}
	defer target.Close() //nolint:errcheck // a folder
	var failed error
	// The outer before the inner, and loose files into what is there then.
	slices.SortStableFunc(r.Files, func(a, b agent.File) int { return cmp.Compare(turn(a), turn(b)) })
	for _, f := range r.Files {
		said, err := n.bring(ctx, r, f, target, temp)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		n.line.clear()
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", f.Name, err))
			continue
		}
		said = slices.Concat([]string{filepath.Join(target.Dir, f.From) + ": " + f.What}, said)
		if _, err := fmt.Fprintln(n.Out, printable(strings.Join(said, "; "))); err != nil {
			return err
		}
	}
	for _, note := range r.Notes {
		if _, err := fmt.Fprintln(n.Err, printable(note)); err != nil {
			return err
		}
	}
	return failed
}

// turn orders files: by how deep their folders lie, loose files last.
func turn(f agent.File) int {
	switch {
	case f.Name == looseFile:
		return 1 << 30
	case f.From == ".":
		return 0
	}
	return 1 + strings.Count(f.From, "/")
}

// bring fetches one file and restores it.
func (n *notebooks) bring(ctx context.Context, r rescueRow, f agent.File, target *rescue.Target, temp string) ([]string, error) {
	if !fileName.MatchString(f.Name) {
		return nil, errors.New("this is no name of a rescue's file")
	}
	file := filepath.Join(temp, f.Name)
	if err := n.fetch(ctx, r.key+"/"+f.Name, file, f); err != nil {
		return nil, err
	}
	defer os.Remove(file) //nolint:errcheck // it goes with its folder
	switch {
	case f.Name == looseFile:
		return nil, target.Loose(ctx, file)
	case strings.HasSuffix(f.Name, ".bundle"):
		return target.Repository(ctx, file, f.From)
	}
	return nil, errors.New("nothing is known of such a file")
}

// fetch copies a file from the bucket. It must be the one that was kept.
func (n *notebooks) fetch(ctx context.Context, key, to string, want agent.File) error {
	n.line.show("fetching " + want.Name + ", " + inBytes(want.Bytes))
	in, o, err := n.c.Get(ctx, n.bucket(), key)
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // read only
	if o.Size != want.Bytes {
		return fmt.Errorf("it has %d bytes in the bucket, and had %d", o.Size, want.Bytes)
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	sum := sha256.New()
	_, err = io.Copy(io.MultiWriter(out, sum), in)
	if err = errors.Join(err, out.Close()); err != nil {
		return err
	}
	if hex.EncodeToString(sum.Sum(nil)) != want.SHA256 {
		return errors.New("its contents are not what was kept (SHA-256)")
	}
	return nil
}

// inBytes writes a size as people read it.
func inBytes(n int64) string {
	f, unit := float64(n), "B"
	for _, u := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if f < 1024 {
			break
		}
		f, unit = f/1024, u
	}
	if unit == "B" {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", f, unit)
}
