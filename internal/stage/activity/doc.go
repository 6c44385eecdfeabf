// Package activity looks at what goes on in a notebook instance, from inside
// its task: at the kernels and terminals of JupyterLab, the processes and the
// connections. What JupyterLab does not tell by its API comes from a server
// extension of ours; a lab extension of ours shows a warning in open tabs and
// has them save what they hold. Nothing that is done here counts as use of the
// instance, and nothing here decides whether there is any: a Sample is what
// was seen. Start at Handler.
package activity

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
)

//go:embed files
var files embed.FS

// Module is the server extension's file, below the folder that Lay was given.
const Module = "clary/clary_activity.py"

// notice is the lab extension's name.
const notice = "clary-notice"

// Lay writes both extensions below Jupyter's data folder.
func Lay(data string) error {
	server, err := files.ReadFile("files/clary_activity.py")
	if err != nil {
		return err
	}
	script, err := files.ReadFile("files/notice.js")
	if err != nil {
		return err
	}
	manifest, err := files.ReadFile("files/package.json")
	if err != nil {
		return err
	}
	// A browser keeps a script by its name.
	sum := sha256.Sum256(script)
	entry := "static/notice." + hex.EncodeToString(sum[:8]) + ".js"
	lab := filepath.Join("labextensions", notice)
	for name, text := range map[string]string{
		Module:                             string(server),
		filepath.Join(lab, entry):          string(script),
		filepath.Join(lab, "package.json"): strings.ReplaceAll(string(manifest), "ENTRY", entry),
	} {
		to := filepath.Join(data, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(to, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}
