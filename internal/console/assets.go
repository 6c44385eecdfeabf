package console

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"net/http"
	"path"
	"strings"
)

//go:embed static
var staticFiles embed.FS

type asset struct {
	contentType   string
	plain, gzip   []byte
	name, version string
}

// contentTypes are what our assets are. Those that the host's own tables give
// may differ, and a browser takes no script or style that is named otherwise.
func contentTypes() map[string]string {
	return map[string]string{
		".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
		".png": "image/png", ".woff2": "font/woff2",
	}
}

// assets are style, script and icon. An address holds the content's hash, so
// that a browser keeps it for good and a new server is seen at once.
type assets struct{ byName map[string]*asset }

func loadAssets() (*assets, error) {
	a := &assets{byName: make(map[string]*asset)}
	list, err := staticFiles.ReadDir("static")
	if err != nil {
		return nil, err
	}
	types := contentTypes()
	for _, e := range list {
		b, err := staticFiles.ReadFile("static/" + e.Name())
		if err != nil {
			return nil, err
		}
		kind := types[path.Ext(e.Name())]
		if kind == "" {
			return nil, fmt.Errorf("%s: its content type is not known", e.Name())
		}
		sum := sha256.Sum256(b)
		var z bytes.Buffer
		zw := gzip.NewWriter(&z)
		if _, err := zw.Write(b); err != nil {
			return nil, err
		}
		if err := zw.Close(); err != nil {
			return nil, err
		}
		a.byName[e.Name()] = &asset{
			contentType: kind, plain: b, gzip: z.Bytes(),
			name: e.Name(), version: hex.EncodeToString(sum[:6]),
		}
	}
	return a, nil
}

// url is where a page finds the named asset.
func (a *assets) url(name string) (string, error) {
	f := a.byName[name]
	if f == nil {
		return "", fmt.Errorf("no asset %q", name)
	}
	base, ext, _ := strings.Cut(name, ".")
	return "/static/" + base + "-" + f.version + "." + ext, nil
}

func (a *assets) serve(w http.ResponseWriter, r *http.Request) {
	base, ext, _ := strings.Cut(r.PathValue("name"), ".")
	i := strings.LastIndexByte(base, '-')
	var f *asset
	if i > 0 {
		f = a.byName[base[:i]+"."+ext]
	}
	if f == nil || f.version != base[i+1:] {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", f.contentType)
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("Vary", "Accept-Encoding")
	b := f.plain
	if takesGzip(r) {
		h.Set("Content-Encoding", "gzip")
		b = f.gzip
	}
	_, _ = w.Write(b) // the browser is gone if it fails
}
