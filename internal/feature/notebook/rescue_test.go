package notebook

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	apism "clary/internal/api/sagemaker"
	"clary/internal/aws/op"
	"clary/internal/compute"
	"clary/internal/compute/fake"
	"clary/internal/runtimes"
	"clary/internal/stage/agent"
	"clary/internal/store"
)

// shelf is an account's bucket.
type shelf struct {
	objects map[string]string
	wrote   []string // keys, in order
	trouble error
}

func (*shelf) Bucket(account, region string) string { return "sagemaker-" + region + "-" + account }

func (s *shelf) Has(_ context.Context, _, _, key string, f agent.File) (bool, error) {
	text, ok := s.objects[key]
	return ok && fmt.Sprintf("%x", sha256.Sum256([]byte(text))) == f.SHA256, nil
}

func (s *shelf) Keep(_ context.Context, _, _, key string, f agent.File, body io.Reader) error {
	if s.trouble != nil {
		return s.trouble
	}
	b, err := io.ReadAll(body)
	if err != nil || int64(len(b)) != f.Bytes || fmt.Sprintf("%x", sha256.Sum256(b)) != f.SHA256 {
		return fmt.Errorf("%s: %w", key, io.ErrUnexpectedEOF)
	}
	s.objects[key] = string(b)
	s.wrote = append(s.wrote, key)
	return nil
}

// vanish looks until a deleted notebook is gone.
func (b *bench) vanish(name string) {
	b.t.Helper()
	k := key(account, region, name)
	for range 2000 {
		_, err := b.Reconcile(b.t.Context(), k)
		if err != nil && b.shelf.trouble == nil {
			b.t.Fatal(err)
		}
		if _, err := b.db.Get(b.t.Context(), k); errors.Is(err, store.ErrNotFound) {
			return
		}
		time.Sleep(time.Second) // of the bubble
	}
	b.t.Fatalf("%s stays: %s", name, b.describe(name).FailureReason)
}

// rescued is a notebook that was stopped and deleted, whose rescues go as said.
func rescued(t *testing.T, scripts ...fake.Agent) (b *bench, volume compute.VolumeID) {
	t.Helper()
	tries := 0
	b = newBench(t, func(k compute.Task) fake.Script {
		if fake.Order(k).Shelter == nil {
			return lab(k)
		}
		a := scripts[min(tries, len(scripts)-1)]
		tries++
		sc := fake.Script{Delay: time.Second, Forever: a.Failure == "", Run: time.Minute, Serve: a.Ports(k, time.Second, runtimes.NotebookPort, nil)}
		if a.Lab > 0 {
			sc.Lost = a.Lab
		}
		return sc
	})
	b.create(good("nb"))
	b.settle("nb", "InService")
	rec, err := b.db.Get(t.Context(), key(account, region, "nb"))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.stop("nb"); err != nil {
		t.Fatal(err)
	}
	b.settle("nb", "Stopped")
	if err := b.erase("nb"); err != nil {
		t.Fatal(err)
	}
	return b, compute.VolumeID(rec.UID)
}

func (b *bench) isGone(v compute.VolumeID) {
	b.t.Helper()
	if _, _, ok := b.world.Volume(v); ok || len(b.world.Running()) != 0 {
		b.t.Errorf("the volume is there: %t; %v run", ok, b.world.Running())
	}
}

