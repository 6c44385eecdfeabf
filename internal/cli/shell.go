package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// shell says how one family of shells sets a variable and takes it away.
type shell struct {
	set   func(name, value string) string
	unset func(name string) string
}

// shellNames is what --shell takes, for messages.
const shellNames = "sh (also dash, bash, zsh, ksh), fish or powershell (also pwsh)"

// shellOf finds the family by a program's name.
func shellOf(name string) (shell, bool) {
	switch name {
	case "sh", "dash", "ash", "bash", "zsh", "ksh", "mksh":
		return shell{
			func(name, value string) string { return "export " + name + "=" + quoteSh(value) },
			func(name string) string { return "unset " + name },
		}, true
	case "fish":
		return shell{
			func(name, value string) string { return "set -gx " + name + " " + quoteFish(value) + ";" },
			func(name string) string { return "set -e " + name + ";" },
		}, true
	case "powershell", "pwsh":
		return shell{
			func(name, value string) string { return "$Env:" + name + " = " + quotePowerShell(value) },
			func(name string) string { return "Remove-Item -ErrorAction SilentlyContinue Env:" + name },
		}, true
	}
	return shell{}, false
}

// quoteSh is for every POSIX shell: nothing is special within single quotes.
func quoteSh(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// quoteFish knows that fish reads \\ and \' within single quotes.
func quoteFish(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

// quotePowerShell doubles quotes, of which PowerShell takes the typographic
// ones for its own, and keeps a statement on one line: its pipeline hands over
// what a program prints line by line, with line ends of its own.
func quotePowerShell(s string) string {
	return "'" + strings.NewReplacer(
		"'", "''", "\u2018", "\u2018\u2018", "\u2019", "\u2019\u2019", "\u201a", "\u201a\u201a", "\u201b", "\u201b\u201b",
		"\n", "'+\"`n\"+'", "\r", "'+\"`r\"+'",
	).Replace(s) + "'"
}

// guessShell looks at who called, then at the user's login shell.
func guessShell(parent string, get func(string) string) string {
	for _, name := range []string{strings.TrimPrefix(parent, "-"), filepath.Base(get("SHELL"))} {
		if _, ok := shellOf(name); ok {
			return name
		}
	}
	if get("SHELL") == "" && get("PSModulePath") != "" {
		return "powershell"
	}
	return "sh"
}

// parentName is the name of the program that started this one, "" where that
// cannot be told.
func parentName() string {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(os.Getppid()), "comm"))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// variable says whether every shell takes name for a variable's.
func variable(name string) bool {
	for i, c := range []byte(name) {
		letter := c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}

// script writes a list of changes in a shell's language.
func (s shell) script(list []change) string {
	var b strings.Builder
	for _, c := range list {
		switch {
		case !variable(c.name): // the shell could not hold it either
		case c.value == nil:
			fmt.Fprintln(&b, s.unset(c.name))
		default:
			fmt.Fprintln(&b, s.set(c.name, *c.value))
		}
	}
	return b.String()
}
