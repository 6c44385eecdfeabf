package plan

// DataLog begins a line of output that belongs into the data log of a transform
// job's instance, not among its container's lines (see agent.Mark).
const DataLog = "\x1fdata-log\x1f"

// Transform is the plan of the first container of a batch transform job's
// instance: it serves as an endpoint's does, and stage sends it the input's
// records and keeps the answers. Further containers of the instance are tasks
// of their own with a Serving plan; each gets what the one before it answered.
type Transform struct {
	JobName, JobArn string
	Account, Region string
	RoleArn         string
	Hosts           []string // of the instances' first containers, algo-1 ...: the input's objects are shared out among them
	CurrentHost     string
	VCPU            int      // as in Serving
	Models          []Model  // of this container
	Next            []string // the hosts of this instance's further containers, in their order
	Input           TransformInput
	Output          TransformOutput
	// What the request leaves out is the container's to say by
	// GET /execution-parameters, and else AWS's default.
	BatchStrategy           string // MultiRecord or SingleRecord
	MaxConcurrentTransforms *int64 `json:",omitempty"`
	MaxPayloadInMB          *int64 `json:",omitempty"` // 0: no limit, sent in chunks
	TimeoutSeconds          int64  // of one invocation
	MaxRetries              int64  // after the first try
	// InputFilter and OutputFilter are JSONPaths; "$" or "" is everything.
	InputFilter, OutputFilter string
	JoinSource                string            // None or Input
	Capture                   *TransformCapture `json:",omitempty"`
	NetworkIsolation          bool
}

// TransformInput is what is read, as the request named it.
type TransformInput struct {
	S3DataType      string // S3Prefix or ManifestFile
	S3Uri           string
	ContentType     string
	CompressionType string // None or Gzip
	SplitType       string // None, Line, RecordIO or TFRecord
}

// TransformOutput is where answers go: the answer for s3://bucket/a/b.csv of an
// input below s3://bucket/a/ is <S3OutputPath>/b.csv.out.
type TransformOutput struct {
	S3OutputPath string
	Accept       string
	AssembleWith string // None or Line
}

// TransformCapture says where the job notes what it read and wrote.
type TransformCapture struct {
	S3Uri               string
	GenerateInferenceID bool
}
