package server

import (
	"clary/internal/compute"
	"clary/internal/feature/endpoint"
	"clary/internal/resource"
)

func (r *rooms) openEndpoints(capacity compute.Capacity) {
	r.endpoints = endpoint.New(endpoint.Config{
		Store: r.store, Driver: r.driver, Catalog: r.catalog, Output: plainOutput{r.ingest}, Logs: r.logs,
		Auth: r.ids, Sessions: r.ids, Instances: r.metrics, Traffic: r.router, Capacity: capacity, Scale: r.cfg.InstanceScale, Egress: r.cfg.TaskEgress, Heir: r.cfg.Replace, Hold: r.cfg.HoldDescribe,
		Wake: func(k resource.Key) { r.loop.Wake(k) }, Free: r.room, Gate: r.budgets, Record: r.record, Clock: clock(),
	})
}
