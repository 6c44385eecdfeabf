// Package plan says what stage does around a user's program: which objects to
// fetch, which files to write, what to upload. Features write plans, drivers
// carry them unread, stage alone acts on them. It is plain data.
package plan

import "encoding/json"

// Plan is what stage is told. Exactly one member is set; an empty plan runs
// the program and nothing else.
type Plan struct {
	Training   *Training   `json:",omitempty"`
	Processing *Processing `json:",omitempty"`
	Serving    *Serving    `json:",omitempty"`
	Transform  *Transform  `json:",omitempty"`
}

// Training is a training job's plan.
type Training struct {
	JobName, JobArn  string
	Account, Region  string
	RoleArn          string
	Hosts            []string // algo-1 ...
	CurrentHost      string
	InstanceType     string
	HyperParameters  map[string]string
	Channels         []Channel
	OutputS3Uri      string      // s3://bucket/prefix/<job>/output
	Compression      string      // GZIP or NONE
	Checkpoint       *Checkpoint `json:",omitempty"`
	MetricRegexes    []Metric
	NetworkIsolation bool
	// ScriptMode says that the program is the runtime's own launcher
	// ("train" of a catalog runtime): stage runs the user's script itself.
	ScriptMode bool
	// Framework names the runtime's framework module for SM_FRAMEWORK_MODULE.
	Framework string
}

// Processing is a processing job's plan.
type Processing struct {
	JobName, JobArn string
	Region, RoleArn string
	Hosts           []string // algo-1 ...
	CurrentHost     string
	// Config is the whole of processingjobconfig.json.
	Config           json.RawMessage
	Inputs           []Input
	Outputs          []Output
	NetworkIsolation bool
}

// Serving is the plan of one container of an endpoint's instance. Stage fetches
// the models, then the program serves until it is stopped.
type Serving struct {
	Region, RoleArn  string
	VCPU             int // of the instance type, which bound the workers; 0: not known
	Models           []Model
	NetworkIsolation bool
}

// Model is an artifact in S3 and where a container finds it.
type Model struct {
	Name  string // for texts: ModelDataUrl, ModelDataSource, or the channel of an additional one
	S3Uri string
	// Prefix says that all objects below S3Uri are meant, and not the one object
	// of that name.
	Prefix bool
	// Archive says that the object is a tar.gz, which is unpacked.
	Archive   bool
	LocalPath string // /opt/ml/model, or a folder of its own
}

// Input is one input of a processing job: what a channel is, in a folder of
// its own choice.
type Input struct {
	Channel
	LocalPath string
}

// Output is one output of a processing job.
type Output struct {
	Name, S3Uri, LocalPath string
	// Continuous says that files go to S3 while the program runs, and not only
	// at its end.
	Continuous bool
}

// Channel is one input of a job, as the request named it.
type Channel struct {
	Name            string
	S3DataType      string // S3Prefix, ManifestFile, AugmentedManifestFile
	S3Uri           string
	Distribution    string // FullyReplicated, ShardedByS3Key
	ContentType     string
	CompressionType string
	RecordWrapper   string
	InputMode       string // File
	AttributeNames  []string
}

// Checkpoint is the two-way synchronised folder.
type Checkpoint struct {
	S3Uri, LocalPath string
}

// Metric is a metric definition.
type Metric struct {
	Name, Regex string
}

// The steps that stage reports, in this order.
const (
	StepDownloading = "Downloading" // inputs are fetched
	StepTraining    = "Training"    // the user's program runs
	StepUploading   = "Uploading"   // outputs go to S3
)

// Result is how stage ended. The zero value is success.
type Result struct {
	ExitCode int    // of the user's program; -1 when it never ran
	Signal   string // that ended the program, e.g. "killed"; "" if none
	// Failure is the cause in words for FailureReason, without its class
	// prefix: the failure file, or the script's traceback end, or what stage
	// could not do. "" on success.
	Failure string `json:",omitempty"`
	// Class is AlgorithmError, ClientError or InternalServerError when
	// Failure is set.
	Class string `json:",omitempty"`
	// Served says that stage itself ended the program when there was no more to do
	// for it: how it exited then says nothing.
	Served bool `json:",omitempty"`
	// Artifact is the s3 URI of model.tar.gz when it was uploaded.
	Artifact string `json:",omitempty"`
	// ExitMessage is what a processing job's program left in
	// /opt/ml/output/message, at most 1 KiB of UTF-8.
	ExitMessage string `json:",omitempty"`
}
