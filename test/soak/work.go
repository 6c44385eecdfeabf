package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"clary/internal/client"
	"clary/test/daemon"
)

// job runs one job to its end, looks at it from all sides, and deletes what it
// made.
func (s *soak) job(ctx context.Context, name string) {
	kind := s.roll(5)
	lines := 20 + s.roll(200)
	script := fmt.Sprintf("import sys, time\nfor i in range(%d): print('line', i, 'loss=%%d;' %% i)\n", lines) +
		"open('/opt/ml/model/w', 'wb').write(bytes(200000))\n"
	want, options := "Completed", []func(map[string]any){}
	switch kind {
	case 0:
		script += "raise ValueError('as planned')"
		want = "Failed"
	case 1:
		script += "time.sleep(300)"
		want = "Stopped"
	case 2:
		script += "print(len(open('/opt/ml/input/data/train/in', 'rb').read()))"
		if err := s.roomy(ctx, func() error { return s.Put(ctx, bucket, name+"/in", make([]byte, 300_000)) }); err != nil {
			s.fail("%s: input: %v", name, err)
			return
		}
		options = append(options, daemon.Channel("train", "s3://"+bucket+"/"+name+"/"))
	case 3:
		script += fmt.Sprintf("time.sleep(%d)", 1+s.roll(8))
	}
	request := daemon.JobRequest(name, bucket, append(options, daemon.Python(script))...)
	err := s.roomy(ctx, func() error { return s.SageMaker(ctx, "CreateTrainingJob", request, nil) })
	if err != nil && client.Code(err) != "ResourceInUse" { // the call before may have done it
		s.fail("create %s: %v", name, err)
		return
	}
	within, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	if kind == 1 {
		pause(ctx, time.Duration(s.roll(4000))*time.Millisecond)
		err := s.SageMaker(ctx, "StopTrainingJob", map[string]string{"TrainingJobName": name}, nil)
		if err != nil && client.Code(err) != "ValidationException" { // it was over
			s.fail("stop %s: %v", name, err)
		}
	}
	j, err := s.AwaitJob(within, name)
	if err != nil {
		s.fail("%v", err)
		return
	}
	s.mu.Lock()
	hurt, orphan := s.hurt[name], s.orphans[name]
	s.mu.Unlock()
	gone := j.TrainingJobStatus == "Failed" && strings.HasPrefix(j.FailureReason, "InternalServerError: We encountered an internal error.")
	switch {
	case gone && hurt:
		s.counted(lost)
	case j.TrainingJobStatus != want:
		s.fail("%s is %s, want %s (hurt: %t): %s", name, j.TrainingJobStatus, want, hurt, j.FailureReason)
	default:
		s.counted("jobs " + want)
		if orphan {
			s.counted(outlived)
		}
		if kind != 1 {
			s.lines(ctx, name, lines)
		}
	}
	s.clear(ctx, j)
}

// roomy does what a server refuses while its disk is almost full, which may be
// the doing of others on the machine.
func (s *soak) roomy(ctx context.Context, do func() error) error {
	for deadline := time.Now().Add(2 * time.Minute); ; pause(ctx, time.Second) {
		err := do()
		if c := client.Code(err); c != "ResourceLimitExceeded" && c != "InsufficientStorage" || time.Now().After(deadline) || ctx.Err() != nil {
			return err
		}
		s.counted("refusals on a full disk")
	}
}

// lines sees that each line of a job is in its log once and in order.
func (s *soak) lines(ctx context.Context, name string, n int) {
	all, err := s.LogLines(ctx, name)
	if err != nil {
		s.fail("%s: log: %v", name, err)
		return
	}
	all = slices.DeleteFunc(all, func(l string) bool { return !strings.HasPrefix(l, "line ") })
	for i := range max(n, len(all)) {
		want := fmt.Sprintf("line %d loss=%d;", i, i)
		if i >= len(all) || i >= n || all[i] != want {
			s.fail("%s: the log has %d lines of %d; line %d is wrong", name, len(all), n, i)
			return
		}
	}
}

