package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"time"
)

// target is a server that takes part in a load.
type contender struct {
	name  string
	s     *server
	loads map[int]load // by concurrency
}

func (b *bench) contenders(data string) ([]*contender, func() error, error) {
	var all []*contender
	var err error
	for _, c := range []struct {
		name  string
		start func() (*server, error)
	}{
		{"clary", func() (*server, error) { return b.startClary(data) }},
		{"canned", b.startCanned},
		{"moto", b.startMoto},
	} {
		var s *server
		if s, err = c.start(); err != nil {
			break
		}
		if s != nil {
			all = append(all, &contender{name: c.name, s: s, loads: make(map[int]load)})
		}
	}
	return all, func() error {
		var err error
		for _, c := range all {
			err = errors.Join(err, c.s.stop())
		}
		return err
	}, err
}

// compete runs one load against all, round by round.
func (b *bench) compete(what string, all []*contender, fn func(ctx context.Context, c *contender, worker, i int) error) error {
	for _, c := range all {
		clear(c.loads)
	}
	for _, n := range []int{1, 16} {
		for round := range b.rounds + 1 {
			for _, c := range all {
				s, err := hammer(b.ctx, n, b.period, func(ctx context.Context, w, i int) error { return fn(ctx, c, w, i) })
				if err != nil {
					return fmt.Errorf("%s on %s: %w", what, c.name, err)
				}
				if round == 0 {
					continue // warming up
				}
				c.loads[n] = append(c.loads[n], s)
				fmt.Printf("   %s %s c%d round %d: %s/s, %s\n", what, c.name, n, round, count(s.rate()), times(s.lat))
			}
		}
	}
	return nil
}

func pick(all []*contender, name string, n int) load {
	for _, c := range all {
		if c.name == name {
			return c.loads[n]
		}
	}
	return nil
}

// ratio is what goals are about.
func ratio(a, b load) string {
	if len(a) == 0 || len(b) == 0 {
		return ""
	}
	return fmt.Sprintf("%.2g×", a.median()/b.median())
}

func withRatio(l, to load) string {
	if r := ratio(to, l); r != "" {
		return l.String() + "; Clary is " + r
	}
	return l.String()
}

// api measures Describe and Create.
func (b *bench) api() (err error) {
	all, stop, err := b.contenders(filepath.Join(b.dir, "api"))
	defer func() { err = errors.Join(err, stop()) }()
	if err != nil {
		return err
	}
	for _, c := range all {
		if c.name != "canned" {
			if err := c.s.client.bucket(b.ctx, bucketName); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
		if err := c.s.client.json(b.ctx, "sagemaker", "CreateTrainingJob", trainingJob("described", noImage, "true"), nil); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	body := []byte(`{"TrainingJobName":"described"}`)
	err = b.compete("describe", all, func(ctx context.Context, c *contender, _, _ int) error {
		_, err := c.s.client.call(ctx, "sagemaker", "DescribeTrainingJob", body)
		return err
	})
	if err != nil {
		return err
	}
	ours, floor, peer := func(n int) load { return pick(all, "clary", n) }, func(n int) load { return pick(all, "canned", n) }, func(n int) load { return pick(all, "moto", n) }
	b.add(row{
		name: "Describe, c1", ours: ours(1).String(), floor: "canned " + withRatio(floor(1), ours(1)), peer: withRatio(peer(1), ours(1)),
		goal: "p50 ≤ 0.25 ms", met: within(ours(1).all(), 250*time.Microsecond), note: notes["describe1"],
	})
	b.add(row{
		name: "Describe, c16", ours: ours(16).String(), floor: "canned " + withRatio(floor(16), ours(16)), peer: withRatio(peer(16), ours(16)),
		goal: "≥ 60× moto, ≥ 0.7× canned", met: beats(ours(16), map[float64]load{60: peer(16), 0.7: floor(16)}), note: notes["describe16"],
	})

	var made atomic.Int64
	err = b.compete("create", all, func(ctx context.Context, c *contender, _, _ int) error {
		body, err := json.Marshal(trainingJob(fmt.Sprintf("made-%d", made.Add(1)), noImage, "true"))
		if err != nil {
			return err
		}
		_, err = c.s.client.call(ctx, "sagemaker", "CreateTrainingJob", body)
		return err
	})
	if err != nil {
		return err
	}
	b.add(row{
		name: "Create, durable, c1", ours: ours(1).String(), floor: "canned + fsync " + withRatio(floor(1), ours(1)), peer: withRatio(peer(1), ours(1)),
		goal: "p50 ≤ 1.5 ms", met: within(ours(1).all(), 1500*time.Microsecond), note: notes["create1"],
	})
	b.add(row{
		name: "Create, durable, c16", ours: ours(16).String(), floor: "canned + fsync " + withRatio(floor(16), ours(16)), peer: withRatio(peer(16), ours(16)),
		goal: "≥ 30× moto", met: beats(ours(16), map[float64]load{30: peer(16)}), note: notes["create16"],
	})
	return nil
}
