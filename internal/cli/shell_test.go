package cli

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// readFish and readPowerShell are the shells' own rules for the values that we
// write. fish is also run for real, by test/sdk/shell. PowerShell is not: no
// Debian package has it, so these rules, from about_Quoting_Rules, are all
// that its output was ever held against.
func readFish(s string) (string, error) {
	body, ok := strings.CutPrefix(s, "'")
	if !ok {
		return "", errors.New("no quote at the start")
	}
	var out strings.Builder
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case c == '\'':
			if i != len(body)-1 {
				return "", errors.New("text after the value")
			}
			return out.String(), nil
		case c == '\\' && i+1 < len(body) && (body[i+1] == '\\' || body[i+1] == '\''):
			i++
			out.WriteByte(body[i])
		default:
			out.WriteByte(c)
		}
	}
	return "", errors.New("the quote does not end")
}

// readPowerShell reads 'a'+"`n"+'b'. Five characters are its single quotes,
// and within single quotes two of them are one.
func readPowerShell(s string) (string, error) {
	quote := func(r rune) bool { return strings.ContainsRune("'\u2018\u2019\u201a\u201b", r) }
	var out strings.Builder
	rs := []rune(s)
	for i := 0; ; i++ {
		switch {
		case i < len(rs) && quote(rs[i]):
			for i++; ; i++ {
				if i >= len(rs) {
					return "", errors.New("the quote does not end")
				}
				if rs[i] == '\n' || rs[i] == '\r' {
					return "", errors.New("a statement of two lines")
				}
				if quote(rs[i]) {
					if i+1 >= len(rs) || !quote(rs[i+1]) {
						break
					}
					i++
				}
				out.WriteRune(rs[i])
			}
		case strings.HasPrefix(string(rs[min(i, len(rs)):]), "\"`n\""):
			out.WriteByte('\n')
			i += 3
		case strings.HasPrefix(string(rs[min(i, len(rs)):]), "\"`r\""):
			out.WriteByte('\r')
			i += 3
		default:
			return "", fmt.Errorf("no value at %d", i)
		}
		if i+1 == len(rs) {
			return out.String(), nil
		}
		if i++; rs[i] != '+' {
			return "", errors.New("text after the value")
		}
	}
}

func TestQuotesAreReadBack(t *testing.T) {
	t.Parallel()
	values := []string{
		"", " ", "a b", "'", "''", `\`, `\\`, `\'`, `'\''`, `"`, "$HOME", "$(id)", "`id`", "%PATH%", "!x", "a\nb", "\n", "a\r\nb\r", "\t",
		"\u2018\u2019\u201a\u201b", "'\u2019'", "é", "`n", "\"`n\"", "'+(id)+'", "; exit", "# x", "{a,b}", "~", "*", "${Env:X}", "@{a=1}",
	}
	alphabet := []rune("'\\\"$`\n\r\u2018\u2019 a+;#")
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		var b strings.Builder
		for range rnd.IntN(9) {
			b.WriteRune(alphabet[rnd.IntN(len(alphabet))])
		}
		values = append(values, b.String())
	}
	for _, v := range values {
		if got, err := readFish(quoteFish(v)); err != nil || got != v {
			t.Errorf("fish reads %s as %q, %v", quoteFish(v), got, err)
		}
		if got, err := readPowerShell(quotePowerShell(v)); err != nil || got != v {
			t.Errorf("PowerShell reads %s as %q, %v", quotePowerShell(v), got, err)
		}
	}
	var script strings.Builder
	for i, v := range values[:len(values)/10] {
		fmt.Fprintf(&script, "export V%d=%s\n", i, quoteSh(v))
	}
	got := inSh(t, nil, script.String())
	for i, v := range values[:len(values)/10] {
		if got[fmt.Sprintf("V%d", i)] != v {
			t.Errorf("sh reads %s as %q", quoteSh(v), got[fmt.Sprintf("V%d", i)])
		}
	}
}

