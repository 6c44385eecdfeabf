package bundle

import "testing"

func TestNames(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]bool{
		"https://example.com/a.git": true, "http://[::1]:80/x": true, "ssh://git@host:22/x": true, "git@github.com:a/b.git": true, "host:/abs/x": true, "/abs/x.git": true, "file:///abs/x": true,
		"": false, "ext::sh -c x": false, "ext::x": false, "host::x": false, "file://host/x": false, "-u/x": false, "--upload-pack=x:y": false, "https://a b/": false, "ssh://-oProxyCommand=x/y": false,
		"-oProxyCommand=x:y": false, "../x.git": false, "x.git": false, "fd::17": false, "https://a\n/x": false, "persistent-https://x/y": false,
	} {
		if IsURL(s) != want {
			t.Errorf("IsURL(%q) is %v", s, !want)
		}
	}
	for s, want := range map[string]bool{
		"refs/heads/main": true, "refs/tags/v1.0": true, "refs/heads/ünï": true, "refs/heads/a@b": true,
		"": false, "HEAD": false, "refs/heads/..": false, "refs/heads/a..b": false, "refs/heads/.a": false, "refs/heads/a.lock": false, "refs/heads/a.lock/b": false, "refs/heads/a.": false, "refs/heads/": false,
		"refs//heads": false, "refs/heads/a b": false, "refs/heads/a~1": false, "refs/heads/a^": false, "refs/heads/a:b": false, "refs/heads/a?": false, "refs/heads/[a": false, "refs/heads/a\\b": false,
		"refs/heads/a@{b": false, "refs/heads/a\nb": false, "refs/heads/a\x7f": false, "../refs/heads/a": false,
	} {
		if IsRef(s) != want {
			t.Errorf("IsRef(%q) is %v", s, !want)
		}
	}
	for s, want := range map[string]bool{"origin": true, "my/fork": true, "a.b": true, "": false, "-x": false, "a b": false, "a..b": false, "a\nb": false, "a\"b": false} {
		if IsRemoteName(s) != want {
			t.Errorf("IsRemoteName(%q) is %v", s, !want)
		}
	}
}
