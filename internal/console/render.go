package console

import (
	"bytes"
	"compress/gzip"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"clary/internal/resource"
)

//go:embed templates
var templateFiles embed.FS

// frame is what every page shows around its body.
type frame struct {
	Title, Section             string
	Groups                     []group
	SignedIn                   bool
	Account, Region, Principal string
	Regions                    []string
	Token, Here                string
	Body                       any
}

// loadPages parses each page of templates/ with the layout and the parts that
// pages share.
func loadPages(a *assets) (map[string]*template.Template, error) {
	shared, err := template.New("").Funcs(funcs(a)).ParseFS(templateFiles, "templates/shared/*.tmpl")
	if err != nil {
		return nil, err
	}
	files, err := fs.Glob(templateFiles, "templates/*.tmpl")
	if err != nil {
		return nil, err
	}
	pages := make(map[string]*template.Template)
	for _, f := range files {
		t, err := shared.Clone()
		if err == nil {
			t, err = t.ParseFS(templateFiles, f)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
		pages[strings.TrimSuffix(path.Base(f), ".tmpl")] = t
	}
	return pages, nil
}

// render writes a whole page or, when its template fails, a plain error.
func (c *Console) render(w http.ResponseWriter, r *http.Request, status int, name string, f frame) {
	var b bytes.Buffer
	if err := c.pages[name].ExecuteTemplate(&b, "layout", f); err != nil {
		c.log.Error("page", "template", name, "err", err)
		http.Error(w, "The page could not be made.", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Vary", "Accept-Encoding")
	if !takesGzip(r) {
		w.WriteHeader(status)
		_, _ = w.Write(b.Bytes()) // the browser is gone if it fails
		return
	}
	h.Set("Content-Encoding", "gzip")
	w.WriteHeader(status)
	z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed) // a level that there is
	_, _ = z.Write(b.Bytes())
	_ = z.Close()
}

func takesGzip(r *http.Request) bool {
	return slices.ContainsFunc(strings.Split(r.Header.Get("Accept-Encoding"), ","), func(s string) bool {
		s, _, _ = strings.Cut(s, ";")
		return strings.TrimSpace(s) == "gzip"
	})
}

func funcs(a *assets) template.FuncMap {
	return template.FuncMap{
		"asset":  a.url,
		"iso":    func(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") },
		"utc":    func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
		"span":   span,
		"money":  money,
		"size":   size,
		"count":  func(n any) string { return thousands(fmt.Sprint(n)) },
		"status": statusClass,
		"words":  func(k resource.Kind) string { return words(string(k)) },
		"page":   pathOf,
		"minus":  func(a, b int) int { return a - b },
		"used":   func(seconds int64) string { return span(time.Duration(seconds) * time.Second) },
	}
}

// words writes a name of the API as people do: TrainingJob, Training job.
func words(s string) string {
	var b strings.Builder
	for i, r := range s {
		if i > 0 && 'A' <= r && r <= 'Z' {
			b.WriteByte(' ')
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}

// statusClass is the colour that a status is shown in.
func statusClass(s string) string {
	switch s {
	case "Completed", "InService", "OK", "Delivered", "EXECUTION_SUCCESS":
		return "good"
	case "Failed", "UpdateRollbackFailed", "ALARM", "EXECUTION_FAILURE", "PENDING":
		return "bad"
	case "InProgress", "Starting", "Downloading", "Training", "Uploading", "Pending", "Creating", "Updating", "SystemUpdating", "RollingBack", "ActivatingTraffic", "Baking", "EXECUTION_IN_PROGRESS":
		return "busy"
	case "Stopping", "Stopped", "Deleting", "OutOfService":
		return "still"
	}
	return "plain"
}

// span writes a duration as people read it.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "0 s"
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min %02d s", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %02d min", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d d %02d h", int(d.Hours())/24, int(d.Hours())%24)
}

// money writes micro-dollars: exactly below a cent, where jobs are, and to the
// cent above ten dollars.
func money(micro int64) string {
	d := float64(micro) / 1e6
	switch {
	case micro == 0:
		return "$0"
	case d < 0.01:
		return fmt.Sprintf("$%.6f", d)
	case d < 10:
		return fmt.Sprintf("$%.4f", d)
	}
	return "$" + thousands(fmt.Sprintf("%.2f", d))
}

// thousands puts commas into a number's whole part.
func thousands(s string) string {
	whole, rest, dot := strings.Cut(s, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if dot {
		return whole + "." + rest
	}
	return whole
}

func count[N int | int64](n N) string { return thousands(fmt.Sprint(n)) }

// size writes bytes in the units that people compare.
func size(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, unit := float64(n), 0
	for f >= 1024 && unit < 4 {
		f /= 1024
		unit++
	}
	return fmt.Sprintf("%.1f %ciB", f, " KMGT"[unit])
}
