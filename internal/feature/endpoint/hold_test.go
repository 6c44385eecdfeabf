package endpoint

import (
	"testing"
	"testing/synctest"
	"time"

	apism "clary/internal/api/sagemaker"
	"clary/internal/compute"
	"clary/internal/compute/fake"
	"clary/internal/serving"
)

// One look of an SDK that deploys sees the endpoint in service, or gone, and
// everybody else is answered at once.
func TestDescribeIsHeldForSDKs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(compute.Task) fake.Script { return server(2 * time.Second) })
		defer b.db.Close()
		b.model("m", plainModel())
		b.config("c", "m")
		b.must(b.create("ep", "c"))
		asked := call()
		asked.UserAgent = "Botocore/1.44.5 lib/AWS-SageMaker-Python-SDK#2.257.7"
		see := func() string {
			d, err := b.Describe(t.Context(), asked, &apism.DescribeEndpointInput{EndpointName: "ep"})
			if err != nil {
				return err.Error()
			}
			return d.EndpointStatus
		}
		during := func(step func()) (said string) {
			done := make(chan struct{})
			go func() {
				defer close(done)
				said = see()
			}()
			for {
				select {
				case <-done:
					return said
				default:
					step()
				}
			}
		}
		if d := b.describe("ep"); d.EndpointStatus != serving.PhaseCreating {
			t.Errorf("it is %s already", d.EndpointStatus)
		}
		if said := during(func() { b.look("ep") }); said != serving.PhaseInService {
			t.Errorf("an SDK's first look says %s", said)
		}
		began := time.Now()
		if said := see(); said != serving.PhaseInService || time.Since(began) != 0 {
			t.Errorf("a look at what serves says %s after %s", said, time.Since(began))
		}
		b.must(b.erase("ep"))
		if said := during(func() { b.look("ep") }); said != errNotFound(asked, "ep").Error() {
			t.Errorf("a look at what is deleted says %s", said)
		}
	})
}
