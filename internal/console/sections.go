package console

import (
	"bytes"
	"cmp"
	"embed"
	"fmt"
	"slices"
	"strings"
	"text/template"
)

//go:embed snippets
var snippetFiles embed.FS

// section is an entry on the left. Why says in two sentences why it is empty
// at first; Creates is the operation whose behaviour fills it.
type section struct {
	Path, Title, Group string
	Thing              string // what its rows are called, in the plural
	Why                string
	Creates            string
	page               bool // it has a page of its own; else there is nothing to list yet
	code               string
	service            string // whose operation Creates is; "": sagemaker
}

// sections is all that SageMaker has, in the order of the work.
var sections = []section{ //nolint:gochecknoglobals // a table
	{
		Path: "notebook-instances", Title: "Notebook instances", Group: "Notebook", Thing: "notebook instances", Creates: "CreateNotebookInstance", page: true,
		Why: "A notebook instance is a small machine with JupyterLab that you make, stop and delete by code or from its page. It costs by the minute from the moment it is in service until it is stopped, whether anybody uses it or not.",
	},
	{
		Path: "lifecycle-configurations", Title: "Lifecycle configurations", Group: "Notebook", Thing: "lifecycle configurations", Creates: "CreateNotebookInstanceLifecycleConfig", page: true,
		Why: "A lifecycle configuration is a script that a notebook instance runs when it is made and whenever it starts. None is here until you write one, and none is needed for an instance to work.",
	},
	{
		Path: "git-repositories", Title: "Git repositories", Group: "Notebook", Thing: "Git repositories", Creates: "CreateCodeRepository", page: true,
		Why: "A Git repository that is known by name can be cloned into a notebook instance when that is made. Code that lives in Git lets you delete an instance whenever you like, and make it again.",
	},
	{
		Path: "processing-jobs", Title: "Processing jobs", Group: "Processing", Thing: "processing jobs", Creates: "CreateProcessingJob", page: true,
		Why: "A processing job runs a script over data, on a machine of its own that is gone when the job ends. Jobs appear here when code starts them; the console only reports.",
	},
	{
		Path: "training-jobs", Title: "Training jobs", Group: "Training", Thing: "training jobs", Creates: "CreateTrainingJob", page: true,
		Why: "A training job runs your script on a machine of its own and keeps the model that it writes in S3. Jobs appear here when code starts them; the console only reports.",
	},
	{
		Path: "tuning-jobs", Title: "Tuning jobs", Group: "Training", Thing: "hyperparameter tuning jobs", Creates: "CreateHyperParameterTuningJob",
		Why: "A tuning job starts many training jobs and looks for the hyperparameters that make a metric best. It appears here when code starts it, and each of its jobs appears under Training jobs.",
	},
	{
		Path: "models", Title: "Models", Group: "Inference", Thing: "models", Creates: "CreateModel", page: true,
		Why: "A model names a trained artifact and the image that serves it. It costs nothing by itself, and is here once code has made it, most often on the way to an endpoint.",
	},
	{
		Path: "endpoint-configurations", Title: "Endpoint configurations", Group: "Inference", Thing: "endpoint configurations", Creates: "CreateEndpointConfig", page: true,
		Why: "An endpoint configuration says which models an endpoint serves, and on how many machines of which type. The SDK makes one whenever it deploys a model.",
	},
	{
		Path: "endpoints", Title: "Endpoints", Group: "Inference", Thing: "endpoints", Creates: "CreateEndpoint", page: true,
		Why: "An endpoint keeps machines running that answer predictions, and costs by their type until it is deleted, with or without traffic. It appears here when code deploys a model.",
	},
	{
		Path: "batch-transform", Title: "Batch transform", Group: "Inference", Thing: "batch transform jobs", Creates: "CreateTransformJob", page: true,
		Why: "A batch transform job runs a model over a whole data set, on machines that are gone when it ends. Use it when nobody waits for single answers; it appears here when code starts it.",
	},
	{
		Path: "registry", Title: "Registry", Group: "Operations", Thing: "model packages", Creates: "CreateModelPackageGroup",
		Why: "The registry keeps versions of models, with their approval, in groups. It fills when code registers a model.",
	},
	{
		Path: "pipelines", Title: "Pipelines", Group: "Operations", Thing: "pipelines", Creates: "CreatePipeline",
		Why: "A pipeline runs steps such as processing, training and registering in order, each on machines of its own. It is defined and started by code.",
	},
	{
		Path: "experiments", Title: "Experiments", Group: "Operations", Thing: "experiments", Creates: "CreateExperiment",
		Why: "An experiment groups runs, with their parameters and metrics, so that they can be compared. Runs are recorded by the code that makes them.",
	},
	{
		Path: "billing", Title: "Billing", Group: "Money", Thing: "costs", page: true, code: "training-jobs",
		Why: "Nothing was used in this month yet. Whatever has a machine of its own, like the job that this code starts, appears here with what it costs by the minute and what AWS would charge.",
	},
	{
		Path: "budgets", Title: "Budgets", Group: "Money", Thing: "budgets", Creates: "CreateBudget", page: true, service: "budgets",
		Why: "A budget says how much may be spent in a month, tells people when it is nearly reached, and, where it has an action, stops what costs before it is. It appears here when code makes one.",
	},
	{
		Path: "forgotten", Title: "Forgotten resources", Group: "Money", Thing: "forgotten resources", page: true, code: "notebook-instances",
		Why: "Nothing here costs without being used. A notebook instance that nobody uses, an endpoint that nobody asks and the volume of an instance stopped long ago would appear here, with what they cost and what ends them.",
	},
	{
		Path: "alarms", Title: "Alarms", Group: "Money", Thing: "alarms", Creates: "PutMetricAlarm", page: true, service: "cloudwatch",
		Why: "An alarm watches one metric, such as the estimated charges of this month, and tells a topic when it crosses a threshold. It appears here when code makes one.",
	},
	{
		Path: "notifications", Title: "Notifications", Group: "Money", Thing: "topics", Creates: "CreateTopic", page: true, service: "sns",
		Why: "A topic is where budgets and alarms send what they have to say; e-mail addresses and web addresses subscribe to it. Topics, subscriptions and every message on its way appear here once code makes a topic.",
	},
	{
		Path: "activity", Title: "Activity", Group: "Account", Thing: "events", page: true,
		Why: "Every call that changes something is recorded here, with who made it and how it ended. Nothing was changed yet in this region.",
	},
}