func TestWhichShell(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ parent, shell, psPath, want string }{
		{"bash", "/usr/bin/fish", "", "bash"},
		{"fish", "/bin/bash", "", "fish"},
		{"-zsh", "", "", "zsh"},
		{"make", "/usr/bin/fish", "", "fish"},
		{"pwsh", "/bin/bash", "", "pwsh"},
		{"", "", "x", "powershell"},
		{"", "/bin/tcsh", "", "sh"},
	} {
		get := func(k string) string { return map[string]string{"SHELL": c.shell, "PSModulePath": c.psPath}[k] }
		if got := guessShell(c.parent, get); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

// A name that no shell could have set is no way to run a command in one.
func TestNamesAreNotCode(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.env = append(b.env, "AWS_ENDPOINT_URL_X;touch /tmp/x=1", "AWS_ENDPOINT_URL_S-3=1", "AWS_ENDPOINT_URL_S3=1")
	for _, name := range []string{"sh", "fish", "powershell"} {
		_, out, _ := b.run("env", "--shell", name)
		if strings.Contains(out, "touch") || strings.Contains(out, "S-3") || !strings.Contains(out, "AWS_ENDPOINT_URL_S3") {
			t.Errorf("%s:\n%s", name, out)
		}
	}
}

func TestValuesThatAreNoTextComeBack(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.env = append(b.env, "AWS_PROFILE=\xff\xfe", "NO_PROXY=")
	_, script, _ := b.run("env")
	b.env = list(inSh(t, b.env, script))
	_, script, _ = b.run("env", "--unset")
	back := inSh(t, b.env, script)
	if v, ok := back["NO_PROXY"]; back["AWS_PROFILE"] != "\xff\xfe" || !ok || v != "" {
		t.Errorf("%q, %q %v", back["AWS_PROFILE"], v, ok)
	}
}

func TestProfile(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.env = append(b.env, "AWS_ACCESS_KEY_ID=real", "AWS_SECRET_ACCESS_KEY=real", "AWS_DEFAULT_PROFILE=prod")
	before := inSh(t, b.env, "")
	_, script, errText := b.run("env", "--profile", "dev")
	got := inSh(t, b.env, script)
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_PROFILE"} {
		if v, ok := got[name]; ok {
			t.Errorf("%s is %q: it would win over the profile", name, v)
		}
	}
	config, err := os.ReadFile(got["AWS_CONFIG_FILE"])
	if want := "[profile dev]\nregion = eu-west-1\nendpoint_url = " + got["AWS_ENDPOINT_URL"] + "\n"; err != nil || string(config) != want {
		t.Errorf("%s %v\n%s", config, err, errText)
	}
	keys, err := os.ReadFile(got["AWS_SHARED_CREDENTIALS_FILE"])
	if want := "[dev]\naws_access_key_id = AKIDROOT\naws_secret_access_key = s3'cret$x\\\n"; err != nil || string(keys) != want {
		t.Errorf("%s %v", keys, err)
	}
	for _, f := range []string{got["AWS_CONFIG_FILE"], got["AWS_SHARED_CREDENTIALS_FILE"]} {
		if st, err := os.Stat(f); err != nil || st.Mode().Perm() != 0o600 || !strings.HasPrefix(f, b.data) {
			t.Errorf("%s: %v %v", f, st, err)
		}
	}
	if got["AWS_PROFILE"] != "dev" {
		t.Errorf("AWS_PROFILE is %q", got["AWS_PROFILE"])
	}
	home, _ := lookup(b.env, "HOME")
	if _, err := os.Stat(filepath.Join(home, ".aws")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("~/.aws: %v", err)
	}

	// without it again: the keys are in the environment, the profile is gone
	b.env = list(got)
	_, script, _ = b.run("env")
	plain := inSh(t, b.env, script)
	if plain["AWS_ACCESS_KEY_ID"] != "AKIDROOT" || plain["AWS_PROFILE"] != "" || plain["AWS_CONFIG_FILE"] != "" {
		t.Errorf("%v", plain)
	}
	b.env = list(plain)
	_, script, _ = b.run("env", "--unset")
	if back := inSh(t, b.env, script); !maps.Equal(back, before) {
		t.Errorf("back to\n%v, was\n%v", back, before)
	}

	_, script, _ = b.run("env", "--profile", "default")
	if config, err := os.ReadFile(inSh(t, b.env, script)["AWS_CONFIG_FILE"]); err != nil || !strings.HasPrefix(string(config), "[default]\n") {
		t.Errorf("%s %v", config, err)
	}
	for _, bad := range []string{"a b", "a]\n[default", "../x", "é", strings.Repeat("a", 65)} {
		if code, _, e := b.run("env", "--profile", bad); code != 1 || !strings.Contains(e, "--profile") {
			t.Errorf("%q: %d %s", bad, code, e)
		}
	}
}
