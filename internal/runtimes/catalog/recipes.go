package catalog

import (
	"embed"
	"fmt"
	"slices"
	"strings"

	"clary/internal/stage/build"
)

//go:embed locks
var locks embed.FS

// Variant is one version of a recipe for some Python minors. Each has a lock
// file locks/<recipe>-<version>-py3<minor>.txt, made by genlocks.
type Variant struct {
	Recipe  string
	Version string // of the framework; "1" where there is none
	Pythons []int  // minors of Python 3, best first
	Pins    []string
	// Wheels are those of its packages that there are several kinds of, which
	// come from the operator's wheel index where there is one.
	Wheels []string
	// Spark is the hash of PySpark's archive, and Javas are what it runs on,
	// best first; for the recipe spark alone.
	Spark string
	Javas []int
}

func (v Variant) lockFile(minor int) string {
	return fmt.Sprintf("locks/%s-%s-py3%d.txt", v.Recipe, v.Version, minor)
}

// Recipe names.
const (
	scikitLearn = "scikit-learn"
	xgBoost     = "xgboost"
	pyTorch     = "pytorch"
	tensorFlow  = "tensorflow"
	huggingFace = "huggingface"
	basePython  = "base-python"
	jupyterLab  = "jupyterlab"    // what serves a notebook instance
	condaPython = "conda-python3" // the kernel of its notebooks
	condaOther  = "conda-scikit-learn"
	spark       = "spark"
)

// framework is what the images of one have a name for.
type framework struct {
	title     string // for people
	container string // the package of the image's own code
}

var frameworks = map[string]framework{ //nolint:gochecknoglobals // a constant table
	scikitLearn: {"scikit-learn", "sagemaker_sklearn_container"},
	xgBoost:     {"XGBoost", "sagemaker_xgboost_container"},
	pyTorch:     {"PyTorch", "sagemaker_pytorch_container"},
	tensorFlow:  {"TensorFlow", "sagemaker_tensorflow_container"},
	huggingFace: {"Hugging Face Transformers on PyTorch", "sagemaker_pytorch_container"},
}

// The recipes hold what scripts for these images import most and what the
// SageMaker SDKs need to install themselves; a script's requirements.txt
// brings the rest.
var common = []string{"boto3", "requests", "pyyaml", "psutil", "pip", "setuptools<81", "wheel"} //nolint:gochecknoglobals // a constant table

// Variants is the catalog: for each scikit-learn line the newest versions of
// its time that have wheels for the Python, since older compiled packages and
// newer ones do not go together.
func Variants() []Variant {
	era := func(version string, pythons []int, pins ...string) Variant {
		return Variant{Recipe: scikitLearn, Version: version, Pythons: pythons, Pins: append(append([]string{"scikit-learn==" + version, "joblib"}, pins...), common...)}
	}
	return []Variant{
		era("1.1.3", []int{11}, "numpy==1.24.4", "scipy==1.10.1", "pandas==1.5.3"),
		era("1.2.1", []int{11}, "numpy==1.24.4", "scipy==1.10.1", "pandas==1.5.3"),
		era("1.3.2", []int{12}, "numpy==1.26.4", "scipy==1.11.4", "pandas==2.1.4"),
		era("1.4.2", []int{11, 12}, "numpy==1.26.4", "scipy==1.13.1", "pandas==2.2.3"),
		era("1.5.2", []int{13}, "numpy==2.1.3", "scipy==1.14.1", "pandas==2.2.3"),
		era("1.7.2", []int{14}, "numpy==2.3.5", "scipy==1.16.3", "pandas==2.3.3"),
		// Without what GPUs need, which is a hundred times the rest. Its scikit-learn
		// is that of scikit-learn's own image, so that one reads the other's models.
		boost("2.1.4", []int{11, 12}, "scikit-learn==1.4.2", "numpy==1.26.4", "scipy==1.13.1", "pandas==2.2.3"),
		boost("2.1.4", []int{13}, "scikit-learn==1.5.2", "numpy==2.1.3", "scipy==1.14.1", "pandas==2.2.3"),
		boost("3.0.5", []int{11, 12}, "scikit-learn==1.4.2", "numpy==1.26.4", "scipy==1.13.1", "pandas==2.2.3"),
		boost("3.0.5", []int{13}, "scikit-learn==1.5.2", "numpy==2.1.3", "scipy==1.14.1", "pandas==2.2.3"),
		boost("3.0.5", []int{14}, "scikit-learn==1.7.2", "numpy==2.3.5", "scipy==1.16.3", "pandas==2.3.3"),
		deep(pyTorch, "2.15.0", []int{11, 12, 13, 14}, "torch==2.15.0", "torchvision"),
		deep(huggingFace, "2.15.0", []int{11, 12, 13, 14}, "torch==2.15.0", "torchvision", "transformers", "accelerate", "datasets", "sentencepiece"),
		deep(tensorFlow, "2.21.0", []int{11, 12, 13}, "tensorflow-cpu==2.21.0; platform_machine == 'x86_64'", "tensorflow==2.21.0; platform_machine == 'aarch64'"),
		{Recipe: basePython, Version: "1", Pythons: []int{11, 12, 13, 14}, Pins: append([]string{"numpy", "pandas"}, common...)},
		// The widgets' two halves, in server and kernel, go together by version.
		{Recipe: jupyterLab, Version: "4.6.6", Pythons: []int{11, 12, 13, 14}, Pins: []string{"jupyterlab==4.6.6", "jupyterlab-git==0.55.0", "jupyter-server-proxy==4.6.0", "jupyterlab-widgets==3.0.17", "ipykernel", "nbconvert", "awscli"}},
		kernel([]int{11, 12}, "scikit-learn==1.4.2", "numpy==1.26.4", "scipy==1.13.1", "pandas==2.3.3"),
		kernel([]int{13}, "scikit-learn==1.5.2", "numpy==2.1.3", "scipy==1.14.1", "pandas==2.3.3"),
		kernel([]int{14}, "scikit-learn==1.7.2", "numpy==2.3.5", "scipy==1.16.3", "pandas==2.3.3"),
		offer("1.1.3", []int{11}, "numpy==1.24.4", "scipy==1.10.1", "pandas==1.5.3"),
		offer("1.2.1", []int{11}, "numpy==1.24.4", "scipy==1.10.1", "pandas==1.5.3"),
		offer("1.3.2", []int{12}, "numpy==1.26.4", "scipy==1.11.4", "pandas==2.1.4"),
		{
			Recipe: spark, Version: "3.5.9", Pythons: []int{11}, Javas: []int{17, 11, 8},
			Pins:  append([]string{"py4j==0.10.9.7", "numpy==1.26.4", "pandas==2.2.3", "pyarrow==17.0.0"}, common...),
			Spark: "ea27adc39ddac9413b8951e45aa748cbed6c785971b81386efc41938f6243d93",
		},
		{
			Recipe: spark, Version: "4.1.4", Pythons: []int{12, 13, 14}, Javas: []int{17, 21},
			Pins:  append([]string{"py4j==0.10.9.9", "numpy==2.3.5", "pandas==2.3.3", "pyarrow==22.0.0"}, common...),
			Spark: "bcbd5e18690cf79d438e97210ad06fb8d451a251bb77becc2b0418868d2acd73",
		},
	}
}

