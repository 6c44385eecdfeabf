package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"clary/internal/logs"
	"clary/internal/logs/segment"
	"clary/internal/resource"
	"clary/internal/store"
	"clary/internal/store/sqlite"
)

const (
	settle  = 5 * time.Second
	watched = 20 * time.Second
	starts  = 7
)

// idleRows measures an idle server and its start: empty, and with many jobs.
func (b *bench) idleRows() error {
	data := filepath.Join(b.dir, "idle")
	var ours, floor, peer []time.Duration
	for i := range starts {
		s, err := b.startClary(data)
		if err != nil {
			return err
		}
		if i == 0 {
			fmt.Printf("   first start, which makes the keys: %s\n", ms(s.ready))
		} else {
			ours = append(ours, s.ready)
		}
		if err := s.stop(); err != nil {
			return err
		}
		c, err := b.startCanned()
		if err != nil {
			return err
		}
		floor = append(floor, c.ready)
		if err := c.stop(); err != nil {
			return err
		}
	}
	for range 3 {
		m, err := b.startMoto()
		if err != nil {
			return err
		}
		if m == nil {
			break
		}
		peer = append(peer, m.ready)
		if err := m.stop(); err != nil {
			return err
		}
	}
	raw("start", ours)
	b.add(row{
		name: "Start → first good answer, empty", ours: times(ours), floor: "canned " + times(floor), peer: times(peer), goal: "≤ 100 ms", met: within(ours, 100*time.Millisecond), note: notes["start"],
	})
	s, err := b.startClary(data)
	if err != nil {
		return err
	}
	c, err := b.startCanned()
	if err != nil {
		return errors.Join(err, s.stop())
	}
	mem, load, err := b.watch(s)
	cmem, cload, cerr := b.watch(c)
	motoMem := ""
	if m, merr := b.startMoto(); merr == nil && m != nil {
		if v, _, werr := b.watch(m); werr == nil {
			motoMem = mib(v)
		}
		err = errors.Join(err, m.stop())
	}
	if err := errors.Join(err, cerr, s.stop(), c.stop()); err != nil {
		return err
	}
	b.add(row{name: "Idle memory (PSS)", ours: mib(mem), floor: "canned " + mib(cmem), peer: motoMem, goal: "≤ 40 MiB", met: reached(mem <= 40<<10), note: notes["memory"]})
	b.add(row{name: "Idle CPU", ours: percent(load), floor: "canned " + percent(cload), goal: "≤ 0.5 % of a core", met: reached(load <= 0.005)})
	return b.atScale()
}

// watch looks at an idle server for a while.
func (b *bench) watch(s *server) (kib int64, busy float64, err error) {
	if err := b.pause(settle); err != nil {
		return 0, 0, err
	}
	before, err := cpu(s.cmd.Process.Pid)
	if err != nil {
		return 0, 0, err
	}
	if err := b.pause(watched); err != nil {
		return 0, 0, err
	}
	after, err := cpu(s.cmd.Process.Pid)
	if err != nil {
		return 0, 0, err
	}
	kib, err = pss(s.cmd.Process.Pid)
	return kib, float64(after-before) / float64(watched), err
}

func (b *bench) pause(d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-b.ctx.Done():
		return errStopped
	}
}

func mib(kib int64) string { return fmt.Sprintf("%.1f MiB", float64(kib)/1024) }

func percent(f float64) string { return fmt.Sprintf("%.2f %%", 100*f) }

// atScale makes a data folder with many ended jobs, each a copy of a real one
// with a log stream of its own, and starts on it.
func (b *bench) atScale() error {
	data := filepath.Join(b.dir, "scale")
	if err := b.template(data); err != nil {
		return err
	}
	begin := time.Now()
	if err := b.copyJobs(data); err != nil {
		return fmt.Errorf("copying jobs: %w", err)
	}
	fmt.Printf("   %d jobs written in %s\n", b.jobs, time.Since(begin).Round(time.Second))
	var ready []time.Duration
	var kib int64
	for i := range 4 {
		s, err := b.startClary(data)
		if err != nil {
			return err
		}
		if i > 0 { // the first indexes names and compacts
			ready = append(ready, s.ready)
		}
		if i < 3 {
			if err := b.pause(2 * time.Second); err != nil {
				return errors.Join(err, s.stop())
			}
		} else if kib, _, err = b.watch(s); err != nil {
			return errors.Join(err, s.stop())
		}
		if err := s.stop(); err != nil {
			return err
		}
	}
	raw("start at scale", ready)
	n := count(float64(b.jobs))
	b.add(row{name: "Start → first good answer, " + n + " jobs, each with a log stream", ours: times(ready), goal: "≤ 1 s", met: within(ready, time.Second), note: notes["scaleStart"]})
	b.add(row{name: "Idle memory (PSS), " + n + " jobs", ours: mib(kib), goal: "≤ 150 MiB", met: reached(kib <= 150<<10)})
	return nil
}

// copyJobs writes straight into the stores of a server that is not running.
func (b *bench) copyJobs(data string) error {
	st, err := sqlite.Open(filepath.Join(data, "clary.db"), sqlite.Options{})
	if err != nil {
		return err
	}
	defer st.Close() //nolint:errcheck // what was answered is on disk
	ls, err := segment.Open(segment.Config{Dir: filepath.Join(data, "logs")})
	if err != nil {
		return err
	}
	defer ls.Close() //nolint:errcheck // temporary data
	k := resource.Key{Account: "123456789012", Region: region, Kind: "TrainingJob", Name: "template"}
	tmpl, err := st.Get(b.ctx, k)
	if err != nil {
		return err
	}
	var status map[string]json.RawMessage
	if err := json.Unmarshal(tmpl.Status, &status); err != nil {
		return err
	}
	const chunk = 1000
	for from := 0; from < b.jobs; from += chunk {
		err := st.Update(b.ctx, func(tx store.Tx) error {
			for i := from; i < min(from+chunk, b.jobs); i++ {
				r := *tmpl
				r.Version, r.UID = 0, resource.NewUID()
				r.Name = fmt.Sprintf("job-%06d", i)
				r.Arn = fmt.Sprintf("arn:aws:sagemaker:%s:123456789012:training-job/%s", region, r.Name)
				r.Created = tmpl.Created.Add(-time.Duration(b.jobs-i) * time.Second)
				r.Modified = r.Created
				r.Due = time.Time{}
				if err := tx.Put(&r); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		for i := from; i < min(from+chunk, b.jobs); i++ {
			s := logs.Stream{Account: k.Account, Region: region, Group: "/aws/sagemaker/TrainingJobs", Name: fmt.Sprintf("job-%06d/algo-1-1790000000", i)}
			if err := ls.Ingest(b.ctx, s, "t", 0, 20, []logs.Event{{Timestamp: time.Now().UnixMilli(), Message: "done"}}); err != nil {
				return err
			}
		}
	}
	return nil
}