// clear deletes a job with its log and its objects.
func (s *soak) clear(ctx context.Context, j *daemon.Job) {
	name := j.TrainingJobName
	if err := s.SageMaker(ctx, "DeleteTrainingJob", map[string]string{"TrainingJobName": name}, nil); err != nil && client.Code(err) != "ValidationException" && client.Code(err) != "ResourceNotFound" {
		s.fail("delete %s: %v", name, err)
	}
	for _, prefix := range []string{"out/" + name + "/", name + "/"} {
		for o, err := range s.List(ctx, bucket, prefix) {
			if err == nil {
				err = s.Delete(ctx, bucket, o.Key)
			}
			if err != nil {
				s.fail("delete objects of %s: %v", name, err)
				break
			}
		}
	}
	if err := s.DeleteLog(ctx, name); err != nil {
		s.fail("delete the log of %s: %v", name, err)
	}
}

// objects puts, reads back and deletes objects of many sizes.
func (s *soak) objects(ctx, during context.Context) {
	// In turn, so that what is there at any moment is alike.
	sizes := []int{0, 1, 1000, 64 << 10, 1 << 20, 9 << 20}
	for n := 0; during.Err() == nil; n++ {
		key := fmt.Sprintf("objects/%d", n)
		body := bytes.Repeat([]byte{byte(n), byte(n >> 8), 7}, sizes[n%len(sizes)]/3+1)
		if err := s.roomy(ctx, func() error {
			_, err := s.Upload(ctx, bucket, key, bytes.NewReader(body))
			return err
		}); err != nil {
			s.fail("put %s of %d bytes: %v", key, len(body), err)
			continue
		}
		r, _, err := s.Get(ctx, bucket, key)
		var got []byte
		if err == nil {
			got, err = io.ReadAll(r)
			_ = r.Close() // read to its end
		}
		if err != nil || !bytes.Equal(got, body) {
			s.fail("get %s: %d of %d bytes: %v", key, len(got), len(body), err)
		}
		if old := n - 18; old >= 0 {
			if err := s.Delete(ctx, bucket, fmt.Sprintf("objects/%d", old)); err != nil {
				s.fail("delete %s: %v", key, err)
			}
		}
		s.counted("objects")
		pause(during, 50*time.Millisecond)
	}
}

// lists asks for lists of all kinds.
func (s *soak) lists(ctx, during context.Context) {
	for during.Err() == nil {
		var out any
		if err := s.SageMaker(ctx, "ListTrainingJobs", map[string]any{"SortBy": "CreationTime", "MaxResults": 50}, &out); err != nil {
			s.fail("list jobs: %v", err)
		}
		for _, err := range s.List(ctx, bucket, "objects/") {
			if err != nil {
				s.fail("list objects: %v", err)
				break
			}
		}
		if err := s.JSON(ctx, "logs", "Logs_20140328.DescribeLogGroups", map[string]any{}, &out); err != nil {
			s.fail("list log groups: %v", err)
		}
		if _, err := s.Usage(ctx); err != nil {
			s.fail("usage: %v", err)
		}
		s.counted("rounds of lists")
		pause(during, 200*time.Millisecond)
	}
}

// billed sees that no job is on the bill twice or without an end.
func (s *soak) billed(ctx context.Context) {
	usage, err := s.Usage(ctx)
	if err != nil {
		s.fail("usage: %v", err)
	}
	jobs := 0
	for name, us := range usage {
		jobs++
		for _, u := range us {
			if u.End.IsZero() || u.End.Before(u.Start) || u.End.Sub(u.Start) > 4*time.Minute || u.Quantity != 1 {
				s.fail("%s is billed %+v", name, u)
			}
		}
		if len(us) != 1 {
			s.fail("%s is billed %d times", name, len(us))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	done := s.count["jobs Completed"] + s.count["jobs Failed"]
	if jobs < done {
		s.failures = append(s.failures, fmt.Sprintf("%d jobs ran and %d are on the bill", done, jobs))
	}
}

// empty sees that nothing is left of any task.
func (s *soak) empty() {
	deadline := time.Now().Add(30 * time.Second)
	for {
		tasks, err := s.d.Tasks()
		if err == nil && len(tasks) == 0 {
			return
		}
		if time.Now().After(deadline) {
			s.fail("tasks are left: %+v %v", tasks, err)
			return
		}
		time.Sleep(50 * time.Millisecond) // the world outside gives no signal
	}
}
