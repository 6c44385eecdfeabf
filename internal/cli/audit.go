package cli

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"clary/internal/audit"
	"clary/internal/client"
	"clary/internal/resource"
)

func (a *app) audit() *cobra.Command {
	cmd := &cobra.Command{
		Use: "audit", Short: "Look at the record of calls that changed something", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.auditVerify(), a.auditList())
	return cmd
}

func (a *app) auditVerify() *cobra.Command {
	var (
		region string
		heads  []string
		all    bool
	)
	cmd := &cobra.Command{
		Use: "verify", Short: "Check that no record was altered, left out or put in", Args: cobra.NoArgs,
		Long: "Check the chain of records of a region: each holds the hash of the one before it. What the chain cannot\n" +
			"show by itself is that its end was cut off, or that somebody who can write the data folder made it anew from\n" +
			"some record on. For that, keep the head that is printed on another machine, and give it later with --head: the\n" +
			"record that it names must still be there, as it was, and so must all before it. Each region has a chain;\n" +
			"records of IAM are in us-east-1. --all checks the chains of all regions.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			t, err := a.target()
			if err != nil {
				return err
			}
			if region != "" {
				t.Region = region
			}
			kept, err := parseHeads(heads, t.Region, all)
			if err != nil {
				return err
			}
			if !all {
				return a.verifyOne(cmd.Context(), t, resource.EventHead{Region: t.Region}, kept[t.Region])
			}
			return a.verifyAll(cmd.Context(), t, kept)
		},
	}
	cmd.Flags().StringVar(&region, "region", "", "the region whose records are checked; the server's by default")
	cmd.Flags().BoolVar(&all, "all", false, "check the records of all regions")
	cmd.Flags().StringArrayVar(&heads, "head", nil, "a head that an earlier verify printed, [REGION=]SEQUENCE:HASH; can be repeated")
	cmd.MarkFlagsMutuallyExclusive("region", "all")
	return cmd
}

// verifyAll checks every chain that the server has, or that a head was kept of.
// One that is broken keeps none from being checked.
func (a *app) verifyAll(ctx context.Context, t target, kept map[string][]audit.Link) error {
	c := t.client()
	defer c.Close()
	var rep struct{ Trails []resource.EventHead }
	if err := c.Document(ctx, sagemaker, "/_clary/trails", nil, &rep); err != nil {
		return worded(err, t.Addr)
	}
	list := rep.Trails
	for region := range kept {
		if !slices.ContainsFunc(list, func(h resource.EventHead) bool { return h.Region == region }) {
			list = append(list, resource.EventHead{Region: region})
		}
	}
	slices.SortFunc(list, func(a, b resource.EventHead) int { return strings.Compare(a.Region, b.Region) })
	if len(list) == 0 {
		_, err := fmt.Fprintln(a.Out, "Nothing is recorded in any region.")
		return err
	}
	var errs []error
	for _, h := range list {
		t.Region = h.Region
		if err := a.verifyOne(ctx, t, h, kept[h.Region]); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", h.Region, err))
		}
	}
	return errors.Join(errs...)
}

// verifyOne checks the chain of t's region, which the server says reaches to
// listed, and that it holds the heads that were kept.
func (a *app) verifyOne(ctx context.Context, t target, listed resource.EventHead, kept []audit.Link) error {
	c := t.client()
	defer c.Close()
	want := slices.Clone(kept)
	if listed.Seq > 0 {
		want = append(want, audit.Link{Sequence: listed.Seq, Hash: listed.Hash})
	}
	chain, missing, err := verify(ctx, c, audit.Chain{Account: t.Account, Region: t.Region}, want)
	switch {
	case err != nil:
		return worded(err, t.Addr)
	case chain.Count == 0 && len(missing) > 0:
		return fmt.Errorf("%s has no record, not even %s", t.Region, missing[0])
	case chain.Count == 0:
		_, err := fmt.Fprintf(a.Out, "%s: nothing is recorded.\n", t.Region)
		return err
	case len(missing) > 0:
		return fmt.Errorf("the record %s is not in the chain, which ends with %s: records were cut off, or made anew", missing[0], chain.Head)
	}
	_, err = fmt.Fprintf(a.Out, "%s: %d records, unbroken.\nHead: %s=%s\n", t.Region, chain.Count, t.Region, chain.Head)
	return err
}

