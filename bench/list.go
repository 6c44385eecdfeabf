package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"clary/internal/resource"
	"clary/internal/store"
	"clary/internal/store/sqlite"
)

const (
	fewJobs  = 1000
	rareName = "rarezq" // in rareJobs names, however many jobs there are
	rareJobs = 20
	stopped  = 100 // jobs, as well
	pageGoal = 500 * time.Microsecond
	sortGoal = time.Millisecond
	walkGoal = time.Second
	timesOff = 1.5 // a page among many jobs, by a page among few
)

// listRows measures lists among many jobs and among few: all that training jobs
// can be asked for, and a page of processing jobs.
func (b *bench) listRows() (err error) {
	canned, err := b.startCanned()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, canned.stop()) }()
	return errors.Join(
		b.listKind(canned, "TrainingJob", trainingJob("template", noImage, "true"), filters()),
		b.listKind(canned, "ProcessingJob", strangeImage(processingJob("template", "true")), filters()[:1]),
	)
}

func strangeImage(job map[string]any) map[string]any {
	job["AppSpecification"] = map[string]any{"ImageUri": noImage}
	return job
}

func (b *bench) listKind(canned *server, kind string, template map[string]any, filters []listFilter) (err error) {
	many, err := b.listed(kind, template, b.jobs)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, many.stop()) }()
	few, err := b.listed(kind, template, fewJobs)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, few.stop()) }()

	n, what := count(float64(b.jobs)), "jobs"
	if kind != "TrainingJob" {
		what = strings.ToLower(strings.TrimSuffix(kind, "Job")) + " jobs"
	}
	for i, f := range filters {
		m, err := b.listOnce(f, many, few, canned)
		if err != nil {
			return fmt.Errorf("list of %s, %s: %w", what, f.name, err)
		}
		ratio := float64(quantile(m.many, 0.5)) / float64(quantile(m.few, 0.5))
		goal, most, note := "p50 ≤ 1 ms", sortGoal, f.note
		switch {
		case kind != "TrainingJob":
			note = notes["listReasons"]
		case i == 0:
			goal, most = "p50 ≤ 0.5 ms", pageGoal
		}
		b.add(row{
			name:  "List, 100 of " + n + " " + what + ", " + f.name,
			ours:  fmt.Sprintf("%s; of 1,000 jobs %s (%.2f×)", times(m.many), times(m.few), ratio),
			floor: fmt.Sprintf("canned, %d bytes, %s", m.size, times(m.canned)),
			goal:  goal + ", ≤ 1.5× of 1,000", met: reached(quantile(m.many, 0.5) <= most && ratio <= timesOff), note: note,
		})
	}
	if kind != "TrainingJob" {
		return nil
	}
	var walks []time.Duration
	for range min(b.rounds, 3) {
		d, err := b.walk(many.server)
		if err != nil {
			return err
		}
		walks = append(walks, d)
	}
	raw("walks", walks)
	b.add(row{
		name: "List, all " + n + " jobs, pages of 100", ours: times(walks), goal: "≤ 1 s",
		met: within(walks, walkGoal), note: notes["walk"],
	})
	return nil
}

// jobList is a server on jobs that were made a second apart, the newest at
// listEpoch.
type jobList struct {
	*server
	kind   string
	jobs   int
	middle int64 // half of the jobs were made before
	// Half of them were modified before changed, some sixty of them before then.
	changed, then int64
	between       int // jobs modified after changed and before then
}

// made and modified are a job's times. Jobs run up to an hour.
func made(i, jobs int) int64 { return listEpoch - int64(jobs-i) }

func modified(i, jobs int) int64 { return made(i, jobs) + int64(i*7919%3607) }

func newJobList(s *server, kind string, jobs int) *jobList {
	l := &jobList{server: s, kind: kind, jobs: jobs, middle: made(jobs/2, jobs)}
	all := make([]int64, 0, jobs)
	for i := range jobs {
		all = append(all, modified(i, jobs))
	}
	slices.Sort(all)
	l.changed, l.then = all[jobs/2], all[jobs/2+61]
	for _, at := range all {
		if at > l.changed && at < l.then {
			l.between++
		}
	}
	return l
}

// listFilter is one way to ask for a page: what it asks for beside a hundred,
// and how many jobs it must show.
type listFilter struct {
	name string
	ask  func(l *jobList) string
	want func(l *jobList) int
	note string
}

