package cli

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/spf13/cobra"

	"clary/internal/client"
)

func (a *app) bill() *cobra.Command {
	cmd := &cobra.Command{Use: "bill", Short: "Prove the bill, or export its lines to S3"}
	cmd.AddCommand(a.billVerify(), a.billExport())
	return cmd
}

// billRow is a line of the bill by both books. Money has six decimals; without a
// price there is none.
type billRow struct {
	Day          int32             `parquet:"day,date"` // days since 1970
	Account      string            `parquet:"account_id,dict"`
	Region       string            `parquet:"region,dict"`
	Kind         string            `parquet:"kind,dict"`
	Name         string            `parquet:"name,dict"`
	UID          string            `parquet:"uid,dict"`
	Component    string            `parquet:"component,dict"`
	InstanceType string            `parquet:"instance_type,dict"`
	Unit         string            `parquet:"unit,dict"`
	PriceVersion string            `parquet:"price_version,dict"`
	MinuteUnits  int64             `parquet:"minute_units"`
	MinuteUSD    *int64            `parquet:"minute_usd,optional,decimal(6:18)"`
	AWSUnits     int64             `parquet:"aws_units"`
	AWSUSD       *int64            `parquet:"aws_usd,optional,decimal(6:18)"`
	Unpriced     bool              `parquet:"unpriced"`
	Tags         map[string]string `parquet:"tags"`
}

// billHead names the columns, as the struct's tags do.
func billHead() []string {
	return []string{
		"day", "account_id", "region", "kind", "name", "uid", "component", "instance_type", "unit", "price_version",
		"minute_units", "minute_usd", "aws_units", "aws_usd", "unpriced", "tags",
	}
}

// billRows are the lines of both books, in the order of the first.
func billRows(u usage) ([]billRow, error) {
	type key struct{ day, account, region, kind, name, uid, component, instanceType, unit, version, tags string }
	at := map[key]int{}
	var rows []billRow
	for _, book := range []string{"minute", "aws"} {
		for _, l := range u.Bills[book].Lines {
			tags, err := tagText(l.Tags)
			if err != nil {
				return nil, err
			}
			k := key{l.Day, l.Account, l.Region, string(l.Kind), l.Name, l.UID, l.Component, l.InstanceType, l.Unit, l.PriceVersion, tags}
			i, ok := at[k]
			if !ok {
				d, err := time.Parse(time.DateOnly, l.Day)
				if err != nil {
					return nil, fmt.Errorf("the bill has the day %q: %w", l.Day, err)
				}
				i = len(rows)
				at[k] = i
				rows = append(rows, billRow{
					Day: int32(d.Unix() / 86400), Account: l.Account, Region: l.Region, Kind: string(l.Kind), Name: l.Name, UID: l.UID,
					Component: l.Component, InstanceType: l.InstanceType, Unit: l.Unit, PriceVersion: l.PriceVersion, Tags: l.Tags,
				})
			}
			r := &rows[i]
			r.Unpriced = r.Unpriced || l.Unpriced
			units, usd := &r.MinuteUnits, &r.MinuteUSD
			if book == "aws" {
				units, usd = &r.AWSUnits, &r.AWSUSD
			}
			if *units = l.Units; !l.Unpriced {
				*usd = &l.MicroUSD
			}
		}
	}
	return rows, nil
}

// tagText is tags as JSON, by key.
func tagText(tags map[string]string) (string, error) {
	if len(tags) == 0 {
		return "{}", nil
	}
	b, err := json.Marshal(tags)
	return string(b), err
}

// decimal writes money as the bill's files have it.
func decimal(micro *int64) string {
	if micro == nil {
		return ""
	}
	return strings.Replace(dollars(*micro), "$", "", 1)
}

