package catalog

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Java is a Java runtime of this machine.
type Java struct {
	Home  string
	Major int // 8, 11, 17
}

// FindJavas looks where every task sees them.
func FindJavas() []Java { return javasIn("/usr/lib/jvm") }

var javaVersion = regexp.MustCompile(`(?m)^JAVA_VERSION="(?:1\.)?(\d+)`)

func javasIn(dir string) []Java {
	releases, _ := filepath.Glob(filepath.Join(dir, "*/release")) // the pattern is a constant
	var found []Java
	for _, r := range releases {
		home := filepath.Dir(r)
		data, err := os.ReadFile(r)
		m := javaVersion.FindSubmatch(data)
		if _, serr := os.Stat(filepath.Join(home, "bin/java")); err != nil || m == nil || serr != nil {
			continue
		}
		major, _ := strconv.Atoi(string(m[1]))
		found = append(found, Java{home, major})
	}
	return found
}

// chooseJava picks what a variant runs on best.
func chooseJava(v Variant, javas []Java) (Java, bool) {
	for _, major := range v.Javas {
		if i := slices.IndexFunc(javas, func(j Java) bool { return j.Major == major }); i >= 0 {
			return javas[i], true
		}
	}
	return Java{}, false
}

// lacks says what to do on a machine that cannot have a recipe.
func lacks(pythons []Python, recipe string) string {
	if ch, ok := choose(wanted{recipe: recipe}, pythons); ok && recipe == spark {
		return noJava(ch.variant)
	}
	return noPython(pythons)
}

func noJava(v Variant) string {
	var majors []string
	for _, m := range v.Javas {
		majors = append(majors, strconv.Itoa(m))
	}
	return fmt.Sprintf("this machine has no Java that Spark %s runs on, which is version %s, below /usr/lib/jvm. Install one, on Debian and Ubuntu with: sudo apt-get install -y openjdk-%s-jre-headless",
		v.Version, strings.Join(majors, " or "), majors[0])
}

// noSpark says why no job can run Spark here, as far as Java goes; "" if one can.
func noSpark(javas []Java) string {
	why := ""
	for _, v := range Variants() {
		if v.Recipe != spark {
			continue
		}
		if _, ok := chooseJava(v, javas); ok {
			return ""
		}
		why = noJava(v)
	}
	return why
}
