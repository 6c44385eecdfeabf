package catalog

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"clary/internal/runtimes"
)

// wanted is what an image URI asks for.
type wanted struct {
	recipe  string
	line    line // of scikit-learn or Spark; zero: the newest
	minor   int  // of Python; 0: any
	missing string
}

// line is a version's first two parts.
type line struct{ major, minor int }

func (l line) String() string { return fmt.Sprintf("%d.%d", l.major, l.minor) }

func (l line) compare(o line) int {
	if l.major != o.major {
		return l.major - o.major
	}
	return l.minor - o.minor
}

func lineOf(version string) line {
	a, rest, _ := strings.Cut(version, ".")
	b, _, _ := strings.Cut(rest, ".")
	major, _ := strconv.Atoi(a)
	minor, _ := strconv.Atoi(b)
	return line{major, minor}
}

var (
	sklearnTag = regexp.MustCompile(`^(\d+\.\d+)(\.\d+)?(-\d+)?(-cpu)?(-py3\d*)?$`)
	baseRepo   = regexp.MustCompile(`^sagemaker-base-python(?:-3(\d+))?$`)
	deepTag    = regexp.MustCompile(`^(\d+\.\d+)(\.\d+)?(-|$)`) // 2.3.0-cpu-py311-ubuntu20.04-sagemaker
	sparkTag   = regexp.MustCompile(`^(\d+\.\d+)(\.\d+)?(-cpu)?(-py3\d*)?(-v[\d.]+)?$`)
	pythonTag  = regexp.MustCompile(`^3(?:\.(\d+))?(?:\.\d+)?(?:-[a-z0-9.-]+)?$`)
)

// deepRepos are the images of deep learning; the tag's version is the
// framework's, which for Hugging Face is PyTorch.
var deepRepos = map[string]string{ //nolint:gochecknoglobals // a constant table
	"pytorch-training": pyTorch, "pytorch-inference": pyTorch,
	"tensorflow-training": tensorFlow, "tensorflow-inference": tensorFlow,
	"huggingface-pytorch-training": huggingFace, "huggingface-pytorch-inference": huggingFace,
}

// match reads an image URI. The account and the region of an ECR name do not
// matter: AWS publishes the same images under many.
func match(uri string) (wanted, error) {
	name, digest, _ := strings.Cut(uri, "@")
	repo, tag := name[strings.LastIndexByte(name, '/')+1:], ""
	if i := strings.IndexByte(repo, ':'); i >= 0 {
		repo, tag = repo[:i], repo[i+1:]
	}
	if digest != "" && tag == "" {
		return wanted{}, unknown(uri, "an image named by digest alone has no version; name it by tag")
	}
	switch {
	case repo == "sagemaker-scikit-learn":
		m := sklearnTag.FindStringSubmatch(tag)
		if m == nil {
			return wanted{}, unknown(uri, fmt.Sprintf("the tag %q is none of scikit-learn's, which are like 1.2-1-cpu-py3", tag))
		}
		return wanted{recipe: scikitLearn, line: lineOf(m[1])}, nil
	case repo == "sagemaker-xgboost":
		m := sklearnTag.FindStringSubmatch(tag)
		if m == nil {
			return wanted{}, unknown(uri, fmt.Sprintf("the tag %q is none of XGBoost's, which are like 1.7-1 or 3.0-5", tag))
		}
		return wanted{recipe: xgBoost, line: lineOf(m[1])}, nil
	case repo == "xgboost" && (tag == "1" || tag == "latest"): // the algorithm as it was before
		return wanted{recipe: xgBoost, line: line{0, 72}}, nil
	case deepRepos[repo] != "":
		m := deepTag.FindStringSubmatch(tag)
		if m == nil {
			return wanted{}, unknown(uri, fmt.Sprintf("the tag %q does not begin with a version, as in 2.3.0-cpu-py311", tag))
		}
		return wanted{recipe: deepRepos[repo], line: lineOf(m[1])}, nil
	case repo == "sagemaker-spark-processing":
		m := sparkTag.FindStringSubmatch(tag)
		if m == nil {
			return wanted{}, unknown(uri, fmt.Sprintf("the tag %q is none of Spark's, which are like 3.5-cpu-py39-v1.0", tag))
		}
		return wanted{recipe: spark, line: lineOf(m[1]), missing: sparkMisses}, nil
	case baseRepo.MatchString(repo):
		minor, _ := strconv.Atoi(baseRepo.FindStringSubmatch(repo)[1])
		return wanted{recipe: basePython, minor: minor}, nil
	case repo == "sagemaker-distribution" || repo == "sagemaker-distribution-prod" || repo == "sagemaker-distribution-cpu":
		return wanted{recipe: scikitLearn, missing: "of SageMaker Distribution's packages this holds scikit-learn, numpy, scipy, pandas and boto3 alone"}, nil
	case repo == "python":
		if tag == "" || tag == "latest" {
			return wanted{recipe: basePython}, nil
		}
		m := pythonTag.FindStringSubmatch(tag)
		if m == nil {
			return wanted{}, unknown(uri, fmt.Sprintf("the tag %q is no version of Python 3", tag))
		}
		minor, _ := strconv.Atoi(m[1])
		return wanted{recipe: basePython, minor: minor}, nil
	}
	return wanted{}, unknown(uri, "")
}

