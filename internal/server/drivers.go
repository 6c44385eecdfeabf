package server

import (
	"context"

	"clary/internal/compute"
)

// driver is what the server asks of a compute driver beyond the contract.
type driver interface {
	compute.Driver
	compute.Dialer
	compute.Volumes
	compute.Renewer
	// Envs lists the environments that tasks have.
	Envs(ctx context.Context) ([]string, error)
	Close() error
}
