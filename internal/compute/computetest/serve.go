package computetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"clary/internal/compute"
)

// facet is an interface beside Driver that notebooks need. A driver without it
// fails the suite: it must not be wired where they are.
func facet[T any](t *testing.T, d compute.Driver) T {
	t.Helper()
	if b, ok := d.(*bench); ok {
		d = b.Driver
	}
	f, ok := d.(T)
	if !ok {
		t.Fatalf("driver %s has no %T", d.Name(), &f)
	}
	return f
}

func files(t *testing.T, b *bench) {
	paths := []string{"/opt/ml/metadata/resource-metadata.json", "/opt/ml/plain", "/opt/ml/none"}
	tk := b.task("files-1", Program{Read: paths})
	tk.Files = []compute.File{{Path: paths[0], Mode: 0o644, Data: []byte(`{"ResourceArn":"arn"}`)}, {Path: paths[1], Mode: 0o400, Data: []byte("private")}}
	must(t, b.Start(t.Context(), tk))
	wantLines(t, Lines(t, Output(t, b, tk.ID, 0)), []string{`{"ResourceArn":"arn"}`, "private", "missing"})
}

func home(t *testing.T, b *bench) {
	const dir = "/home/ec2-user"
	tk := b.task("home-1", Program{Home: true, Read: []string{dir + "/here"}, Write: map[string]string{dir + "/mine": "x"}})
	tk.User = &compute.User{Name: "ec2-user", Home: dir, Sudo: true}
	tk.Dir = dir
	tk.Files = []compute.File{{Path: dir + "/here", Mode: 0o600, Data: []byte("read")}}
	must(t, b.Start(t.Context(), tk))
	wantLines(t, Lines(t, Output(t, b, tk.ID, 0)), []string{"read", dir})
	if st := Ended(t, b, tk.ID); st.Exit.Result.ExitCode != 0 {
		t.Errorf("exit %+v", *st.Exit)
	}
}

const volumeAt = "/home/ec2-user/SageMaker"

// mounting is a task of a notebook's shape with a volume.
func (b *bench) mounting(id string, v compute.VolumeID, p Program) compute.Task {
	tk := b.task(id, p)
	tk.User = &compute.User{Name: "ec2-user", Home: "/home/ec2-user", Sudo: true}
	tk.Mounts = []compute.Mount{{Volume: v, Path: volumeAt, Writable: true}}
	return tk
}

// volumeOutlives keeps files from task to task, in a driver that is opened
// anew, in a volume that grows, until it is removed.
func volumeOutlives(t *testing.T, b *bench) {
	const v, size = "vol0123456789", 64 << 20
	vols := facet[compute.Volumes](t, b)
	ctx := t.Context()
	must(t, vols.EnsureVolume(ctx, v, size))
	must(t, vols.EnsureVolume(ctx, v, size))
	p := Program{Read: []string{volumeAt + "/a", volumeAt + "/b"}}
	write := func(name, text string) Program {
		w := p
		w.Write = map[string]string{volumeAt + "/" + name: text}
		return w
	}
	run := func(d compute.Driver, id string, p Program, want ...string) {
		t.Helper()
		tk := b.mounting(id, v, p)
		must(t, d.Start(ctx, tk))
		wantLines(t, Lines(t, Output(t, d, tk.ID, 0)), want)
		if st := Ended(t, d, tk.ID); st.Exit.Result.ExitCode != 0 {
			t.Fatalf("%s: exit %+v", id, *st.Exit)
		}
	}
	run(b, "v-1", write("a", "first"), "missing", "missing")
	run(b, "v-2", write("b", "second"), "first", "missing")
	must(t, b.Remove(ctx, "v-1"))
	must(t, b.Remove(ctx, "v-2"))
	d := b.Open(t)
	vols = facet[compute.Volumes](t, d)
	must(t, vols.EnsureVolume(ctx, v, 2*size))
	must(t, vols.EnsureVolume(ctx, v, size)) // it never shrinks
	run(d, "v-3", write("a", "third"), "first", "second")
	ids, err := vols.ListVolumes(ctx)
	must(t, err)
	if !slices.Equal(ids, []compute.VolumeID{v}) {
		t.Errorf("ListVolumes = %v", ids)
	}
	// A task that is torn away leaves the volume to the next.
	stay := b.mounting("v-4", v, Program{Write: map[string]string{volumeAt + "/b": "fourth"}, Lines: []string{"up"}, Forever: true, IgnoreTERM: true})
	must(t, d.Start(ctx, stay))
	untilLine(t, d, stay.ID)
	must(t, d.Remove(ctx, stay.ID))
	run(d, "v-5", p, "third", "fourth")
	must(t, d.Remove(ctx, "v-3"))
	must(t, d.Remove(ctx, "v-5"))
	must(t, vols.RemoveVolume(ctx, v))
	must(t, vols.RemoveVolume(ctx, v))
	ids, err = vols.ListVolumes(ctx)
	must(t, err)
	if len(ids) != 0 {
		t.Errorf("ListVolumes after removal = %v", ids)
	}
	must(t, vols.EnsureVolume(ctx, v, size))
	run(d, "v-6", p, "missing", "missing")
	must(t, d.Remove(ctx, "v-6"))
	must(t, vols.RemoveVolume(ctx, v))
}

