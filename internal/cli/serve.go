package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// ServeOptions are what an operator chooses for a server: server.Config.
type ServeOptions struct {
	Data            string
	Listen          string
	Account         string
	Region          string
	StrictRoles     bool
	HoldDescribe    time.Duration
	LogLevel        slog.Level
	TaskEgress      bool
	TaskEgressAllow []netip.Prefix
	InstanceScale   float64
	Prices          string
	WheelIndex      string
	TLSCert, TLSKey string
	Hosts           []string
	BucketSuffixes  []string
	NotebookSuffix  string
	NotebookIdle    time.Duration

	SMTP, SMTPPassword, MailFrom string

	InvokePayload                      int64 // bytes
	InvokeInFlight                     int64
	InvokeTimeout, InvokeStreamTimeout time.Duration

	Replace bool
}

func (a *app) serve() *cobra.Command {
	var (
		cfg     ServeOptions
		level   string
		allow   []string
		payload int64
		flight  int64
		secret  string
	)
	cmd := &cobra.Command{
		Use: "serve", Short: "Run the server", Args: cobra.NoArgs,
		Long: "Run the server until it is interrupted. Jobs go on without it and are found again at the next start.\n" +
			"There is nothing to configure: the first start makes the root key and the certificate authority in the data folder.\n" +
			"For a new version or other settings, start it with --replace beside the one that runs.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cfg.LogLevel.UnmarshalText([]byte(level)); err != nil {
				return fmt.Errorf("--log-level %s: want debug, info, warn or error", level)
			}
			for _, s := range allow {
				p, err := netip.ParsePrefix(s)
				if err != nil {
					return fmt.Errorf("--task-egress-allow %s: want a range like 10.1.0.0/16", s)
				}
				cfg.TaskEgressAllow = append(cfg.TaskEgressAllow, p)
			}
			if payload < 1 || payload > maxPayload || flight < 4*payload {
				return fmt.Errorf("--invoke-payload-mib %d, --invoke-in-flight-mib %d: want 1 to %d, and at least four times as much", payload, flight, maxPayload)
			}
			var err error
			if cfg.SMTPPassword, err = a.smtpPassword(secret); err != nil {
				return err
			}
			cfg.InvokePayload, cfg.InvokeInFlight = payload<<20, flight<<20
			cfg.Data = a.data
			if cfg.Replace && !cmd.Flags().Changed("listen") {
				cfg.Listen = "" // where the other one does
			}
			return a.serveUntil(cmd.Context(), cfg)
		},
	}
	f := cmd.Flags()
	f.StringVar(&cfg.Listen, "listen", "127.0.0.1:2527", "address to listen on; one that other machines reach needs --tls-cert and --tls-key")
	f.BoolVar(&cfg.Replace, "replace", false, "take the place of the server that runs on the data folder, with its sockets: no request is refused or lost. That one goes when what it has begun is done; if this one cannot start, it serves on, unless a newer version has changed the database by then")
	f.StringVar(&cfg.TLSCert, "tls-cert", "", "certificate chain, PEM; read again when the file changes")
	f.StringVar(&cfg.TLSKey, "tls-key", "", "its private key, PEM")
	f.StringSliceVar(&cfg.Hosts, "host", nil, "a name or address by which clients reach this server, beside those in the certificate")
	f.StringSliceVar(&cfg.BucketSuffixes, "bucket-suffix", nil, "a domain below which a host name is a bucket, as bucket.s3.example.com is below s3.example.com")
	f.StringVar(&cfg.NotebookSuffix, "notebook-suffix", "", "a domain of its own below which browsers of other machines find notebook instances, as nb-….notebooks.example.org is below notebooks.example.org; the certificate needs *.DOMAIN")
	f.DurationVar(&cfg.NotebookIdle, "notebook-idle-stop", 0, "stop notebook instances that nobody has used for so long, five minutes at least (90m); the tag clary:idle-stop-minutes of an instance says something else for it, as minutes or off")
	f.Int64Var(&payload, "invoke-payload-mib", 6, "the largest request and answer of InvokeEndpoint, in MiB")
	f.Int64Var(&flight, "invoke-in-flight-mib", 256, "memory for the requests and answers of all endpoints at a time, in MiB; beyond it InvokeEndpoint answers ServiceUnavailable")
	f.DurationVar(&cfg.InvokeTimeout, "invoke-timeout", time.Minute, "how long a model may take to answer InvokeEndpoint")
	f.DurationVar(&cfg.InvokeStreamTimeout, "invoke-stream-timeout", 8*time.Minute, "and InvokeEndpointWithResponseStream, to the end of the stream")
	f.StringVar(&cfg.SMTP, "smtp", "", "the mail server that letters go by, as smtp://user@host:port (STARTTLS, but on loopback or with ?starttls=off) or smtps://user@host:port; the password is CLARY_SMTP_PASSWORD of the environment")
	f.StringVar(&secret, "smtp-password-file", "", "or the first line of this file")
	f.StringVar(&cfg.MailFrom, "mail-from", "", "the address that letters come from")
	f.StringVar(&cfg.Account, "account", "123456789012", "the account's number, 12 digits")
	f.StringVar(&cfg.Region, "region", "us-east-1", "the region that `clary env` points clients to; every region is served")
	f.BoolVar(&cfg.StrictRoles, "strict-roles", false, "refuse roles that were not created; without it an unknown role of the account acts with full access")
	f.DurationVar(&cfg.HoldDescribe, "hold-describe", 0, "hold each look of the SageMaker SDK at an unfinished job, or at an endpoint that changes, up to so long: fit() returns sooner, log lines come later (50s is the most useful)")
	f.StringVar(&level, "log-level", "info", "debug, info, warn or error")
	f.BoolVar(&cfg.TaskEgress, "task-egress", true, "let jobs that are not isolated reach the internet through a filtered proxy")
	f.StringSliceVar(&allow, "task-egress-allow", nil, "private ranges that jobs may reach too, like 10.1.0.0/16")
	f.Float64Var(&cfg.InstanceScale, "instance-scale", 1, "divide the sizes of instance types by this")
	f.StringVar(&cfg.WheelIndex, "wheel-index", "", "where the runtimes of PyTorch and Hugging Face take their largest wheels from, as https://download.pytorch.org/whl/cpu; their hashes are not checked. Without it they come from the package index, with what GPUs need")
	f.StringVar(&cfg.Prices, "prices", "", "a price file of your own, CSV like internal/meter/data/prices.csv; its rows replace the built-in list prices")
	return cmd
}

