package cli

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"clary/internal/forgotten"
)

func (a *app) forgotten() *cobra.Command {
	var after time.Duration
	cmd := &cobra.Command{
		Use: "forgotten", Short: "List what costs and nobody uses, and what ends it", Args: cobra.NoArgs,
		Long: "List what costs and nobody uses: idle notebook instances, endpoints that nobody or only a monitor asks,\n" +
			"volumes of notebook instances that were stopped long ago. It stops nothing; each line says what does.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			t, err := a.target()
			if err != nil {
				return err
			}
			c := t.client()
			defer c.Close()
			q := url.Values{"region": {"*"}}
			if cmd.Flags().Changed("after") {
				q.Set("after", after.String())
			}
			var rep forgotten.Report
			if err := c.Document(cmd.Context(), sagemaker, "/_clary/forgotten", q, &rep); err != nil {
				return worded(err, t.Addr)
			}
			if a.json {
				return a.printJSON(rep)
			}
			return a.printForgotten(rep, t.Region)
		},
	}
	cmd.Flags().DurationVar(&after, "after", 0, "take as forgotten what was not used for so long, like 30m (default: each rule's own time)")
	cmd.Flags().BoolVar(&a.json, "json", false, "print JSON")
	return cmd
}

// printForgotten prints the table, and under it what ends each.
func (a *app) printForgotten(rep forgotten.Report, region string) error {
	rules := "Looked for: " + strings.Join(rep.Rules, "; ") + ".\n"
	if len(rep.Items) == 0 {
		_, err := fmt.Fprint(a.Out, "Nothing is forgotten.\n"+rules)
		return err
	}
	var rows [][]string
	for _, i := range rep.Items {
		end := i.Command
		if i.Region != region { // clary's verbs act in the server's own
			end = i.Call
		}
		rows = append(rows, []string{i.Name, string(i.Kind), i.Region, costText(i.SoFar), costText(i.PerMonth), i.Evidence, end})
	}
	printTable(a.Out, []string{"name", "kind", "region", "this month", "a month", "why", "ends it"}, rows,
		[]string{"Total", "", "", costText(rep.SoFar), costText(rep.PerMonth), "", ""}, 4, 5)
	_, err := fmt.Fprint(a.Out, rules)
	return err
}

func costText(c forgotten.Cost) string {
	return sum{micro: c.MicroUSD, incomplete: c.Unpriced}.String()
}