type group struct {
	Title    string
	Sections []section
}

func groups() []group {
	var out []group
	for _, s := range sections {
		if n := len(out); n == 0 || out[n-1].Title != s.Group {
			out = append(out, group{Title: s.Group})
		}
		g := &out[len(out)-1]
		g.Sections = append(g.Sections, s)
	}
	return out
}

func sectionAt(path string) section {
	i := slices.IndexFunc(sections, func(s section) bool { return s.Path == path })
	return sections[i]
}

// snippet is code in one client's words.
type snippet struct {
	ID, Title, Code string
	Set             string // of those that are shown together, where a page has several
}

var snippetTitles = [][2]string{ //nolint:gochecknoglobals // a table
	{"v2", "SageMaker SDK v2"}, {"v3", "SageMaker SDK v3"}, {"boto3", "boto3"}, {"cli", "AWS CLI"},
}

// about is what snippets are filled in with.
type about struct {
	Account, Region, Role, Bucket, SklearnImage string
	Model, Config, Endpoint                     string
}

func (v *view) about() about {
	return about{
		Account: v.call.Account, Region: v.call.Region,
		Role:         "arn:aws:iam::" + v.call.Account + ":role/SageMakerRole",
		Bucket:       "sagemaker-" + v.call.Region + "-" + v.call.Account,
		SklearnImage: sklearnImage(v.call.Region),
		Model:        "iris", Config: "iris", Endpoint: "iris",
	}
}

// snippets is the code that fills a section, in the order of the tabs.
func (s section) snippets(a about) ([]snippet, error) {
	if s.code != "" {
		return snippetsOf(s.code, a)
	}
	return snippetsOf(s.Path, a)
}

// snippetsOf is the code of one file, in the order of the tabs.
func snippetsOf(name string, a about) ([]snippet, error) {
	raw, err := snippetFiles.ReadFile("snippets/" + name + ".txt")
	if err != nil {
		return nil, err
	}
	t, err := template.New(name).Option("missingkey=error").Parse(string(raw))
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, a); err != nil {
		return nil, err
	}
	var out []snippet
	rest := b.String()
	for _, title := range snippetTitles {
		_, code, ok := strings.Cut(rest, "-- "+title[0]+" --\n")
		if !ok {
			return nil, fmt.Errorf("snippets/%s.txt: %s is missing", name, title[0])
		}
		rest = code
		code, _, _ = strings.Cut(code, "\n-- ")
		out = append(out, snippet{ID: title[0], Title: title[1], Code: strings.TrimSpace(code)})
	}
	return out, nil
}

// emptyBody is a section with nothing in it.
type emptyBody struct {
	Section  section
	Served   bool // its operations have behaviour
	Snippets []snippet
}

func (v *view) empty(path string) (*emptyBody, error) {
	s := sectionAt(path)
	code, err := s.snippets(v.about())
	if err != nil {
		return nil, err
	}
	return &emptyBody{s, s.Creates == "" || v.c.cfg.Calls.Serves(cmp.Or(s.service, "sagemaker"), s.Creates), code}, nil
}

// waiting is the page of a section whose operations have no behaviour.
func (c *Console) waiting(s section) func(*view) error {
	return func(v *view) error {
		b, err := v.empty(s.Path)
		if err != nil {
			return err
		}
		return v.show("section", s.Title, s.Path, b)
	}
}

// sklearnAccounts own the scikit-learn image in each region
// (https://docs.aws.amazon.com/sagemaker/latest/dg-ecr-paths/sagemaker-algo-docker-registry-paths.html).
// Clary looks at an image's repository and tag alone.
var sklearnAccounts = map[string]string{ //nolint:gochecknoglobals // a table
	"us-east-1": "683313688378", "us-east-2": "257758044811", "us-west-1": "746614075791", "us-west-2": "246618743249",
	"eu-west-1": "141502667606", "eu-west-2": "764974769150", "eu-central-1": "492215442770",
	"ap-northeast-1": "354813040037", "ap-southeast-1": "121021644041", "ap-southeast-2": "783357654285", "ap-south-1": "720646828776",
}

func sklearnImage(region string) string {
	account, ok := sklearnAccounts[region]
	if !ok {
		account = sklearnAccounts["us-east-1"]
	}
	return account + ".dkr.ecr." + region + ".amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
}

// regions are those that the picker offers, the current one among them.
func regions(current string) []string {
	list := []string{
		"us-east-1", "us-east-2", "us-west-1", "us-west-2", "ca-central-1", "sa-east-1", "eu-west-1", "eu-west-2", "eu-west-3",
		"eu-central-1", "eu-north-1", "ap-northeast-1", "ap-northeast-2", "ap-south-1", "ap-southeast-1", "ap-southeast-2",
	}
	if !slices.Contains(list, current) {
		list = append([]string{current}, list...)
	}
	return list
}
