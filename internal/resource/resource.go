// Package resource is Clary's vocabulary: keys, records, principals and usage
// intervals, as every room speaks of them. It imports nothing of ours and does
// nothing; start reading at Record.
package resource

import (
	"encoding/json"
	"time"
)

// Kind names a family of resources, in AWS's singular: TrainingJob, Role.
type Kind string

// Key identifies one resource. Global things (roles, access keys) have an
// empty Region; access keys, which are looked up before the account is known,
// have an empty Account as well.
type Key struct {
	Account string
	Region  string
	Kind    Kind
	Name    string
}

// Record is one durable resource. Spec is the validated request as the client
// sent it; Status is ours and carries its own version member "v".
type Record struct {
	Key
	UID      string // 26 lower-case base32 characters, never reused
	Arn      string
	Parent   string // name of the owning resource of the same account and region, or ""
	Phase    string // the status as AWS words it: InProgress, Completed, ...
	Created  time.Time
	Modified time.Time
	Version  int64 // 0 on a record that was never stored; the store increments it

	Due       time.Time // when reconcile shall look next; zero: never
	Attempts  int       // consecutive failed looks
	LastError string    // of the last failed look

	// Spec and Status are replaced, never written to: others may hold them.
	Spec   json.RawMessage
	Status json.RawMessage
	Brief  string // what a listing shows beside these members, in the kind's own form
}

// Sort orders a listing.
type Sort string

// The columns a listing can be ordered by.
const (
	SortCreated  Sort = "created"
	SortName     Sort = "name"
	SortPhase    Sort = "phase"
	SortModified Sort = "modified"
)

// Query selects records of one kind. Zero members do not filter. Time bounds
// are exclusive, as on AWS.
type Query struct {
	Account, Region               string
	Kind                          Kind
	Parent                        string
	Phase                         string
	UID                           string
	NameContains                  string // case-insensitive substring
	CreatedAfter, CreatedBefore   time.Time
	ModifiedAfter, ModifiedBefore time.Time
	Sort                          Sort // "" is SortCreated
	Descending                    bool
	Token                         string // from the previous page
	Limit                         int    // 1..1000; 0 is 100
	Short                         bool   // records have Key, Phase, Created, Modified and Brief alone
}

// Principal is who signed a request.
type Principal struct {
	Account     string
	Arn         string // arn:aws:iam::123456789012:root, ...:user/x, arn:aws:sts::...:assumed-role/Role/session
	UserID      string // as sts GetCallerIdentity reports it
	AccessKeyID string
	RoleArn     string // of an assumed role, else ""
	Root        bool   // the account itself: every action allowed
	Service     string // sagemaker.amazonaws.com, where it acts by itself; nobody signs as it
}

// Usage is one interval of something that costs money. It is opened and closed
// in the transaction that changes the status which causes it.
type Usage struct {
	ID           string // unique: UID of the record + component + sequence
	Account      string
	Region       string
	Kind         Kind   // of the resource
	Name         string // of the resource
	UID          string // of the resource
	Component    string // column "component" of the price file: training, processing, notebook, hosting, notebook-volume ...
	InstanceType string // ml.m5.large, or ""
	Unit         string // "instance-second", "gb-second"
	Quantity     int64  // instances, or GB
	Start        time.Time
	End          time.Time // zero while open
	// Tags of the resource while the interval was open: what they were last.
	Tags map[string]string
}

// UsageQuery selects usage intervals that overlap [From, To).
type UsageQuery struct {
	Account, Region string
	UID             string
	Kind            Kind      // with Names
	Names           []string  // of resources of Kind; needs Account and Region
	From, To        time.Time // zero: unbounded
}
