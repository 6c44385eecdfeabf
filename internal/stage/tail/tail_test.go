package tail

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestCause(t *testing.T) {
	t.Parallel()
	long := "Traceback (most recent call last):\n" + strings.Repeat("  File \"x.py\", line 1, in f\n    g()\n", 100) + "KeyError: 'é'"
	for _, tt := range []struct{ name, in, want string }{
		{"empty", "", ""},
		{"progress", "10%\r20%\r100%\nlast", "100%\nlast"},
		{"colours", "\x1b[31mred\x1b[0m", "red"},
		{"last of two tracebacks", "Traceback (most recent call last):\n  a\nA: 1\n\nDuring handling\n\nTraceback (most recent call last):\n  b\nB: 2", "Traceback (most recent call last):\n  b\nB: 2"},
		{"message of several lines", "Traceback (most recent call last):\n  a\nE: one\n two\nthree", "Traceback (most recent call last):\n  a\nE: one\n two\nthree"},
		{"stripped by a launcher", "Traceback (most recent call last):\nFile \"t.py\", line 8, in <module>\nx = f()\n^^^^\nKeyError: 'us'\nCommand failed. Traceback: Traceback (most recent call last):\n  File \"u.py\"\nsubprocess.CalledProcessError: no", "Traceback (most recent call last):\nFile \"t.py\", line 8, in <module>\nx = f()\n^^^^\nKeyError: 'us'"},
		{"dotted", "Traceback (most recent call last):\n  a\nbotocore.exceptions.ClientError: denied\n\nlater", "Traceback (most recent call last):\n  a\nbotocore.exceptions.ClientError: denied"},
		{"bare", "Traceback (most recent call last):\n  a\nKeyboardInterrupt", "Traceback (most recent call last):\n  a\nKeyboardInterrupt"},
		{"not UTF-8", "\xff\xfe", "\uFFFD"},
	} {
		if got := Cause([]byte(tt.in)); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	if got := Cause([]byte(long)); len(got) > CauseSize || !strings.HasSuffix(got, "KeyError: 'é'") {
		t.Errorf("%d bytes ending %q", len(got), got[len(got)-30:])
	}
}

func TestBuffer(t *testing.T) {
	t.Parallel()
	var tail Buffer
	var all []byte
	for i := range 3000 {
		chunk := bytes.Repeat([]byte{byte(i)}, i%97)
		if i == 1500 {
			chunk = bytes.Repeat([]byte("z"), 3*Size+5)
		}
		all = append(all, chunk...)
		_, _ = tail.Write(chunk)
		want := all[max(0, len(all)-Size):]
		if !bytes.Equal(tail.Bytes(), want) {
			t.Fatalf("after write %d the tail is wrong", i)
		}
	}
}

func TestShorten(t *testing.T) {
	t.Parallel()
	frames := header + ":\n  File \"train.py\", line 1\n    f()\n" + strings.Repeat("  File \"lib.py\", line 1, in ü\n    g()\n", 60) + "ValueError: ü"
	for most := 60; most < len(frames)+10; most += 7 {
		got := Shorten(frames, most)
		if len(got) > most || !utf8.ValidString(got) || !strings.HasSuffix(got, "ValueError: ü") {
			t.Fatalf("to %d: %q", most, got)
		}
		if most > 300 && !strings.HasPrefix(got, header+":\n  File \"train.py\"") {
			t.Fatalf("to %d the script's own frame is lost: %q", most, got)
		}
	}
	if got := Shorten(strings.Repeat("line\n", 100), 50); len(got) > 50 || !strings.HasPrefix(got, cut+"line") {
		t.Errorf("%q", got)
	}
}

func TestException(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"Traceback (most recent call last):\n  a\nKeyError: 'x'": "KeyError: 'x'",
		"...\n  a\nKeyError: 'x'":                                "KeyError: 'x'",
		"before\nKeyError: 'x'":                                  "",
		"just text":                                              "",
		"":                                                       "",
	} {
		if got := Exception(in); got != want {
			t.Errorf("Exception(%q) = %q", in, got)
		}
	}
}