func volumeInUse(t *testing.T, b *bench) {
	const v, other, size = "used0123456789", "free0123456789", 64 << 20
	vols := facet[compute.Volumes](t, b)
	ctx := t.Context()
	must(t, vols.EnsureVolume(ctx, v, size))
	must(t, vols.EnsureVolume(ctx, other, size))
	first := b.mounting("use-1", v, Program{Lines: []string{"up"}, Forever: true})
	must(t, b.Start(ctx, first))
	must(t, b.Start(ctx, first))
	untilLine(t, b, first.ID)
	for _, d := range []compute.Driver{b, b.Open(t)} {
		vols := facet[compute.Volumes](t, d)
		for what, err := range map[string]error{
			"Start of another task": d.Start(ctx, b.mounting("use-2", v, Program{})),
			"growing":               vols.EnsureVolume(ctx, v, 2*size),
			"removal":               vols.RemoveVolume(ctx, v),
		} {
			if !errors.Is(err, compute.ErrInUse) {
				t.Errorf("%s = %v, want ErrInUse", what, err)
			}
		}
		must(t, vols.EnsureVolume(ctx, v, size))
	}
	free := b.mounting("use-3", other, Program{Lines: []string{"beside"}})
	must(t, b.Start(ctx, free))
	wantLines(t, Lines(t, Output(t, b, free.ID, 0)), []string{"beside"})
	if _, err := b.Status(ctx, "use-2"); !errors.Is(err, compute.ErrNotFound) {
		t.Errorf("Status of the refused task = %v", err)
	}
	must(t, b.Stop(ctx, first.ID, time.Second))
	Ended(t, b, first.ID)
	second := b.mounting("use-2", v, Program{Lines: []string{"mine now"}})
	must(t, b.Start(ctx, second))
	wantLines(t, Lines(t, Output(t, b, second.ID, 0)), []string{"mine now"})
	Ended(t, b, second.ID)
	for _, id := range []compute.TaskID{first.ID, second.ID, free.ID} {
		must(t, b.Remove(ctx, id))
	}
	must(t, vols.RemoveVolume(ctx, v))
	must(t, vols.RemoveVolume(ctx, other))
}

func volumeUnknown(t *testing.T, b *bench) {
	vols := facet[compute.Volumes](t, b)
	if err := b.Start(t.Context(), b.mounting("nov-1", "nosuchvolume", Program{})); !errors.Is(err, compute.ErrNoVolume) {
		t.Errorf("Start with an unknown volume = %v, want ErrNoVolume", err)
	}
	if _, err := b.Status(t.Context(), "nov-1"); !errors.Is(err, compute.ErrNotFound) {
		t.Errorf("Status = %v, want ErrNotFound", err)
	}
	must(t, vols.RemoveVolume(t.Context(), "nosuchvolume"))
	for _, id := range []compute.VolumeID{"../tasks", "", ".", "A", "a/b"} {
		if err := vols.EnsureVolume(t.Context(), id, 64<<20); err == nil {
			t.Errorf("EnsureVolume(%q) was accepted", id)
		}
		must(t, vols.RemoveVolume(t.Context(), id))
	}
	if err := vols.EnsureVolume(t.Context(), "negative", -1); err == nil {
		t.Error("a size of -1 was accepted")
	}
	ids, err := vols.ListVolumes(t.Context())
	must(t, err)
	if len(ids) != 0 {
		t.Errorf("ListVolumes = %v", ids)
	}
}