func writeCSV(w io.Writer, rows []billRow) error {
	c := csv.NewWriter(w)
	if err := c.Write(billHead()); err != nil {
		return err
	}
	for _, r := range rows {
		tags, err := tagText(r.Tags)
		if err != nil {
			return err
		}
		if err := c.Write([]string{
			time.Unix(int64(r.Day)*86400, 0).UTC().Format(time.DateOnly), r.Account, r.Region, r.Kind, r.Name, r.UID, r.Component, r.InstanceType, r.Unit, r.PriceVersion,
			strconv.FormatInt(r.MinuteUnits, 10), decimal(r.MinuteUSD), strconv.FormatInt(r.AWSUnits, 10), decimal(r.AWSUSD), strconv.FormatBool(r.Unpriced), tags,
		}); err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}

func writeParquet(w io.Writer, rows []billRow) error {
	p := parquet.NewGenericWriter[billRow](w, parquet.Compression(&parquet.Zstd), parquet.CreatedBy("clary", buildVersion(), ""))
	if _, err := p.Write(rows); err != nil {
		return err
	}
	return p.Close()
}

func (a *app) billExport() *cobra.Command {
	var format, fromText, toText string
	cmd := &cobra.Command{
		Use: "export s3://BUCKET/PREFIX/", Short: "Write the bill's lines, by day and resource, to S3", Args: cobra.ExactArgs(1),
		Example: "  clary bill export s3://my-bucket/bills/ --format parquet --from 2026-11-01 --to 2026-12-01",
		Long: "Write the bill's lines to S3, by day and resource: what was charged by both books, tags, and what has no price.\n" +
			"The same days have the same name, so that a later export takes the place of an earlier one.",
		RunE: func(cmd *cobra.Command, args []string) error {
			write, ok := map[string]func(io.Writer, []billRow) error{"csv": writeCSV, "parquet": writeParquet}[format]
			if !ok {
				return fmt.Errorf("--format %s: want csv or parquet", format)
			}
			bucket, prefix, err := client.ParseURI(args[0])
			if err != nil {
				return err
			}
			from, err := day("--from", fromText)
			if err != nil {
				return err
			}
			to, err := day("--to", toText)
			if err != nil {
				return err
			}
			now := time.Now().UTC()
			if from.IsZero() {
				from = time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)
			}
			last := now
			if !to.IsZero() && to.Before(now) {
				last = to.UTC().Add(-1)
			}
			if last.Before(from) {
				return fmt.Errorf("no time is between --from %s and %s", from.Format(time.RFC3339), last.Format(time.RFC3339))
			}
			if prefix != "" && !strings.HasSuffix(prefix, "/") {
				prefix += "/"
			}
			key := fmt.Sprintf("%sbill-%s-%s.%s", prefix, from.UTC().Format(time.DateOnly), last.Format(time.DateOnly), format)
			return a.export(cmd.Context(), bucket, key, from, to, write)
		},
	}
	f := cmd.Flags()
	f.StringVar(&format, "format", "csv", "csv or parquet")
	f.StringVar(&fromText, "from", "", "first day or instant (default: the first day of this month)")
	f.StringVar(&toText, "to", "", "the day or instant after the last (default: now)")
	return cmd
}

func (a *app) export(ctx context.Context, bucket, key string, from, to time.Time, write func(io.Writer, []billRow) error) error {
	t, err := a.target()
	if err != nil {
		return err
	}
	c := t.client()
	defer c.Close()
	u, err := readUsage(ctx, c, from, to)
	if err != nil {
		return worded(err, t.Addr)
	}
	rows, err := billRows(u)
	if err != nil {
		return err
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(write(w, rows)) }()
	_, err = c.Upload(ctx, bucket, key, r)
	_ = r.CloseWithError(err) // whoever writes ends with it
	if err != nil {
		return worded(err, t.Addr)
	}
	minute, aws := u.total("minute"), u.total("aws")
	_, err = fmt.Fprintf(a.Out, "s3://%s/%s: %d lines, %s, on AWS %s\n", bucket, key, len(rows), minute, aws)
	return err
}

// total is all of a book.
func (u usage) total(book string) (s sum) {
	for _, l := range u.Bills[book].Lines {
		s.add(l)
	}
	return s
}