func filters() []listFilter {
	always := func(ask string) func(*jobList) string { return func(*jobList) string { return ask } }
	jobs := func(n int) func(*jobList) int { return func(*jobList) int { return n } }
	page := jobs(100)
	return []listFilter{
		{"newest first", always(`,"SortOrder":"Descending"`), page, notes["list"]},
		{"by name", always(`,"SortBy":"Name"`), page, ""},
		{"by status", always(`,"SortBy":"Status"`), page, ""},
		{"of a status that a hundred have", always(`,"StatusEquals":"Stopped"`), jobs(stopped), ""},
		{"of that status, by name", always(`,"StatusEquals":"Stopped","SortBy":"Name"`), jobs(stopped), ""},
		{"name contains `" + rareName + "`, which twenty do", always(`,"SortOrder":"Descending","NameContains":"` + rareName + `"`), jobs(rareJobs), notes["listName"]},
		{"name contains `zq`, the same twenty", always(`,"SortOrder":"Descending","NameContains":"zq"`), jobs(rareJobs), notes["listName"]},
		{"name contains `nowhere`, which none does", always(`,"NameContains":"nowhere"`), jobs(0), notes["listName"]},
		{"made before the middle", func(l *jobList) string {
			return fmt.Sprintf(`,"SortOrder":"Descending","CreationTimeBefore":%d`, l.middle)
		}, page, ""},
		{"made after the middle, oldest first", func(l *jobList) string { return fmt.Sprintf(`,"CreationTimeAfter":%d`, l.middle) }, page, ""},
		{"made before the middle, by status", func(l *jobList) string {
			return fmt.Sprintf(`,"SortBy":"Status","SortOrder":"Descending","CreationTimeBefore":%d`, l.middle)
		}, page, ""},
		{"modified before the middle", func(l *jobList) string {
			return fmt.Sprintf(`,"SortOrder":"Descending","LastModifiedTimeBefore":%d`, l.changed)
		}, page, notes["listModified"]},
		{"modified after the middle, oldest first", func(l *jobList) string { return fmt.Sprintf(`,"LastModifiedTimeAfter":%d`, l.changed) }, page, notes["listModified"]},
		{"modified in a minute of the middle", func(l *jobList) string {
			return fmt.Sprintf(`,"LastModifiedTimeAfter":%d,"LastModifiedTimeBefore":%d`, l.changed, l.then)
		}, func(l *jobList) int { return l.between }, ""},
	}
}

type listTimes struct {
	many, few, canned []time.Duration
	size              int
}

func (b *bench) listOnce(f listFilter, many, few *jobList, canned *server) (m listTimes, err error) {
	body := func(l *jobList) []byte { return []byte(`{"MaxResults":100` + f.ask(l) + `}`) }
	for _, l := range []*jobList{few, many} {
		got, err := l.client.call(b.ctx, "sagemaker", "List"+l.kind+"s", body(l))
		if err != nil {
			return m, err
		}
		if n := strings.Count(string(got), `"`+l.kind+`Name":`); n != f.want(l) {
			return m, fmt.Errorf("a page shows %d of %d jobs, not %d", n, l.jobs, f.want(l))
		}
		m.size = len(got)
	}
	ask := func(s *server, kind string, body []byte, into *[]time.Duration) error {
		l, err := hammer(b.ctx, 1, b.period/3, func(ctx context.Context, _, _ int) error {
			req, err := s.client.request(ctx, "sagemaker", "List"+kind+"s", body)
			if err != nil {
				return err
			}
			if s == canned {
				req.Header.Set(bytesHeader, strconv.Itoa(m.size))
			}
			_, err = s.client.send(req, "sagemaker", body)
			return err
		})
		*into = append(*into, l.lat...)
		return err
	}
	for round := range b.rounds + 1 {
		if round == 1 {
			m = listTimes{size: m.size} // they are warm
		}
		err := errors.Join(
			ask(many.server, many.kind, body(many), &m.many),
			ask(few.server, few.kind, body(few), &m.few),
			ask(canned, many.kind, body(many), &m.canned),
		)
		if err != nil {
			return m, err
		}
	}
	return m, nil
}