// dial talks to a program's own listener, also after a restart and while many
// others do.
func dial(t *testing.T, b *bench) {
	const port = 8888
	tk := b.task("dial-1", Program{Listen: port, Lines: []string{"up"}, Forever: true})
	must(t, b.Start(t.Context(), tk))
	untilLine(t, b, tk.ID)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, d := range []compute.Driver{b, b.Open(t)} {
		dialer := facet[compute.Dialer](t, d)
		if _, err := dialer.Dial(ctx, tk.ID, 8889); !errors.Is(err, compute.ErrRefused) {
			t.Errorf("Dial of a port where nobody listens = %v, want ErrRefused", err)
		}
		if _, err := dialer.Dial(ctx, "no-such-task", port); !errors.Is(err, compute.ErrNotFound) {
			t.Errorf("Dial of an unknown task = %v, want ErrNotFound", err)
		}
		for _, p := range []int{-1, 0, 65536} {
			if c, err := dialer.Dial(ctx, tk.ID, p); err == nil {
				_ = c.Close()
				t.Errorf("Dial of port %d succeeded", p)
			}
		}
		errs := make(chan error, 20)
		for i := range cap(errs) {
			go func() { errs <- echoes(ctx, dialer, tk.ID, port, bytes.Repeat([]byte{byte('a' + i)}, 1+i*9999)) }()
		}
		for range cap(errs) {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
	}
	last, err := facet[compute.Dialer](t, b).Dial(ctx, tk.ID, port)
	must(t, err)
	defer last.Close() //nolint:errcheck // it is over
	must(t, last.SetReadDeadline(time.Now().Add(patience)))
	must(t, b.Stop(t.Context(), tk.ID, time.Second))
	Ended(t, b, tk.ID)
	if n, err := last.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after the task's end a read gives %d bytes, %v", n, err)
	}
	if _, err := facet[compute.Dialer](t, b).Dial(ctx, tk.ID, port); !errors.Is(err, compute.ErrNotFound) {
		t.Errorf("Dial of an ended task = %v, want ErrNotFound", err)
	}
}

// echoes sends and expects the same.
func echoes(ctx context.Context, d compute.Dialer, id compute.TaskID, port int, text []byte) error {
	c, err := d.Dial(ctx, id, port)
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // it is over
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	sent := make(chan error, 1)
	go func(c net.Conn) {
		_, err := c.Write(text)
		sent <- err
	}(c)
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if !bytes.Equal(got, text) {
		return errors.New("what came back is not what was sent")
	}
	return <-sent
}

// renew hands fresh credentials to a program that runs.
func renew(t *testing.T, b *bench) {
	ctx := t.Context()
	tk := b.task("renew-1", Program{Identity: true, Forever: true, Lines: []string{"again"}})
	tk.Identity = compute.Identity{RoleArn: "arn:aws:iam::123456789012:role/r", AccessKeyID: "ASIAFIRST", SecretAccessKey: "s", SessionToken: "t", Expiration: time.Now().Add(time.Hour), Region: "eu-west-1"}
	must(t, b.Start(ctx, tk))
	if got := untilLine(t, b, tk.ID); got != "ASIAFIRST" {
		t.Errorf("the program acts with %q", got)
	}
	fresh := tk.Identity
	fresh.AccessKeyID, fresh.Region = "ASIASECOND", ""
	r := facet[compute.Renewer](t, b.Open(t))
	must(t, r.Renew(ctx, tk.ID, fresh))
	must(t, r.Renew(ctx, tk.ID, fresh))
	if err := r.Renew(ctx, "no-such-task", fresh); !errors.Is(err, compute.ErrNotFound) {
		t.Errorf("Renew of an unknown task = %v, want ErrNotFound", err)
	}
	until(t, b, tk.ID, " ASIASECOND\n")
	must(t, b.Stop(ctx, tk.ID, time.Second))
	Ended(t, b, tk.ID)
	must(t, r.Renew(ctx, tk.ID, fresh))
}
