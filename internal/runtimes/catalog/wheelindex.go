package catalog

import (
	"net/url"
	"regexp"
	"slices"
	"strings"

	"clary/internal/stage/build"
)

// forGPUs are what wheels of the package index need and those for processors
// alone do not.
var forGPUs = regexp.MustCompile(`^(nvidia-|cuda-|triton$)`)

// filesOf are the files that a build of a variant is made of here: where the
// operator names an index of wheels, what it is for comes from there.
func (c *Catalog) filesOf(v Variant, minor int) (map[string][]byte, error) {
	files, err := v.files(minor)
	if err != nil || c.cfg.WheelIndex == "" || len(v.Wheels) == 0 {
		return files, err
	}
	wheels := []string{c.cfg.WheelIndex}
	var lock strings.Builder
	for _, e := range entries(string(files[build.LockFile])) {
		name, rest, _ := strings.Cut(e, "==")
		switch {
		case slices.Contains(v.Wheels, name):
			wheels = append(wheels, name+"=="+strings.Fields(rest)[0])
		case !forGPUs.MatchString(name):
			lock.WriteString(e)
		}
	}
	files[build.LockFile] = []byte(lock.String())
	files[build.WheelFile] = []byte(strings.Join(wheels, "\n") + "\n")
	return files, nil
}

// entries splits a lock into its packages, each with its hashes.
func entries(lock string) []string {
	var out []string
	for line := range strings.Lines(lock) {
		if !strings.HasPrefix(line, " ") || len(out) == 0 {
			out = append(out, "")
		}
		out[len(out)-1] += line
	}
	return out
}

// wheelNote says where a variant's large packages come from.
func (c *Catalog) wheelNote(v Variant) string {
	if len(v.Wheels) == 0 {
		return ""
	}
	if c.cfg.WheelIndex == "" {
		return "with the package index's wheels, which hold what GPUs need (3 GB); `clary serve --wheel-index https://download.pytorch.org/whl/cpu` takes smaller ones"
	}
	from := "the operator's index"
	if u, err := url.Parse(c.cfg.WheelIndex); err == nil && u.Host != "" {
		from = u.Host
	}
	return strings.Join(v.Wheels, " and ") + " from " + from
}
