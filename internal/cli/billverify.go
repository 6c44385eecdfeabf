package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"clary/internal/meter"
)

func (a *app) billVerify() *cobra.Command {
	cmd := &cobra.Command{
		Use: "verify", Short: "Reckon the bill once more, in another way, and compare", Args: cobra.NoArgs,
		Long: "Have the server reckon the whole ledger once more, in another way and with exact fractions, and compare that with\n" +
			"the bill, the sums that budgets and pages read, and Cost Explorer. The exit code is 1 where anything differs.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			t, err := a.target()
			if err != nil {
				return err
			}
			c := t.client()
			defer c.Close()
			var p meter.Proof
			if err := c.Document(cmd.Context(), sagemaker, "/_clary/proof", nil, &p); err != nil {
				return worded(err, t.Addr)
			}
			if a.json {
				err = a.printJSON(p)
			} else {
				err = printProof(a.Out, p)
			}
			if err == nil && !p.OK {
				return Exit(1)
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&a.json, "json", false, "print JSON")
	return cmd
}

// printProof says what was proven, and of what differs a few of each sort.
func printProof(w io.Writer, p meter.Proof) error {
	var text strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&text, format, args...) }
	say("Account %s, %s: %d intervals, of which %d go on.\n", p.Account, p.At.UTC().Format("2006-01-02 15:04:05 UTC"), p.Intervals, p.Open)
	for _, b := range p.Books {
		sum := sum{micro: b.Bill, incomplete: b.Unpriced}
		say("Book %s: %s in %d lines; ", b.Book, sum, b.Lines)
		if d := b.Bill - b.Again; d != 0 {
			say("reckoned again it is %s: the bill is %s off.\n", dollars(b.Again), dollars(d))
		} else {
			say("reckoned again it is the same.\n")
		}
	}
	for _, c := range p.Checks {
		word := "ok    "
		if !c.OK {
			word = "WRONG "
		}
		say("%s%s\n", word, c.Name)
		for _, f := range c.Found {
			say("       %s\n", printable(f))
		}
		if more := c.Count - len(c.Found); more > 0 {
			say("       and %d more\n", more)
		}
	}
	say("The bill is %s.\n", map[bool]string{true: "proven", false: "not proven"}[p.OK])
	_, err := io.WriteString(w, text.String())
	return err
}