func TestRescue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, volume := rescued(t, fake.Agent{Search: 20 * time.Second, Found: map[string]string{"work.bundle": "commits", "loose.tar.gz": "files"}, Rescue: agent.Rescue{Notes: []string{"a note"}}})
		defer b.db.Close()
		var records []string
		b.Record = func(ctx context.Context, c op.Call, in any, arn string) (context.Context, func(error) error) {
			records = append(records, fmt.Sprintf("%s %s %s %+v", c.Operation, c.Principal.Service, arn, in))
			return ctx, func(err error) error { return err }
		}
		began := time.Now().UTC()
		b.look("nb")
		b.look("nb")
		if k := b.last; k.Kind != "notebook-rescue" || !k.Network.Isolated || k.Identity != (compute.Identity{}) || !slices.Equal(k.Args, []string{"/run/clary/clary-task", "rescue"}) ||
			k.Mounts[0].Volume != volume || fake.Order(k).Shelter.MaxLoose != 1<<30 || k.Files[0].Mode != 0o400 {
			t.Errorf("task %+v", k)
		}
		b.vanish("nb")
		b.isGone(volume)
		folder := "clary-rescue/nb/" + began.Format("20060102T150405Z") + "-" + string(volume) + "/"
		if b.shelf.objects[folder+"work.bundle"] != "commits" || b.shelf.objects[folder+"loose.tar.gz"] != "files" || len(b.shelf.wrote) != 3 || b.shelf.wrote[2] != folder+"manifest.json" {
			t.Errorf("kept %v", b.shelf.objects)
		}
		var m agent.Manifest
		if err := json.Unmarshal([]byte(b.shelf.objects[folder+"manifest.json"]), &m); err != nil || m.Instance != "nb" || !strings.HasPrefix(m.Arn, "arn:") || !m.At.Equal(began) || len(m.Files) != 2 || m.Files[0].SHA256 == "" || m.Notes[0] != "a note" {
			t.Errorf("manifest %+v, %v", m, err)
		}
		uri := "s3://sagemaker-us-east-1-123456789012/" + folder
		if !strings.Contains(b.log.last, uri) {
			t.Errorf("the log says %q", b.log.last)
		}
		if want := fmt.Sprintf("RescueNotebookInstance sagemaker.amazonaws.com %s &{NotebookInstanceName:nb S3Uri:%s}", arnOf(call(), "nb"), uri); !slices.Equal(records, []string{want}) {
			t.Errorf("recorded %q, want %q", records, want)
		}
	})
}

