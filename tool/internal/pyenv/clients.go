package pyenv

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"

	"clary/tool/internal/step"
)

// Clients are the two environments with real AWS clients: SageMaker SDK v2
// with boto3 and the AWS CLI, and SageMaker SDK v3.
type Clients struct{ V2, V3 string }

// EnsureClients makes both at once.
func EnsureClients(ctx context.Context, say func(format string, args ...any)) (Clients, error) {
	root, err := step.Root()
	if err != nil {
		return Clients{}, err
	}
	dir, err := step.CacheDir()
	if err != nil {
		return Clients{}, err
	}
	c := Cache{Root: root, Dir: dir, Say: say}
	var out Clients
	var errs [2]error
	var wg sync.WaitGroup
	for i, e := range []struct {
		name string
		dir  *string
	}{{"v2", &out.V2}, {"v3", &out.V3}} {
		wg.Go(func() {
			lock := filepath.Join(root, "test", "sdk", "requirements-"+e.name+".txt")
			*e.dir, errs[i] = c.Ensure(ctx, e.name, lock)
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return Clients{}, fmt.Errorf("python clients: %w", err)
		}
	}
	return out, nil
}

// Botocore is the folder with the service models of the pinned botocore.
func (c Clients) Botocore() (string, error) {
	found, err := filepath.Glob(filepath.Join(c.V2, "lib", "python3.*", "site-packages", "botocore", "data"))
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("no botocore in %s: run `make setup`", c.V2)
	}
	return found[0], nil
}

// Env is how tests learn where the clients are.
func (c Clients) Env() []string {
	return []string{"CLARY_VENV_V2=" + c.V2, "CLARY_VENV_V3=" + c.V3}
}