// walk lists all jobs, reading no more of a page than its token.
func (b *bench) walk(s *server) (time.Duration, error) {
	begin := time.Now()
	seen, pages := 0, 0
	for body := []byte(`{"MaxResults":100}`); ; pages++ {
		data, err := s.client.call(b.ctx, "sagemaker", "ListTrainingJobs", body)
		if err != nil {
			return 0, err
		}
		seen += strings.Count(string(data), `"TrainingJobName":`)
		const before = `"NextToken":"`
		at := strings.LastIndex(string(data), before)
		if at < 0 {
			break
		}
		token, _, _ := strings.Cut(string(data[at+len(before):]), `"`)
		body = fmt.Appendf(body[:0], `{"MaxResults":100,"NextToken":"%s"}`, token)
	}
	if took := time.Since(begin); seen == b.jobs+1 { // and the template
		return took, nil
	}
	return 0, fmt.Errorf("a walk saw %d jobs of %d on %d pages", seen, b.jobs+1, pages)
}

// listEpoch is when the newest of the listed jobs was made.
const listEpoch = 1_790_000_000

// listed starts a server on so many jobs, each a copy of a real one.
func (b *bench) listed(kind string, template map[string]any, jobs int) (*jobList, error) {
	data := filepath.Join(b.dir, fmt.Sprint("list-", kind, "-", jobs))
	if err := b.templateOf(data, kind, template); err != nil {
		return nil, err
	}
	begin := time.Now()
	if err := b.fillWith(data, kind, jobs); err != nil {
		return nil, fmt.Errorf("filling %s: %w", data, err)
	}
	fmt.Printf("   %d jobs written in %s\n", jobs, time.Since(begin).Round(time.Millisecond))
	s, err := b.startClary(data)
	if err != nil {
		return nil, err
	}
	return newJobList(s, kind, jobs), b.pause(2 * time.Second) // it indexes names
}

// template makes a data folder with one training job that ended.
func (b *bench) template(data string) error {
	return b.templateOf(data, "TrainingJob", trainingJob("template", noImage, "true"))
}

func (b *bench) templateOf(data, kind string, job map[string]any) error {
	s, err := b.startClary(data)
	if err != nil {
		return err
	}
	err = s.client.bucket(b.ctx, bucketName)
	if err == nil {
		err = s.client.json(b.ctx, "sagemaker", "Create"+kind, job, nil)
	}
	for d := map[string]any{}; err == nil && d[kind+"Status"] != "Failed"; {
		err = s.client.json(b.ctx, "sagemaker", "Describe"+kind, map[string]any{kind + "Name": job[kind+"Name"]}, &d)
	}
	if err == nil {
		err = b.pause(time.Second) // its last look
	}
	return errors.Join(err, s.stop())
}

// fill copies the template as training jobs.
func (b *bench) fill(data string, jobs int) error { return b.fillWith(data, "TrainingJob", jobs) }

// fillWith copies the template as jobs such as a listing has.
func (b *bench) fillWith(data, kind string, jobs int) error {
	st, err := sqlite.Open(filepath.Join(data, "clary.db"), sqlite.Options{})
	if err != nil {
		return err
	}
	defer st.Close() //nolint:errcheck // what was answered is on disk
	tmpl, err := st.Get(b.ctx, resource.Key{Account: "123456789012", Region: region, Kind: resource.Kind(kind), Name: "template"})
	if err != nil {
		return err
	}
	path := strings.TrimSuffix(tmpl.Arn, tmpl.Name)
	const chunk = 1000
	for from := 0; from < jobs; from += chunk {
		err := st.Update(b.ctx, func(tx store.Tx) error {
			for i := from; i < min(from+chunk, jobs); i++ {
				r := *tmpl
				r.Version, r.UID, r.Due = 0, resource.NewUID(), time.Time{}
				r.Name = fmt.Sprintf("job-%06d", i)
				if i%max(jobs/rareJobs, 1) == 7 {
					r.Name = fmt.Sprintf("%s-%06d", rareName, i)
				}
				if i%max(jobs/stopped, 1) == 3 {
					r.Phase = "Stopped"
				}
				r.Arn = path + r.Name
				r.Created, r.Modified = time.Unix(made(i, jobs), 0), time.Unix(modified(i, jobs), 0)
				if err := tx.Put(&r); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// bytesHeader asks the canned server for a body of so many bytes.
const bytesHeader = "X-Bench-Bytes"

// pageOf is a body as long as the request asks for, nil if it does not.
func pageOf(r *http.Request, from json.RawMessage) []byte {
	n, err := strconv.Atoi(r.Header.Get(bytesHeader))
	if err != nil || n < 0 || n > len(from) {
		return nil
	}
	return from[:n]
}