// boost is a version of XGBoost, which has wheels for any Python.
func boost(version string, pythons []int, pins ...string) Variant {
	return Variant{Recipe: xgBoost, Version: version, Pythons: pythons, Pins: append(append([]string{"xgboost-cpu==" + version, "joblib"}, pins...), common...)}
}

// deep is a framework of deep learning. Its largest wheels come in kinds, and may
// come from the operator's index.
func deep(recipe, version string, pythons []int, pins ...string) Variant {
	v := Variant{Recipe: recipe, Version: version, Pythons: pythons, Pins: append(append(pins, "numpy", "pandas", "scikit-learn"), common...)}
	if recipe != tensorFlow {
		v.Wheels = []string{"torch", "torchvision"}
	}
	return v
}

// kernel is conda_python3 on the versions of a scikit-learn runtime, so that a
// notebook reads what its jobs wrote.
func kernel(pythons []int, pins ...string) Variant {
	return Variant{Recipe: condaPython, Version: sdkVersion, Pythons: pythons, Pins: append(append([]string{"sagemaker==" + sdkVersion, "matplotlib", "ipykernel", "ipywidgets==8.1.9"}, pins...), common...)}
}

// offer is a further kernel, of a scikit-learn runtime that conda_python3 is not
// on: it is installed where a notebook first wants it. The SageMaker SDK does
// not go with such versions.
func offer(version string, pythons []int, pins ...string) Variant {
	return Variant{Recipe: condaOther, Version: version, Pythons: pythons, Pins: append(append([]string{"scikit-learn==" + version, "joblib", "matplotlib", "ipykernel"}, pins...), common...)}
}

// sdkVersion is of the SageMaker SDK in a notebook's kernel.
const sdkVersion = "2.257.7"

// files are what a build of a variant for one Python is made of, by their name
// in its folder.
func (v Variant) files(minor int) (map[string][]byte, error) {
	lock, err := v.lock(minor)
	if err != nil {
		return nil, err
	}
	uv, err := locks.ReadFile("locks/uv.txt")
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{build.LockFile: lock, build.UVFile: uv}
	if v.Spark != "" {
		files[build.SparkFile] = fmt.Appendf(nil, "pyspark==%s --hash=sha256:%s\n", v.Version, v.Spark)
	}
	if v.Recipe != jupyterLab {
		return files, nil
	}
	for _, k := range Variants() {
		name := ""
		switch {
		case !slices.Contains(k.Pythons, minor):
		case k.Recipe == condaPython:
			name = build.KernelFile("python3")
		case k.Recipe == condaOther:
			l := lineOf(k.Version)
			name = build.OfferFile(fmt.Sprintf("scikit_learn_%d_%d", l.major, l.minor))
		}
		if name == "" {
			continue
		}
		if files[name], err = k.lock(minor); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// lock is a variant's locked requirements for one Python.
func (v Variant) lock(minor int) ([]byte, error) {
	return locks.ReadFile(v.lockFile(minor))
}

// versionOf reads a package's version from a lock.
func versionOf(lock []byte, name string) string {
	for line := range strings.Lines(string(lock)) {
		if v, ok := strings.CutPrefix(line, name+"=="); ok {
			v, _, _ = strings.Cut(v, " ")
			return strings.TrimSpace(v)
		}
	}
	return ""
}
