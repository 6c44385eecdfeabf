// Package training is the TrainingJob family: its operations, and what a
// training job is to the engine that carries it (internal/job). Start at
// work.go.
package training
