// Package serving is what the feature of endpoints and the router of their
// requests agree on: which variants and instances of an endpoint take traffic.
// The feature writes it into the endpoint's record; whoever routes reads it
// there and keeps nothing that it cannot read again. Start at Of.
package serving

import (
	"clary/internal/compute"
	"clary/internal/resource"
)

// The kinds of record that real-time inference is made of. The spec of each is
// the request that created it.
const (
	KindModel    resource.Kind = "Model"
	KindConfig   resource.Kind = "EndpointConfig"
	KindEndpoint resource.Kind = "Endpoint"
)

// The phases of an endpoint, as AWS words them.
const (
	PhaseCreating             = "Creating"
	PhaseUpdating             = "Updating"
	PhaseSystemUpdating       = "SystemUpdating"
	PhaseRollingBack          = "RollingBack"
	PhaseInService            = "InService"
	PhaseOutOfService         = "OutOfService"
	PhaseDeleting             = "Deleting"
	PhaseFailed               = "Failed"
	PhaseUpdateRollbackFailed = "UpdateRollbackFailed"
)

// Port is where a container answers /ping and /invocations, inside its task.
const Port = 8080

// Endpoint is the traffic of an endpoint.
type Endpoint struct {
	Variants []Variant `json:"variants,omitempty"`
	Capture  *Capture  `json:"capture,omitempty"` // nil: nothing is captured
}

// Variant is one of several models that share an endpoint's traffic.
type Variant struct {
	Name   string  `json:"name"`
	Weight float64 `json:"weight"` // of the sum of all; 0: only who names it gets there
	// Containers are asked one after the other: each but the first gets what the
	// one before it answered.
	Containers []string   `json:"containers"` // their names, for texts: primary, or the ContainerHostname
	Instances  []Instance `json:"instances,omitempty"`
}

// Instance is one machine of a variant that takes requests.
type Instance struct {
	ID    string           `json:"id"`    // i-0123456789abcdef0, of its log streams
	Tasks []compute.TaskID `json:"tasks"` // one for each container of the variant
}

// Capture says what of the traffic is kept in S3.
type Capture struct {
	Percent       int64    `json:"percent"` // of requests, at random
	S3Uri         string   `json:"s3Uri"`
	Input, Output bool     `json:",omitempty"`
	CSV           []string `json:"csv,omitempty"` // content types that are text
	JSON          []string `json:"json,omitempty"`
	RoleArn       string   `json:"roleArn"` // who writes there
}

// Of reads what a record of KindEndpoint says of its traffic: the member
// "serving" of its status.
func Of(r *resource.Record) (Endpoint, error) {
	st, err := resource.As[struct {
		Serving Endpoint `json:"serving"`
	}](r.Status)
	if err != nil {
		return Endpoint{}, err
	}
	return st.Serving, nil
}

// Traffic is what the feature asks of a router of the same process.
type Traffic interface {
	// Changed says that an endpoint's record says something new: from its return
	// on, no request that begins goes by what it said before.
	Changed(k resource.Key)
	// Open is how many requests are in flight to an instance's task.
	Open(id compute.TaskID) int
}
