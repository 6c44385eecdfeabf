package endpoint

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	apism "clary/internal/api/sagemaker"
	"clary/internal/compute"
	"clary/internal/compute/fake"
)

// TestTrouble looks after the others while one instance cannot be removed, and
// another deployment's image cannot be looked up.
func TestTrouble(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(k compute.Task) fake.Script {
			s := server(time.Second)
			if strings.HasSuffix(string(k.ID), "-1") || strings.HasSuffix(string(k.ID), "-2") {
				s.Forever, s.Run = false, time.Minute
			}
			return s
		})
		defer b.db.Close()
		b.model("m", plainModel())
		broken := plainModel()
		broken.Image = "broken"
		b.model("broken", broken)
		b.config("c", "m", count(2))
		b.config("broken", "broken")
		b.must(b.create("ep", "c"))
		b.until("ep", "InService")
		b.must(b.update(&apism.UpdateEndpointInput{EndpointName: "ep", EndpointConfigName: "broken"}))
		b.stuck = b.tasks[0].ID
		serve := func(ids ...string) func(*apism.DescribeEndpointOutput) bool {
			return func(*apism.DescribeEndpointOutput) bool {
				var got []string
				for _, i := range b.traffic("ep").Variants[0].Instances {
					_, n, _ := strings.Cut(string(i.Tasks[0]), "-")
					got = append(got, n)
				}
				return slices.Equal(got, ids)
			}
		}
		b.settle("ep", serve())
		if d := b.settle("ep", serve("4", "5")); d.EndpointStatus != "Updating" || !strings.Contains(d.PendingDeploymentSummary.ProductionVariants[0].VariantStatus[0].StatusMessage, "the catalog is broken") {
			t.Errorf("it is %+v", d)
		}
		b.must(b.erase("ep"))
		for range 100 {
			b.look("ep")
		}
		if ids, err := b.world.Driver().List(t.Context()); err != nil || !slices.Equal(ids, []compute.TaskID{b.stuck}) {
			t.Errorf("beside the one that is stuck there are %v, %v", ids, err)
		}
		b.stuck = ""
		b.vanish("ep")
	})
}

// TestHandover waits for requests that a router of another server may have in
// flight.
func TestHandover(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(compute.Task) fake.Script { return server(time.Second) })
		defer b.db.Close()
		b.model("m", plainModel())
		b.config("c", "m")
		b.must(b.create("ep", "c"))
		b.until("ep", "InService")
		b.must(b.update(&apism.UpdateEndpointInput{EndpointName: "ep", EndpointConfigName: "c"}))
		b.until("ep", "InService")
		turned := time.Now()
		next := b.Config
		next.Heir = true
		b.Endpoints = New(next)
		time.Sleep(time.Second)
		b.must(b.WakeAll(t.Context()))
		b.settle("ep", func(*apism.DescribeEndpointOutput) bool { return len(b.world.Running()) == 1 })
		if d := time.Since(turned); d < drainBound {
			t.Errorf("the old one was ended after %s", d)
		}
	})
}