// parseHeads reads heads by their regions; one without is of the region that
// is checked alone.
func parseHeads(heads []string, checked string, all bool) (map[string][]audit.Link, error) {
	out := map[string][]audit.Link{}
	for _, h := range heads {
		region, link, named := strings.Cut(h, "=")
		switch {
		case !named && all:
			return nil, fmt.Errorf("--head %s: with --all it must name its region, as in %s=%s", h, checked, h)
		case !named:
			region, link = checked, h
		case region != checked && !all:
			return nil, fmt.Errorf("--head %s: it is of %s, and %s is checked: use --region or --all", h, region, checked)
		}
		l, err := parseLink(link)
		if err != nil {
			return nil, err
		}
		out[region] = append(out[region], l)
	}
	return out, nil
}

func parseLink(s string) (audit.Link, error) {
	n, hash, ok := strings.Cut(s, ":")
	seq, err := strconv.ParseInt(n, 10, 64)
	if _, herr := hex.DecodeString(hash); !ok || err != nil || herr != nil || seq < 1 || len(hash) != 64 {
		return audit.Link{}, fmt.Errorf("--head %s: want what verify prints after “Head:”", s)
	}
	return audit.Link{Sequence: seq, Hash: strings.ToLower(hash)}, nil
}

// trailEvent is what we read of LookupEvents' answer.
type trailEvent struct {
	EventId, EventName, EventSource, Username, AccessKeyId, CloudTrailEvent string //nolint:revive // the API's spelling
	EventTime                                                               epoch
	Resources                                                               []struct{ ResourceType, ResourceName string }
}

func (e trailEvent) shown() audit.Shown {
	s := audit.Shown{ID: e.EventId, Name: e.EventName, Source: e.EventSource, User: e.Username, AccessKeyID: e.AccessKeyId, At: e.EventTime.time()}
	if len(e.Resources) > 0 {
		s.ResourceType, s.ResourceName = e.Resources[0].ResourceType, e.Resources[0].ResourceName
	}
	return s
}

type trailPage struct {
	Events    []trailEvent
	NextToken string
}

func lookup50(ctx context.Context, c *client.Client, token string) (trailPage, error) {
	in := map[string]any{"MaxResults": 50}
	if token != "" {
		in["NextToken"] = token
	}
	var out trailPage
	err := c.JSON(ctx, "cloudtrail", "com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101.LookupEvents", in, &out)
	return out, err
}

// verify follows a chain to its first record; missing are those wanted that it
// does not hold.
func verify(ctx context.Context, c *client.Client, chain audit.Chain, want []audit.Link) (_ audit.Chain, missing []audit.Link, err error) {
	missing = want
	for token := ""; ; {
		page, err := lookup50(ctx, c, token)
		if err != nil {
			return chain, missing, err
		}
		for _, e := range page.Events {
			if err := chain.Add(e.CloudTrailEvent, e.shown()); err != nil {
				return chain, missing, err
			}
			missing = slices.DeleteFunc(missing, func(l audit.Link) bool { return l == chain.Last() })
		}
		if token = page.NextToken; token == "" {
			return chain, missing, chain.End()
		}
	}
}

func (a *app) auditList() *cobra.Command {
	var (
		limit  int
		region string
	)
	cmd := &cobra.Command{
		Use: "ls", Short: "List the newest records", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			t, err := a.target()
			if err != nil {
				return err
			}
			if limit < 1 {
				return fmt.Errorf("--limit %d: want 1 or more", limit)
			}
			if region != "" {
				t.Region = region
			}
			c := t.client()
			defer c.Close()
			var list []trailEvent
			for token := ""; len(list) < limit; {
				page, err := lookup50(cmd.Context(), c, token)
				if err != nil {
					return worded(err, t.Addr)
				}
				list = append(list, page.Events...)
				if token = page.NextToken; token == "" {
					break
				}
			}
			return a.printEvents(list[:min(limit, len(list))])
		},
	}
	cmd.Flags().IntVarP(&limit, "limit", "n", 20, "how many")
	cmd.Flags().StringVar(&region, "region", "", "the region whose records are listed; the server's by default")
	cmd.Flags().BoolVar(&a.json, "json", false, "print JSON")
	return cmd
}

func (a *app) printEvents(list []trailEvent) error {
	if a.json {
		if list == nil {
			list = []trailEvent{}
		}
		return a.printJSON(list)
	}
	if len(list) == 0 {
		_, err := fmt.Fprintln(a.Out, "Nothing is recorded.")
		return err
	}
	var rows [][]string
	for _, e := range list {
		name := ""
		if len(e.Resources) > 0 {
			name = e.Resources[0].ResourceName
		}
		rows = append(rows, []string{e.EventTime.time().Local().Format(time.DateTime), e.EventName, name, e.Username}) //nolint:gosmopolitan // for the reader's eyes
	}
	printTable(a.Out, []string{"time", "call", "resource", "who"}, rows, nil)
	return nil
}
