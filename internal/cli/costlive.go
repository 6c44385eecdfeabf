package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/term"

	"clary/internal/client"
	"clary/internal/meter"
	"clary/internal/resource"
)

const liveEvery = 2 * time.Second

// costLive shows what is used and costs until nothing runs any more: on a
// terminal the table in its place, else a line whenever the sum has changed, and
// the table at the end.
func (a *app) costLive(ctx context.Context, c *client.Client, o costOptions) error {
	if a.json {
		return errors.New("--live and --json do not go together: ask with --json as often as you like")
	}
	if o.from.IsZero() {
		now := time.Now().UTC()
		o.from = time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)
	}
	place := newPlace(a.Out)
	last := ""
	var all usage
	for ctx.Err() == nil {
		var err error
		if all, err = o.again(ctx, c, all); err != nil {
			if errors.Is(err, context.Canceled) {
				return nil // whoever looked has seen enough
			}
			return err
		}
		u := o.filter(all)
		running := u.running()
		if place == nil {
			if line := fmt.Sprintf("%s, on AWS %s, %s", u.total("minute"), u.total("aws"), runs(running)); line != last && running > 0 {
				last = line
				if _, err := fmt.Fprintf(a.Out, "%s %s\n", u.Now.UTC().Format(time.RFC3339), line); err != nil {
					return err
				}
			}
		}
		if place != nil || running == 0 {
			var b bytes.Buffer
			on := *a
			on.Out = &b
			if err := on.printCost(u, o.by); err != nil {
				return err
			}
			text := b.String() + fmt.Sprintf("%s UTC: %s\n", u.Now.UTC().Format(time.TimeOnly), runs(running))
			if err := place.show(a.Out, text); err != nil {
				return err
			}
		}
		if running == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(liveEvery): // the ledger's sums grow by the clock; there is no event for that
		}
	}
	return nil
}

// again reads what was used, having read it before: only of today, unless
// something of the days before is not as it was.
func (o costOptions) again(ctx context.Context, c *client.Client, had usage) (usage, error) {
	if today := had.today(); o.from.Before(today) && (o.to.IsZero() || today.Before(o.to)) && !had.Now.IsZero() {
		now, err := readUsage(ctx, c, today, o.to)
		if err != nil {
			return had, err
		}
		if all, ok := had.with(now); ok {
			return all, nil
		}
	}
	return readUsage(ctx, c, o.from, o.to)
}

func (u usage) today() time.Time { return u.Now.UTC().Truncate(24 * time.Hour) }

// with is u with what is known now of its last day; false where the days before
// are not what they were: there is one more, or something turns out to have
// ended on them, or to have other tags.
func (u usage) with(now usage) (usage, bool) {
	today := u.today()
	if !now.today().Equal(today) {
		return u, false
	}
	known := make(map[string]resource.Usage, len(now.Usage))
	for _, x := range now.Usage {
		known[x.ID] = x
	}
	list := make([]resource.Usage, 0, len(u.Usage))
	for _, x := range u.Usage {
		is, ok := known[x.ID]
		if x.End.IsZero() && (!ok || !is.End.IsZero() && is.End.Before(today) || !maps.Equal(is.Tags, x.Tags)) {
			return u, false
		}
		if !ok {
			list = append(list, x)
		}
	}
	u.Now, u.Usage = now.Now, slices.Concat(list, now.Usage)
	bills := make(map[string]meter.Statement, len(now.Bills))
	for book, s := range now.Bills { // filter sums the lines up
		old := u.Bills[book].Lines
		first := slices.IndexFunc(old, func(l meter.Line) bool { return l.Day >= today.Format(time.DateOnly) })
		if first < 0 {
			first = len(old)
		}
		bills[book] = meter.Statement{Lines: slices.Concat(old[:first], s.Lines)}
	}
	u.Bills = bills
	return u, true
}

// running counts the resources that go on.
func (u usage) running() int {
	uids := map[string]bool{}
	for _, x := range u.Usage {
		if x.End.IsZero() && x.Unit == meter.InstanceSecond {
			uids[x.UID] = true
		}
	}
	return len(uids)
}

func runs(n int) string {
	switch n {
	case 0:
		return "nothing runs"
	case 1:
		return "1 resource runs"
	}
	return fmt.Sprintf("%d resources run", n)
}

// place is where text is shown again and again on a terminal; nil: w is none.
type place struct {
	height func() int
	lines  int // of the text that is there
}

func newPlace(w io.Writer) *place {
	f, ok := w.(*os.File)
	if !ok || !terminal(w) {
		return nil
	}
	return &place{height: func() int {
		if _, h, err := term.GetSize(int(f.Fd())); err == nil {
			return h
		}
		return 24
	}}
}

// show replaces the text. What is higher than the terminal loses its beginning,
// since the sum is at the end.
func (p *place) show(w io.Writer, text string) error {
	if p == nil {
		_, err := io.WriteString(w, text)
		return err
	}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if h := p.height() - 1; h > 2 && len(lines) > h {
		lines = append(lines[:1:1], lines[len(lines)-h+1:]...) // under its head
	}
	back := ""
	if p.lines > 0 {
		back = fmt.Sprintf("\x1b[%dA\r\x1b[J", p.lines)
	}
	p.lines = len(lines)
	_, err := io.WriteString(w, back+strings.Join(lines, "\n")+"\n")
	return err
}
