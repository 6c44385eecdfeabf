package build

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"
)

// maxWheel bounds what is read of an index's answer.
const maxWheel = 256 << 20

// file is one file of a project in an index.
type file struct{ name, url, sha256 string }

// fetchUV brings uv into a fresh folder and returns its path.
func (b *builder) fetchUV(ctx context.Context) (string, error) {
	lock, err := os.ReadFile(filepath.Join(b.dir, UVFile))
	if err != nil {
		return "", err
	}
	hashes := lockedHashes(lock)
	if len(hashes) == 0 {
		return "", errors.New("the lock has no hash")
	}
	wheel, err := b.wheel(ctx, hashes)
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "uv")
	if err != nil {
		return "", err
	}
	uv := filepath.Join(dir, "uv")
	if err := extractUV(wheel, uv); err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	return uv, nil
}

// wheel reads uv's wheel from the cache or the index. Only its hash counts.
func (b *builder) wheel(ctx context.Context, hashes []string) ([]byte, error) {
	for _, h := range hashes {
		if data, err := os.ReadFile(b.cached(h)); err == nil && sum(data) == h && fits(data) {
			return data, nil
		}
	}
	b.say("fetching uv from %s", hostOf(b.index))
	hc := &http.Client{Timeout: 10 * time.Minute}
	defer hc.CloseIdleConnections()
	files, err := b.list(ctx, hc, "uv")
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if !slices.Contains(hashes, f.sha256) || !forThisMachine(f.name) {
			continue
		}
		data, err := get(ctx, hc, f.url, "")
		if err != nil {
			return nil, err
		}
		if got := sum(data); got != f.sha256 {
			return nil, fmt.Errorf("%s has the hash %s, not the locked %s", f.name, got, f.sha256)
		}
		return data, b.keep(f.sha256, data)
	}
	return nil, fmt.Errorf("%s has no wheel of uv with a locked hash for this machine (%s)", hostOf(b.index), runtime.GOARCH)
}

func (b *builder) cached(hash string) string {
	return filepath.Join(b.cache, "wheels", hash+".whl")
}

func (b *builder) keep(hash string, data []byte) error {
	dst := b.cached(hash)
	if err := os.MkdirAll(filepath.Dir(dst), 0o777); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(dst), "new")
	if err != nil {
		return err
	}
	_, err = tmp.Write(data)
	if err = errors.Join(err, tmp.Chmod(0o666), tmp.Close()); err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return os.Rename(tmp.Name(), dst)
}

func sum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}

func lockedHashes(lock []byte) []string {
	var out []string
	for _, m := range regexp.MustCompile(`--hash=sha256:([0-9a-f]{64})`).FindAllSubmatch(lock, -1) {
		out = append(out, string(m[1]))
	}
	return out
}

// machines are the names of architectures in wheels.
func machine() string {
	switch runtime.GOARCH {
	case "amd64":
		return "x86_64"
	case "arm64":
		return "aarch64"
	}
	return runtime.GOARCH
}

// forThisMachine wants a manylinux wheel: its uv is what the lock's other
// wheels are for.
func forThisMachine(name string) bool {
	return strings.HasSuffix(name, ".whl") && strings.Contains(name, "manylinux") && strings.Contains(name, machine())
}

// fits looks into a wheel, whose name the cache does not keep.
func fits(wheel []byte) bool {
	zr, err := zip.NewReader(bytes.NewReader(wheel), int64(len(wheel)))
	if err != nil {
		return false
	}
	for _, f := range zr.File {
		if path.Base(f.Name) == "WHEEL" {
			r, err := f.Open()
			if err != nil {
				return false
			}
			defer r.Close() //nolint:errcheck // read only
			data, err := io.ReadAll(io.LimitReader(r, 64<<10))
			return err == nil && strings.Contains(string(data), machine())
		}
	}
	return false
}

// list reads the index's page of a project, in JSON or in HTML.
func (b *builder) list(ctx context.Context, hc *http.Client, project string) ([]file, error) {
	page := b.index + "/" + project + "/"
	data, err := get(ctx, hc, page, "application/vnd.pypi.simple.v1+json, text/html;q=0.5")
	if err != nil {
		return nil, err
	}
	return parseIndex(page, data)
}

func parseIndex(page string, data []byte) ([]file, error) {
	base, err := url.Parse(page)
	if err != nil {
		return nil, err
	}
	var files []file
	add := func(ref, name, hash string) {
		if u, err := base.Parse(ref); err == nil {
			u.Fragment = ""
			if name == "" {
				name = path.Base(u.Path)
			}
			if base.User != nil && u.Host == base.Host && u.User == nil {
				u.User = base.User
			}
			files = append(files, file{name, u.String(), hash})
		}
	}
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
		var doc struct {
			Files []struct {
				Filename string            `json:"filename"`
				URL      string            `json:"url"`
				Hashes   map[string]string `json:"hashes"`
			} `json:"files"`
		}
		if err := json.Unmarshal(data, &doc); err != nil {
			return nil, fmt.Errorf("the index's page of %s: %w", path.Base(base.Path), err)
		}
		for _, f := range doc.Files {
			add(f.URL, f.Filename, f.Hashes["sha256"])
		}
		return files, nil
	}
	for _, m := range regexp.MustCompile(`href\s*=\s*["']([^"'#]+)#sha256=([0-9a-f]{64})["']`).FindAllStringSubmatch(string(data), -1) {
		add(html.UnescapeString(m[1]), "", m[2])
	}
	return files, nil
}

func get(ctx context.Context, hc *http.Client, address, accept string) ([]byte, error) {
	body, err := open(ctx, hc, address, accept)
	if err != nil {
		return nil, err
	}
	defer body.Close() //nolint:errcheck // read below
	data, err := io.ReadAll(io.LimitReader(body, maxWheel))
	if err != nil {
		return nil, fmt.Errorf("reading from %s: %w", hostOf(address), err)
	}
	return data, nil
}

// open asks for a file; what is no such file is an error.
func open(ctx context.Context, hc *http.Client, address, accept string) (io.ReadCloser, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	resp, err := hc.Do(r)
	if err != nil {
		if ue, ok := errors.AsType[*url.Error](err); ok {
			err = ue.Err // its address may hold a password
		}
		return nil, fmt.Errorf("%s cannot be reached: %w", hostOf(address), err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	defer resp.Body.Close() //nolint:errcheck // read below
	data, err := io.ReadAll(io.LimitReader(resp.Body, 200))
	if err != nil {
		return nil, fmt.Errorf("reading from %s: %w", hostOf(address), err)
	}
	return nil, fmt.Errorf("%s answers %s: %s", hostOf(address), resp.Status, strings.TrimSpace(string(data)))
}

// hostOf is an address without what may be secret in it.
func hostOf(address string) string {
	if u, err := url.Parse(address); err == nil && u.Host != "" {
		return u.Host
	}
	return "the index"
}

// extractUV takes the program out of its wheel.
func extractUV(wheel []byte, dst string) error {
	zr, err := zip.NewReader(bytes.NewReader(wheel), int64(len(wheel)))
	if err != nil {
		return err
	}
	for _, f := range zr.File {
		if !strings.HasSuffix(f.Name, ".data/scripts/uv") {
			continue
		}
		in, err := f.Open()
		if err != nil {
			return err
		}
		defer in.Close() //nolint:errcheck // read only
		out, err := os.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
		if err != nil {
			return err
		}
		_, err = io.Copy(out, io.LimitReader(in, maxWheel))
		return errors.Join(err, out.Close())
	}
	return errors.New("the wheel holds no uv")
}
