package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"clary/internal/resource"
	"clary/internal/store"
	"clary/internal/store/sqlite"
)

const (
	fewJobs  = 1000
	rareName = "rarezq" // in one name of 5,000
	pageGoal = 500 * time.Microsecond
	sortGoal = time.Millisecond
	walkGoal = time.Second
	timesOff = 1.5 // a page among many jobs, by a page among few
)

// listRows measures ListTrainingJobs among many jobs and among few.
func (b *bench) listRows() (err error) {
	many, err := b.listed("list-many", b.jobs)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, many.stop()) }()
	few, err := b.listed("list-few", fewJobs)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, few.stop()) }()
	canned, err := b.startCanned()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, canned.stop()) }()

	n := count(float64(b.jobs))
	for i, f := range filters(b.jobs) {
		m, err := b.listOnce(f, many, few, canned)
		if err != nil {
			return fmt.Errorf("list, %s: %w", f.name, err)
		}
		r := row{
			name:  "List, 100 of " + n + " jobs, " + f.name,
			ours:  times(m.many) + "; of 1,000 jobs " + times(m.few),
			floor: fmt.Sprintf("canned, %d bytes, %s", m.size, times(m.canned)),
			goal:  "p50 ≤ 1 ms", met: within(m.many, sortGoal), note: f.note,
		}
		if i == 0 {
			ratio := float64(quantile(m.many, 0.5)) / float64(quantile(m.few, 0.5))
			r.ours += fmt.Sprintf(" (%.2f×)", ratio)
			r.goal, r.met = "p50 ≤ 0.5 ms, ≤ 1.5× of 1,000", reached(quantile(m.many, 0.5) <= pageGoal && ratio <= timesOff)
		}
		b.add(r)
	}
	var walks []time.Duration
	for range min(b.rounds, 3) {
		d, err := b.walk(many)
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

// listFilter is one way to ask for a page.
type listFilter struct {
	name, body, note string
}

// filters for jobs that were made a second apart, the newest at listEpoch.
func filters(jobs int) []listFilter {
	half := listEpoch - int64(jobs)/2
	hundred := func(more string) string { return `{"MaxResults":100` + more + `}` }
	return []listFilter{
		{"newest first", hundred(`,"SortOrder":"Descending"`), notes["list"]},
		{"by name", hundred(`,"SortBy":"Name"`), ""},
		{"by status", hundred(`,"SortBy":"Status"`), ""},
		{"of a status that few have", hundred(`,"StatusEquals":"Stopped"`), ""},
		{"name contains `" + rareName + "`, which few do", hundred(`,"SortOrder":"Descending","NameContains":"` + rareName + `"`), notes["listName"]},
		{"name contains `zq`, the same few", hundred(`,"SortOrder":"Descending","NameContains":"zq"`), notes["listName"]},
		{"name contains `nowhere`, which none does", hundred(`,"NameContains":"nowhere"`), ""},
		{"made before the middle", hundred(fmt.Sprintf(`,"SortOrder":"Descending","CreationTimeBefore":%d`, half)), ""},
		{"modified before the middle", hundred(fmt.Sprintf(`,"SortOrder":"Descending","LastModifiedTimeBefore":%d`, half)), ""},
		{"modified after the middle, oldest first", hundred(fmt.Sprintf(`,"LastModifiedTimeAfter":%d`, half)), notes["listModified"]},
		{"modified in one minute", hundred(fmt.Sprintf(`,"LastModifiedTimeAfter":%d,"LastModifiedTimeBefore":%d`, half, half+60)), ""},
	}
}

type listTimes struct {
	many, few, canned []time.Duration
	size              int
}

func (b *bench) listOnce(f listFilter, many, few, canned *server) (m listTimes, err error) {
	ask := func(s *server, into *[]time.Duration, keep bool) error {
		l, err := hammer(b.ctx, 1, b.period/3, func(ctx context.Context, _, _ int) error {
			req, err := s.client.request(ctx, "sagemaker", "ListTrainingJobs", []byte(f.body))
			if err != nil {
				return err
			}
			if s == canned {
				req.Header.Set(bytesHeader, strconv.Itoa(m.size))
			}
			got, err := s.client.send(req, "sagemaker", []byte(f.body))
			if s == many {
				m.size = len(got)
			}
			return err
		})
		if keep {
			*into = append(*into, l.lat...)
		}
		return err
	}
	for round := range b.rounds + 1 {
		for _, c := range []struct {
			s    *server
			into *[]time.Duration
		}{{many, &m.many}, {few, &m.few}, {canned, &m.canned}} {
			if err := ask(c.s, c.into, round > 0); err != nil {
				return m, err
			}
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
func (b *bench) listed(name string, jobs int) (*server, error) {
	data := filepath.Join(b.dir, name)
	if err := b.template(data); err != nil {
		return nil, err
	}
	begin := time.Now()
	if err := b.fill(data, jobs); err != nil {
		return nil, fmt.Errorf("filling %s: %w", name, err)
	}
	fmt.Printf("   %d jobs written in %s\n", jobs, time.Since(begin).Round(time.Millisecond))
	s, err := b.startClary(data)
	if err != nil {
		return nil, err
	}
	return s, b.pause(2 * time.Second) // it indexes names
}

// template makes a data folder with one job that ended.
func (b *bench) template(data string) error {
	s, err := b.startClary(data)
	if err != nil {
		return err
	}
	err = s.client.bucket(b.ctx, bucketName)
	if err == nil {
		err = s.client.json(b.ctx, "sagemaker", "CreateTrainingJob", trainingJob("template", noImage, "true"), nil)
	}
	for d := (described{}); err == nil && d.TrainingJobStatus != "Failed"; {
		err = s.client.json(b.ctx, "sagemaker", "DescribeTrainingJob", map[string]string{"TrainingJobName": "template"}, &d)
	}
	if err == nil {
		err = b.pause(time.Second) // its last look
	}
	return errors.Join(err, s.stop())
}

// fill copies the template as jobs that were made a second apart and ran up to
// an hour.
func (b *bench) fill(data string, jobs int) error {
	st, err := sqlite.Open(filepath.Join(data, "clary.db"), sqlite.Options{})
	if err != nil {
		return err
	}
	defer st.Close() //nolint:errcheck // what was answered is on disk
	tmpl, err := st.Get(b.ctx, resource.Key{Account: "123456789012", Region: region, Kind: "TrainingJob", Name: "template"})
	if err != nil {
		return err
	}
	const chunk = 1000
	for from := 0; from < jobs; from += chunk {
		err := st.Update(b.ctx, func(tx store.Tx) error {
			for i := from; i < min(from+chunk, jobs); i++ {
				r := *tmpl
				r.Version, r.UID, r.Due = 0, resource.NewUID(), time.Time{}
				r.Name = fmt.Sprintf("job-%06d", i)
				if i%5000 == 77 {
					r.Name = fmt.Sprintf("%s-%06d", rareName, i)
				}
				if i%1000 == 500 {
					r.Phase = "Stopped"
				}
				r.Arn = fmt.Sprintf("arn:aws:sagemaker:%s:123456789012:training-job/%s", region, r.Name)
				r.Created = time.Unix(listEpoch-int64(jobs-i), 0)
				r.Modified = r.Created.Add(time.Duration(i*7919%3600) * time.Second)
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
