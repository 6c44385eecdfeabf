// Package stage is what happens around a user's program inside a task: inputs
// are fetched, the program runs, outputs are uploaded. It alone knows
// /opt/ml. It acts as the job's role through S3 and trusts nothing that the
// program wrote. Start at Run.
package stage

import (
	"context"

	"clary/internal/stage/plan"
)

// Run carries out a plan and says how it ended.
func Run(ctx context.Context, p plan.Plan, h Host) plan.Result {
	if p.Training != nil {
		return plan.Result{ExitCode: -1, Class: "InternalServerError", Failure: "training plans are being written"}
	}
	return runProgram(ctx, h, h.Program)
}

func runProgram(_ context.Context, h Host, prog Program) plan.Result {
	p, err := h.Launch(prog)
	if err != nil {
		return plan.Result{ExitCode: -1, Class: "AlgorithmError", Failure: err.Error()}
	}
	code, sig, err := p.Wait()
	if err != nil {
		return plan.Result{ExitCode: -1, Class: "InternalServerError", Failure: err.Error()}
	}
	return plan.Result{ExitCode: code, Signal: sig}
}
