package cron

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestDue(t *testing.T) {
	t.Parallel()
	at := func(s string) time.Time {
		t.Helper()
		v, err := time.Parse("2006-01-02 15:04 Mon", s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, tt := range []struct {
		line     string
		yes, not []string
	}{
		{"* * * * * x", []string{"2026-01-01 00:00 Thu"}, nil},
		{"*/5 * * * * x", []string{"2026-01-01 10:00 Thu", "2026-01-01 10:55 Thu"}, []string{"2026-01-01 10:04 Thu"}},
		{"7-20/6,59 3 * * * x", []string{"2026-01-01 03:07 Thu", "2026-01-01 03:19 Thu", "2026-01-01 03:59 Thu"}, []string{"2026-01-01 03:20 Thu", "2026-01-01 04:07 Thu"}},
		{"50/4 * * * * x", []string{"2026-01-01 03:58 Thu"}, []string{"2026-01-01 03:46 Thu"}},
		{"0 0 1,15 * * x", []string{"2026-02-15 00:00 Sun"}, []string{"2026-02-14 00:00 Sat"}},
		{"0 0 * * 7 x", []string{"2026-02-15 00:00 Sun"}, []string{"2026-02-14 00:00 Sat"}},
		{"0 0 * FEB sun-tue x", []string{"2026-02-15 00:00 Sun", "2026-02-17 00:00 Tue"}, []string{"2026-02-18 00:00 Wed", "2026-03-01 00:00 Sun"}},
		{"0 0 13 * fri x", []string{"2026-02-13 00:00 Fri", "2026-01-13 00:00 Tue", "2026-02-20 00:00 Fri"}, []string{"2026-02-14 00:00 Sat"}},
		{"@hourly x", []string{"2026-01-01 05:00 Thu"}, []string{"2026-01-01 05:01 Thu"}},
		{"@weekly x", []string{"2026-02-15 00:00 Sun"}, []string{"2026-02-16 00:00 Mon"}},
		{"@reboot x", nil, []string{"2026-02-16 00:00 Mon"}},
	} {
		table, err := Parse(tt.line)
		if err != nil || len(table) != 1 || table[0].Command != "x" {
			t.Errorf("%s: %+v, %v", tt.line, table, err)
			continue
		}
		for _, s := range tt.yes {
			if !table[0].Due(at(s)) {
				t.Errorf("%s is not due at %s", tt.line, s)
			}
		}
		for _, s := range tt.not {
			if table[0].Due(at(s)) {
				t.Errorf("%s is due at %s", tt.line, s)
			}
		}
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	table, err := Parse("# a comment\n\nA = 1\nB=\"two words\"\n  * * * * *  date +\\%s >> /x%in%put\nA=2\n@daily\ty = z\n")
	if err != nil || len(table) != 2 {
		t.Fatalf("%+v, %v", table, err)
	}
	if e := table[0]; e.Command != "date +%s >> /x" || e.Input != "in\nput\n" || !slices.Equal(e.Env, []string{"A=1", "B=two words"}) {
		t.Errorf("%+v", e)
	}
	if e := table[1]; e.Command != "y = z" || e.Input != "" || !slices.Equal(e.Env, []string{"A=1", "B=two words", "A=2"}) {
		t.Errorf("%+v", e)
	}
	for _, bad := range []string{"* * * * *", "* * * *", "60 * * * * x", "* 24 * * * x", "* * 0 * * x", "* * * 13 * x", "* * * * 8 x", "5-2 * * * * x", "*/0 * * * * x", "*/x * * * * x", "a * * * * x", "+1 * * * * x", ", * * * * x", "@often x", "@daily", "x"} {
		if _, err := Parse("@daily ok\n" + bad); err == nil || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var ran []string
		tables := Tables{Start: func(user string, e Entry) {
			ran = append(ran, user+" "+e.Command+" "+time.Now().UTC().Format("15:04:05"))
		}}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		time.Sleep(13 * time.Second)
		go func() { tables.Run(ctx); close(done) }()
		if err := tables.Set("root", "*/2 * * * * a\n"); err != nil {
			t.Fatal(err)
		}
		if err := tables.Set("ec2-user", "1 * * * * b"); err != nil {
			t.Fatal(err)
		}
		if err := tables.Set("root", "wrong"); err == nil {
			t.Error("what is no table was taken")
		}
		if text, ok := tables.Get("root"); !ok || text != "*/2 * * * * a\n" {
			t.Errorf("%q, %v", text, ok)
		}
		if err := tables.Set("root", "# "+strings.Repeat("x", most)); err == nil {
			t.Error("a table without end was taken")
		}
		time.Sleep(4 * time.Minute)
		tables.Remove("root")
		if text, ok := tables.Get("root"); ok {
			t.Errorf("%q", text)
		}
		time.Sleep(4 * time.Minute)
		cancel()
		<-done
		if want := []string{"ec2-user b 00:01:00", "root a 00:02:00", "root a 00:04:00"}; !slices.Equal(ran, want) {
			t.Errorf("%q", ran)
		}
	})
}