// smtpPassword is the mail server's, of a file or of the environment.
func (a *app) smtpPassword(file string) (string, error) {
	if file == "" {
		for _, v := range a.Env {
			if p, ok := strings.CutPrefix(v, "CLARY_SMTP_PASSWORD="); ok {
				return p, nil
			}
		}
		return "", nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("--smtp-password-file: %w", err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimRight(line, "\r"), nil
}

// maxPayload is in MiB; each is held in memory.
const maxPayload = 64

// Running is what a running server tells its clients, in run/server.json.
type running struct {
	Addr, Region, Account string
	PID                   int
}

func runningFile(data string) string { return filepath.Join(data, "run", "server.json") }

func (a *app) serveUntil(ctx context.Context, cfg ServeOptions) error {
	if !accountID(cfg.Account) {
		return fmt.Errorf("--account %s: want 12 digits", cfg.Account)
	}
	if cfg.InstanceScale <= 0 {
		return fmt.Errorf("--instance-scale %v: want more than 0", cfg.InstanceScale)
	}
	if cfg.InvokeTimeout <= 0 || cfg.InvokeStreamTimeout <= 0 {
		return errors.New("--invoke-timeout, --invoke-stream-timeout: want more than 0")
	}
	if u, err := url.Parse(cfg.WheelIndex); cfg.WheelIndex != "" && (err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http") {
		return fmt.Errorf("--wheel-index %s: want an address like https://download.pytorch.org/whl/cpu", cfg.WheelIndex)
	}
	if d := cfg.NotebookIdle; d != 0 && d < 5*time.Minute {
		return fmt.Errorf("--notebook-idle-stop %s: want five minutes or more, or 0 for never", d)
	}
	asker := a.asker()
	start := time.Now()
	err := a.Serve(ctx, cfg, func(addr string) {
		text := fmt.Sprintf("Clary answers on http://%s (data in %s, ready after %s).\n"+
			"Run a script:  clary run -- python train.py\nSet a shell:   eval \"$(clary env)\"\n",
			addr, cfg.Data, time.Since(start).Round(time.Millisecond))
		if host, _, err := net.SplitHostPort(cfg.Listen); err == nil && cfg.TLSCert != "" && !net.ParseIP(host).IsLoopback() {
			text += "Other machines: HTTPS on " + cfg.Listen + ", by the names of the certificate and of --host\n"
		}
		if err := a.tell(running{Addr: addr, Region: cfg.Region, Account: cfg.Account, PID: os.Getpid()}); err != nil {
			text += "Other commands will not find this server: " + err.Error() + "\n"
		}
		if err := a.notify(); err != nil { // first: when up is told, all are
			text += "The service manager was not told: " + err.Error() + "\n"
		}
		if asker != nil { // our output is the log
			if err := renewLog(serverLog(a.data), syscall.Stdout, syscall.Stderr); err != nil {
				text += "The log does not begin anew: " + err.Error() + "\n"
			}
		}
		if err := tellReady(asker, addr); err != nil {
			text += "clary up was not told: " + err.Error() + "\n"
		}
		_, _ = io.WriteString(a.Err, text) // a server that nobody watches serves on
	})
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return err
}

// tell writes the file by which the other verbs find this server.
func (a *app) tell(r running) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return writeAtomic(runningFile(a.data), b, 0o600)
}

func accountID(s string) bool {
	if len(s) != 12 {
		return false
	}
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// writeAtomic replaces a file as a whole.
func writeAtomic(path string, data []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	_, werr := f.Write(data)
	if err := errors.Join(werr, f.Chmod(mode), f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return os.Rename(f.Name(), path)
}
