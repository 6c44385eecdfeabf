package supervisor

import (
	"context"
	"io"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"sync/atomic"
	"testing"
	"time"

	"clary/internal/compute"
	"clary/internal/compute/sandbox/jail"
	"clary/internal/compute/sandbox/task"
	"clary/internal/stage/plan"
)

// mute is an init that says what a test gives it, when it is listened to.
type mute struct {
	listens chan struct{}
	says    chan jail.Word
}

func (mute) Send(any, ...int) error { return nil }

func (m mute) Receive(v any, _ *[]int) error {
	m.listens <- struct{}{}
	w, ok := <-m.says
	if !ok {
		return io.EOF
	}
	*v.(*jail.Word) = w
	return nil
}

func (mute) Close() error { return nil }

// TestLastLookHoldsNothingUp: while what a program has left is looked at, its
// supervisor hears whom it has to hear, and times are those of what happened.
// How the task ended is not told before the look is over.
func TestLastLookHoldsNothingUp(t *testing.T) { //nolint:paralleltest // it changes the working folder
	for _, tt := range []struct {
		over bool
		want compute.Reason
	}{{true, compute.ReasonDisk}, {false, compute.ReasonExited}} {
		t.Chdir(t.TempDir())
		t.Cleanup(func() { signal.Reset() })
		var passed atomic.Int64
		began := time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC)
		self, err := os.FindProcess(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		s := &supervisor{
			spec: &task.Spec{UploadLimit: time.Hour}, log: log.New(t.Output(), "", 0), init: &exec.Cmd{Process: self},
			stops: make(chan task.Stop), kills: make(chan struct{}), words: make(chan word), sockets: make(chan chan<- int), exited: make(chan error),
			clock: task.NewClock(began, func() (time.Duration, time.Duration) {
				return time.Duration(passed.Load()), time.Duration(passed.Load())
			}),
		}
		s.hub = &hub{dial: newDialer(s.sockets)}
		if s.spool, err = newSpooler(task.SpoolFile, 1<<10, func() {}); err != nil {
			t.Fatal(err)
		}
		init, look, done := mute{make(chan struct{}), make(chan jail.Word)}, make(chan bool), make(chan struct{})
		go s.hear(init)
		go func() {
			defer close(done)
			s.watch(context.Background(), init, measured{left: func() <-chan bool { return look }})
		}()
		heard := func() { // a stop is taken when what came before it is done
			t.Helper()
			select {
			case s.stops <- task.Stop{}:
			case <-done:
				t.Fatal("the task is over before the look is")
			case <-time.After(time.Minute):
				t.Fatal("nobody hears a stop")
			}
		}
		<-init.listens
		for i, w := range []jail.Word{{Exit: &jail.Exit{}}, {Step: plan.StepUploading}, {End: &plan.Result{}, Stage: true}} {
			passed.Store(int64(i+1) * int64(10*time.Second))
			init.says <- w
			<-init.listens // the word was taken
			heard()
		}
		close(init.says)
		s.exited <- nil
		heard()
		passed.Store(int64(40 * time.Second))
		if st, err := task.ReadStatus("."); err != nil || st.Exit != nil {
			t.Errorf("before the look is over: %+v, %v", st, err)
		}
		look <- tt.over
		<-done
		if err := s.finish(); err != nil {
			t.Fatal(err)
		}
		st, err := task.ReadStatus(".")
		if err != nil {
			t.Fatal(err)
		}
		if len(st.Steps) != 1 || !st.Steps[0].At.Equal(began.Add(20*time.Second)) {
			t.Errorf("steps %+v", st.Steps)
		}
		if st.Phase != compute.Ended || st.Exit.Reason != tt.want || !st.Exit.At.Equal(began.Add(30*time.Second)) {
			t.Errorf("%s, exit %+v, want %s", st.Phase, *st.Exit, tt.want)
		}
	}
}

// TestLeftIsMeasured looks at what lies there when it is asked for, and where a
// file system bounds it not at all.
func TestLeftIsMeasured(t *testing.T) { //nolint:paralleltest // it changes the working folder
	t.Chdir(t.TempDir())
	if err := os.Mkdir(task.VolDir, 0o700); err != nil {
		t.Fatal(err)
	}
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	s := &supervisor{spec: &task.Spec{}, init: &exec.Cmd{Process: self}}
	if s.measure(t.Context()).left() != nil {
		t.Error("a task without a limit is measured")
	}
	s.spec.Limits.DiskBytes = 1 << 20
	m := s.measure(t.Context())
	fill(t, task.VolDir+"/a", 2<<20)
	if over := <-m.left(); !over || s.files.Load() <= 1<<20 {
		t.Errorf("over %v, %d bytes", over, s.files.Load())
	}
}
