package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"clary/internal/compute"
	"clary/internal/runtimes"
)

// IO is what a command speaks through.
type IO struct {
	In       io.Reader
	Out, Err io.Writer
	Env      []string // of the process
	// Parent names the program that started this one; nil: the system is asked.
	Parent func() string
	// Exec replaces the process by a program.
	Exec func(path string, argv, env []string) error
	// Serve runs a server until ctx is done; Probe says what its compute
	// driver finds on this machine; Runtimes, what a data folder keeps of them.
	Serve    func(ctx context.Context, o ServeOptions, ready func(addr string)) error
	Probe    func(ctx context.Context) (driver string, c compute.Capacity, err error)
	Runtimes func(data string) (runtimes.Survey, error)
	// Examples are the files that a first notebook instance is given.
	Examples fs.FS
}

// app is what the verbs share.
type app struct {
	IO
	data string // the data folder
	json bool
}

// Exit is an exit code without a message of its own.
type Exit int

func (e Exit) Error() string { return fmt.Sprintf("exit %d", int(e)) }

// Main runs one command and returns its exit code.
func Main(ctx context.Context, io IO, args []string) int {
	cmd := New(io) //nolint:contextcheck // cobra hands the context to the verb
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(ctx)
	var code Exit
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	}
	_, _ = fmt.Fprintln(io.Err, "clary:", unknown(err)) // there is no other place to say it
	return 1
}

// New makes the command tree.
func New(io IO) *cobra.Command {
	a := &app{IO: io}
	root := &cobra.Command{
		Use:   "clary",
		Short: "Your own SageMaker: unmodified SDKs, boto3 and the AWS CLI train on this machine",
		Long: "Clary answers the SageMaker API on this machine. Start a server, then run any SageMaker script:\n\n" +
			"  clary serve\n  clary run -- python train.py",
		SilenceUsage: true, SilenceErrors: true,
	}
	root.SetIn(io.In)
	root.SetOut(io.Out)
	root.SetErr(io.Err)
	root.PersistentFlags().StringVar(&a.data, "data", defaultData(a.env), "folder of everything durable")
	root.AddCommand(a.up(), a.down(), a.open(), a.serve(), a.run(), a.envCmd(), a.doctor(), a.ps(), a.notebook(), a.endpoint(), a.logs(), a.cost(), a.bill(), a.budget(), a.forgotten(), a.audit(), a.version())
	helpful(root)
	return root
}

// defaultData is where the XDG rules put it, unless CLARY_DATA says otherwise.
func defaultData(get func(string) string) string {
	if d := get("CLARY_DATA"); d != "" {
		return d
	}
	base := get("XDG_DATA_HOME")
	if base == "" {
		home := get("HOME")
		if home == "" {
			return "clary-data"
		}
		base = filepath.Join(home, ".local", "share")
	}
	return filepath.Join(base, "clary")
}

func (a *app) env(name string) string {
	v, _ := lookup(a.Env, name)
	return v
}

func (a *app) version() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(a.Out, "clary", buildVersion())
			return err
		},
	}
}

func buildVersion() string {
	b, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := b.Main.Version
	if v == "" {
		v = "(devel)"
	}
	return v + " " + b.GoVersion
}

// terminal says whether w is one.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
