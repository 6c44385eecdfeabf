package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"clary/internal/client"
	"clary/internal/meter"
	"clary/internal/resource"
)

const sagemaker = "sagemaker"

// client speaks to t as the account's root.
func (t target) client() *client.Client {
	return client.New(client.Config{
		Endpoint: "http://" + t.Addr, Region: t.Region, UserAgent: "clary-cli",
		Credentials: func(context.Context) (client.Credentials, error) {
			return client.Credentials{AccessKeyID: t.key.AccessKeyID, SecretAccessKey: t.key.SecretAccessKey}, nil
		},
	}).Patient(2*time.Second, nil)
}

// reachable says whether the server answers and takes our key.
func (a *app) reachable(ctx context.Context, t target) error {
	c := t.client()
	defer c.Close()
	return worded(c.JSON(ctx, sagemaker, "SageMaker.ListTrainingJobs", map[string]any{"MaxResults": 1}, nil), t.Addr)
}

// worded says what to do about a server that does not answer.
func worded(err error, addr string) error {
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return fmt.Errorf("no server answers on %s: start it with `clary serve`", addr)
	}
	return err
}

// epoch is a time as AWS JSON has it.
type epoch float64

func (e epoch) time() time.Time {
	if e == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(float64(e) * 1000))
}

// usage is what /_clary/usage answers.
type usage struct {
	Account, Region string
	From, To, Now   time.Time
	Usage           []resource.Usage
	Bills           map[string]meter.Statement
	// Idle says since when nobody has used a notebook instance, by name.
	Idle map[string]time.Time
	// IdleNotes say by what that is known, and what follows or followed of it.
	IdleNotes map[string]idleNote
}

// idleNote is of a notebook instance that nobody uses, or that was stopped for
// that.
type idleNote struct {
	Evidence        string
	StopAt, Stopped time.Time
}

// readUsage asks for what was used, in all regions.
func readUsage(ctx context.Context, c *client.Client, from, to time.Time) (usage, error) {
	q := url.Values{"region": {"*"}}
	if !from.IsZero() {
		q.Set("from", from.UTC().Format(time.RFC3339))
	}
	if !to.IsZero() {
		q.Set("to", to.UTC().Format(time.RFC3339))
	}
	var u usage
	return u, c.Document(ctx, sagemaker, "/_clary/usage", q, &u)
}

// namesAtOnce is how many names one question holds: they go into its address.
const namesAtOnce = 200

// readUsageOf asks for what resources of one kind used in a region.
func readUsageOf(ctx context.Context, c *client.Client, region, kind string, names []string) (usage, error) {
	all := usage{Now: time.Now(), Bills: map[string]meter.Statement{}, Idle: map[string]time.Time{}, IdleNotes: map[string]idleNote{}}
	for some := range slices.Chunk(names, namesAtOnce) {
		var u usage
		q := url.Values{"region": {region}, "kind": {kind}, "name": some}
		if err := c.Document(ctx, sagemaker, "/_clary/usage", q, &u); err != nil {
			return all, err
		}
		all.Account, all.Region, all.Now, all.Usage = u.Account, u.Region, u.Now, append(all.Usage, u.Usage...)
		for book, s := range u.Bills {
			sum := all.Bills[book]
			sum.Lines, sum.MicroUSD, sum.Unpriced = append(sum.Lines, s.Lines...), sum.MicroUSD+s.MicroUSD, sum.Unpriced || s.Unpriced
			all.Bills[book] = sum
		}
		maps.Copy(all.Idle, u.Idle)
		maps.Copy(all.IdleNotes, u.IdleNotes)
	}
	return all, nil
}

// dollars writes micro-dollars exactly.
func dollars(micro int64) string {
	sign := ""
	if micro < 0 {
		sign, micro = "-", -micro
	}
	return fmt.Sprintf("%s$%d.%06d", sign, micro/1e6, micro%1e6)
}

// sum of lines; incomplete says that some have no price.
type sum struct {
	micro, seconds int64
	incomplete     bool
}

func (s *sum) add(l meter.Line) {
	s.seconds += l.Seconds
	if l.Unpriced {
		s.incomplete = true
		return
	}
	s.micro += l.MicroUSD
}

func (s sum) String() string {
	switch {
	case s.incomplete && s.micro == 0:
		return "unpriced"
	case s.incomplete:
		return dollars(s.micro) + " + unpriced"
	}
	return dollars(s.micro)
}

// printJSON is what --json prints.
func (a *app) printJSON(v any) error {
	e := json.NewEncoder(a.Out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// printTable prints rows under a head; right lists the numbers, from 1, of
// columns with figures.
func printTable(w io.Writer, head []string, rows [][]string, foot []string, right ...int) {
	t := table.NewWriter()
	t.SetOutputMirror(w)
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	style.Format.Header, style.Format.Footer = text.FormatUpper, text.FormatDefault
	t.SetStyle(style)
	t.SuppressTrailingSpaces()
	row := func(cells []string) table.Row {
		r := make(table.Row, len(cells))
		for i, c := range cells {
			r[i] = printable(c)
		}
		return r
	}
	t.AppendHeader(row(head))
	for _, r := range rows {
		t.AppendRow(row(r))
	}
	if foot != nil {
		t.AppendFooter(row(foot))
	}
	var cols []table.ColumnConfig
	for _, n := range right {
		cols = append(cols, table.ColumnConfig{Number: n, Align: text.AlignRight, AlignHeader: text.AlignRight, AlignFooter: text.AlignRight})
	}
	t.SetColumnConfigs(cols)
	t.Render()
}

// printable keeps a job's words from steering the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
}

// span writes a duration as people read it.
func span(d time.Duration) string {
	switch d = d.Round(time.Second); {
	case d < time.Minute:
		return strconv.Itoa(int(d.Seconds())) + "s"
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
}