// TestRescueFails sees that no volume is destroyed as long as its rescue fails,
// whatever the reason, and that its end comes all the same.
func TestRescueFails(t *testing.T) {
	t.Parallel()
	good := fake.Agent{Found: map[string]string{"x.bundle": "x"}}
	for name, tc := range map[string]struct {
		first  fake.Agent
		bucket error
		reason string
	}{
		"it says so":       {fake.Agent{Rescue: agent.Rescue{Failure: "no git"}}, nil, "could not be rescued (try 1): no git. It is tried again"},
		"it ends":          {fake.Agent{Search: time.Hour, Failure: "x"}, nil, "(try 1): it ended before it was ready"},
		"its machine too":  {fake.Agent{Search: time.Hour, Lab: 5 * time.Second}, nil, "the machine was restarted"},
		"for ever":         {fake.Agent{Search: 24 * time.Hour}, nil, "longer than an hour"},
		"no bucket":        {good, errors.New("the bucket is somebody else's"), "(try 1): rescue x.bundle: the bucket is somebody else's. It"},
		"a name of a path": {fake.Agent{Found: map[string]string{"..": "x"}}, nil, `a file cannot be named ".."`},
		"the manifest's":   {fake.Agent{Found: map[string]string{"manifest.json": "x"}}, nil, `a file cannot be named "manifest.json"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b, volume := rescued(t, tc.first, good)
				defer b.db.Close()
				b.shelf.trouble = tc.bucket
				for range 400 {
					_, err := b.Reconcile(t.Context(), key(account, region, "nb"))
					if err != nil {
						t.Fatal(err)
					}
					if b.describe("nb").FailureReason != "" {
						break
					}
					time.Sleep(10 * time.Second)
				}
				d := b.describe("nb")
				if d.NotebookInstanceStatus != "Deleting" || !strings.Contains(d.FailureReason, tc.reason) {
					t.Errorf("%s: %q", d.NotebookInstanceStatus, d.FailureReason)
				}
				if _, _, ok := b.world.Volume(volume); !ok || len(b.shelf.objects) != 0 {
					t.Fatalf("the volume is there: %t; kept: %v", ok, b.shelf.objects)
				}
				if use := b.usage("notebook-volume"); len(use) != 1 || use[0].End.IsZero() {
					t.Errorf("the volume is billed on: %v", use)
				}
				b.shelf.trouble = nil
				b.vanish("nb")
				b.isGone(volume)
				if len(b.shelf.objects) != 2 {
					t.Errorf("kept %v", b.shelf.objects)
				}
			})
		})
	}
}

// TestRescueCannotBegin sees that a rescue that the driver does not begin is no
// secret, and that a volume which is not there any more keeps nobody.
func TestRescueCannotBegin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, volume := rescued(t, fake.Agent{})
		defer b.db.Close()
		b.begins = errors.New("the volume cannot be mounted")
		for range 10 {
			b.look("nb")
			time.Sleep(time.Second)
		}
		if d := b.describe("nb"); !strings.Contains(d.FailureReason, "(try 1): the volume cannot be mounted") {
			t.Errorf("FailureReason %q", d.FailureReason)
		}
		b.begins = nil
		if err := b.Driver.RemoveVolume(t.Context(), volume); err != nil {
			t.Fatal(err)
		}
		b.vanish("nb")
		if !strings.Contains(b.log.last, "not on this machine any more") || b.last.Kind != "notebook" {
			t.Errorf("the log says %q; %s ran", b.log.last, b.last.Kind)
		}
	})
}

// TestRescueUnwanted sees that an owner can do without.
func TestRescueUnwanted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, volume := rescued(t, fake.Agent{Rescue: agent.Rescue{Failure: "no"}})
		defer b.db.Close()
		for range 100 {
			b.look("nb")
			time.Sleep(time.Minute)
		}
		if d := b.describe("nb"); !strings.Contains(d.FailureReason, "set the tag clary:rescue of the notebook instance to off") {
			t.Errorf("FailureReason %q", d.FailureReason)
		}
		if err := b.db.Update(t.Context(), func(tx store.Tx) error {
			return tx.PutTags(arnOf(call(), "nb"), map[string]string{"clary:rescue": "off"})
		}); err != nil {
			t.Fatal(err)
		}
		b.vanish("nb")
		b.isGone(volume)
		if len(b.shelf.objects) != 0 {
			t.Errorf("kept %v", b.shelf.objects)
		}
	})
}

// TestRescueLeavesOut sees that it is told what is not kept.
func TestRescueLeavesOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, volume := rescued(t, fake.Agent{Rescue: agent.Rescue{Notes: []string{"big.bin is too large"}}})
		defer b.db.Close()
		b.vanish("nb")
		b.isGone(volume)
		if len(b.shelf.objects) != 0 || !strings.Contains(b.log.last, "Nothing of what lies on the volume is kept: big.bin is too large") {
			t.Errorf("kept %v; the log says %q", b.shelf.objects, b.log.last)
		}
	})
}

// TestRescueOfNothing sees that a volume that was never made is not looked for.
func TestRescueOfNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, lab)
		defer b.db.Close()
		b.repository("x", "https://git.example/x", "", "")
		in := good("nb")
		in.DefaultCodeRepository = "x"
		b.create(in)
		b.edit("nb", func(st *status) { st.Task = "" }, phaseFailed)
		if _, err := b.Delete(t.Context(), call(), &apism.DeleteNotebookInstanceInput{NotebookInstanceName: "nb"}); err != nil {
			t.Fatal(err)
		}
		b.vanish("nb")
		if b.last.ID != "" {
			t.Errorf("task %s began", b.last.ID)
		}
	})
}

// edit changes a notebook's status behind everybody's back.
func (b *bench) edit(name string, f func(*status), phase string) {
	b.t.Helper()
	if err := b.db.Update(b.t.Context(), func(tx store.Tx) error {
		r, err := tx.Get(key(account, region, name))
		if err != nil {
			return err
		}
		st, err := readStatus(r)
		if err != nil {
			return err
		}
		spec, err := readSpec(r)
		if err != nil {
			return err
		}
		f(&st)
		r.Phase = phase
		return errors.Join(st.write(r, spec), tx.Put(r))
	}); err != nil {
		b.t.Fatal(err)
	}
}
