package cli

import (
	"crypto/rand"
	"errors"
	"fmt"
	"html"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"clary/internal/aws/sigv4"
)

// The console's sign-in link, as the console room has it; a test holds the two
// together.
const (
	linkService = "signin"
	linkPath    = "/link"
	linkLife    = 5 * time.Minute
)

func (a *app) open() *cobra.Command {
	var show bool
	cmd := &cobra.Command{
		Use: "open [NOTEBOOK|/PAGE]", Short: "Open the console, or a notebook instance, in the browser", Args: cobra.MaximumNArgs(1),
		Long: "Open the console in the browser, signed in by a link that works once, within five minutes;\n" +
			"/PAGE is a page of it, like /training-jobs. With the name of a notebook instance, open that.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && !strings.HasPrefix(args[0], "/") {
				n, err := a.toNotebooks()
				if err != nil {
					return err
				}
				defer n.close()
				return n.open(cmd.Context(), args[0], "", false, show)
			}
			t, err := a.target()
			if err != nil {
				return err
			}
			page := "/"
			if len(args) == 1 {
				page = args[0]
			}
			return a.openConsole(t, page, show)
		},
	}
	cmd.Flags().BoolVar(&show, "print", false, "print the link instead")
	return cmd
}

// openConsole starts the browser, or prints the link where there is none.
func (a *app) openConsole(t target, page string, show bool) error {
	link, err := t.link(page)
	if err != nil {
		return err
	}
	return a.browse(link, "The console opens in your browser: http://"+t.consoleHost()+"/", show)
}

// browse opens a link in the browser and says so, or prints the link where
// there is none. A link signs in whoever has it, and every user of a machine
// sees what programs are started with: the browser is given a file that only
// its own user can read, and that leads on to the link.
func (a *app) browse(link, said string, show bool) error {
	if prog := a.browser(); !show && prog != "" {
		page, err := a.leadingTo(link)
		if err != nil {
			return err
		}
		cmd := exec.Command(prog, page) //nolint:noctx,gosec // it outlives us; the file is ours
		cmd.Env = a.Env
		if cmd.Start() == nil {
			_, err := fmt.Fprintln(a.Out, said+" (if it does not: --print)")
			return err
		}
	}
	_, err := fmt.Fprintln(a.Out, link)
	return err
}

const leadPattern = "open-*.html"

// leadingTo writes a page that leads a browser to a link, and gives the page's
// address. Pages of links that have expired are removed.
func (a *app) leadingTo(link string) (string, error) {
	dir, err := filepath.Abs(filepath.Join(a.data, "run"))
	if err != nil {
		return "", err
	}
	old, err := filepath.Glob(filepath.Join(dir, leadPattern))
	if err != nil {
		return "", err
	}
	for _, path := range old {
		if info, err := os.Lstat(path); err != nil || time.Since(info.ModTime()) < linkLife {
			continue
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) { // another `open` was quicker
			return "", fmt.Errorf("data folder: %w", err)
		}
	}
	f, err := os.CreateTemp(dir, leadPattern) // 0600
	if err != nil {
		return "", fmt.Errorf("data folder: %w", err)
	}
	to := html.EscapeString(link)
	_, err = fmt.Fprintf(f, "<!doctype html>\n<meta charset=\"utf-8\">\n<meta name=\"referrer\" content=\"no-referrer\">\n"+
		"<meta http-equiv=\"refresh\" content=\"0; url=%s\">\n<title>Clary</title>\n<p><a href=\"%s\">On to Clary</a>\n", to, to)
	if err := errors.Join(err, f.Close()); err != nil {
		return "", errors.Join(fmt.Errorf("data folder: %w", err), os.Remove(f.Name()))
	}
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(f.Name())}).String(), nil
}

// browser is the program that opens a link on this desktop, or "".
func (a *app) browser() string {
	if runtime.GOOS == "darwin" {
		return "open"
	}
	if a.env("DISPLAY") == "" && a.env("WAYLAND_DISPLAY") == "" {
		return ""
	}
	path, err := findProgram("xdg-open", a.Env)
	if err != nil {
		return ""
	}
	return path
}

func (t target) consoleHost() string {
	_, port, err := net.SplitHostPort(t.Addr)
	if err != nil {
		return "console.localhost"
	}
	return net.JoinHostPort("console.localhost", port)
}

// link signs a link to a page of the console. Signatures count seconds: the
// nonce tells two links of the same second apart.
func (t target) link(page string) (string, error) {
	u := url.URL{Scheme: "http", Host: t.consoleHost(), Path: linkPath, RawQuery: url.Values{"next": {page}, "nonce": {rand.Text()}}.Encode()}
	r, err := http.NewRequest(http.MethodGet, u.String(), nil) //nolint:noctx // it is only signed
	if err != nil {
		return "", err
	}
	sigv4.Presign(r, sigv4.Credentials{AccessKeyID: t.key.AccessKeyID, SecretAccessKey: t.key.SecretAccessKey}, t.Region, linkService, linkLife, time.Now())
	return r.URL.String(), nil
}