const sparkMisses = "Spark runs on one host, in local mode, and reads and writes the folders of the job's inputs and outputs, not s3:// or s3a:// itself"

func unknown(uri, why string) error {
	if why != "" {
		why = ": " + why
	}
	return fmt.Errorf("%w %s%s. Clary runs images of these names: sagemaker-scikit-learn (tags 0.20.0, 0.23-1, 1.0-1, 1.2-1, 1.4-2, each with -cpu-py3), "+
		"sagemaker-xgboost (tags 1.0-1 to 3.0-5), pytorch-training and -inference, tensorflow-training and -inference, huggingface-pytorch-training and -inference, sagemaker-spark-processing, sagemaker-base-python, sagemaker-distribution and python:3.x, of any registry and account. Use one of them; what a script needs besides, "+
		"a requirements.txt beside it installs, which in processing a FrameworkProcessor sees to", runtimes.ErrUnknownImage, uri, why)
}

// choice is a recipe for one interpreter.
type choice struct {
	variant Variant
	python  Python
	note    string
}

// choose picks interpreter and variant. A system interpreter goes before one
// that somebody installed elsewhere; then what is nearest to the asked version
// counts, then the Python that most people have.
func choose(w wanted, pythons []Python) (choice, bool) {
	type ranked struct {
		choice
		rank []int
	}
	var all []ranked
	for _, p := range pythons {
		for _, v := range Variants() {
			if v.Recipe != w.recipe || !slices.Contains(v.Pythons, p.Minor) {
				continue
			}
			far := distance(w, v)
			asked := 0
			if w.minor != 0 && p.Minor != w.minor {
				asked = 1
			}
			outside := 0
			if !p.System() {
				outside = 1
			}
			all = append(all, ranked{choice{variant: v, python: p}, []int{asked * (1 - outside), outside, far, asked, p.Minor}})
		}
	}
	if len(all) == 0 {
		return choice{}, false
	}
	best := slices.MinFunc(all, func(a, b ranked) int { return slices.Compare(a.rank, b.rank) })
	c := best.choice
	c.note = note(w, c)
	return c, true
}

// distance is 0 for the asked line, grows with newer ones, and is far for
// older ones.
func distance(w wanted, v Variant) int {
	have := lineOf(v.Version)
	if w.line == (line{}) {
		return -(have.major*1000 + have.minor)
	}
	d := (have.major-w.line.major)*1000 + have.minor - w.line.minor
	if d < 0 {
		d = 1_000_000 - d
	}
	return d
}

func note(w wanted, c choice) string {
	var notes []string
	if w.line != (line{}) {
		what := "Spark"
		if f, ok := frameworks[w.recipe]; ok {
			what = f.title
		}
		switch d := lineOf(c.variant.Version).compare(w.line); {
		case d > 0:
			notes = append(notes, fmt.Sprintf("%s %s instead of %s: the nearest newer version with wheels for this machine's Python 3.%d", what, c.variant.Version, w.line, c.python.Minor))
		case d < 0:
			notes = append(notes, fmt.Sprintf("%s %s instead of %s: the newest version that this catalog has for Python 3.%d", what, c.variant.Version, w.line, c.python.Minor))
		}
	}
	if w.minor != 0 && w.minor != c.python.Minor {
		notes = append(notes, fmt.Sprintf("Python 3.%d instead of 3.%d, which this machine does not have or the catalog has no packages for", c.python.Minor, w.minor))
	}
	if w.missing != "" {
		notes = append(notes, w.missing)
	}
	return strings.Join(notes, "; ")
}
