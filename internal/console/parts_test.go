package console

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"clary/internal/aws/facts"
)

// Every section has code for each client, filled in, and says why it is empty
// in two sentences.
func TestSections(t *testing.T) {
	t.Parallel()
	for _, s := range sections {
		m, err := facts.Load(cmp.Or(s.service, "sagemaker"))
		if err != nil {
			t.Fatal(err)
		}
		for _, region := range []string{"us-east-1", "eu-central-1", "xx-other-9"} {
			code, err := s.snippets(about{Account: "123456789012", Region: region, Role: "ROLE", Bucket: "BUCKET", SklearnImage: sklearnImage(region), Model: "MODEL", Config: "CONFIG", Endpoint: "ENDPOINT"})
			if err != nil {
				t.Fatal(err)
			}
			if len(code) != 4 {
				t.Errorf("%s: %d snippets", s.Path, len(code))
			}
			for _, c := range code {
				if strings.Contains(c.Code, "{{") || strings.Contains(c.Code, "<no value>") || len(c.Code) < 40 {
					t.Errorf("%s %s: %s", s.Path, c.ID, c.Code)
				}
			}
		}
		if n := strings.Count(s.Why, ". ") + strings.Count(s.Why, "; "); n < 1 || n > 2 || !strings.HasSuffix(s.Why, ".") {
			t.Errorf("%s: %q is not two sentences", s.Path, s.Why)
		}
		if s.Creates != "" && m.Operations[s.Creates] == nil {
			t.Errorf("%s: no operation %s", s.Path, s.Creates)
		}
	}
}

func TestPythonLiteral(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`{"a": true, "b": [false, null], "c": "true"}`: `{"a": True, "b": [False, None], "c": "true"}`,
		`{"x": 1.5, "t": "it's \"null\""}`:             `{"x": 1.5, "t": "it's \"null\""}`,
		`{}`:                                           `{}`,
	} {
		got, err := pythonOf([]byte(in))
		if err != nil || got != want {
			t.Errorf("%s: %s %v", in, got, err)
		}
	}
	if _, err := pythonOf([]byte(`{"a": tru`)); err == nil {
		t.Error("broken JSON passes")
	}
}

func TestTicks(t *testing.T) {
	t.Parallel()
	for _, c := range [][2]float64{{0, 1}, {0.1, 0.9}, {0, 0}, {5, 5}, {-3, 7}, {0, 0.005751}, {1e-9, 2e-9}, {1e6, 9e6}, {-0.2, -0.1}} {
		lo, hi, n := ticks(c[0], c[1])
		step := (hi - lo) / float64(n-1)
		mantissa := step / math.Pow(10, math.Floor(math.Log10(step)))
		round := false
		for _, m := range []float64{1, 2, 2.5, 5, 10} {
			round = round || math.Abs(mantissa-m) < 1e-6
		}
		if lo > c[0] || hi < c[1] || n < 2 || n > 7 || !round {
			t.Errorf("%v: %v to %v in %d, step %v", c, lo, hi, n, step)
		}
	}
}

// Whatever a job prints as a metric is drawn, within bounds that are numbers.
func TestTicksOfAnything(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(5, 5))
	odd := []float64{0, math.MaxFloat64, -math.MaxFloat64, 1e308, -1e308, math.SmallestNonzeroFloat64, -math.SmallestNonzeroFloat64, 1e-310, math.Inf(1), math.Inf(-1), math.NaN(), 1, 1 + 1e-16, 1 - 1e-15}
	one := func() float64 {
		if rng.IntN(3) == 0 {
			return odd[rng.IntN(len(odd))]
		}
		return math.Float64frombits(rng.Uint64())
	}
	for range 100_000 {
		v := drawable([]float64{one(), one()})
		a, b := min(v[0], v[1]), max(v[0], v[1])
		lo, hi, n := ticks(a, b)
		slack := (hi - lo) * 1e-9 // no pixel
		if !(lo <= a+slack && b-slack <= hi && lo < hi && hi-lo <= math.MaxFloat64) || n < 2 || n > 7 {
			t.Fatalf("%v to %v: %v to %v in %d", a, b, lo, hi, n)
		}
	}
	l := line{Title: "t", Unit: "u", X: "x", Values: odd}
	for i := range odd {
		l.Labels = append(l.Labels, fmt.Sprint(i))
	}
	for _, values := range [][]float64{odd, {1e308, -1e308}, {5e-324, 1e-323}, {math.NaN()}} {
		l.Values = values
		c, err := l.draw()
		if err != nil {
			t.Fatal(err)
		}
		if svg := string(c.SVG); strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") {
			t.Errorf("%v: %.300s", values, svg)
		}
		if len(c.Rows) != len(values) || c.Rows[0].Value != number(values[0]) {
			t.Errorf("%v: %+v", values, c.Rows)
		}
	}
}

func TestChart(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2, 40, 5000} {
		l := line{Title: `<loss> & "more" $0 ${1}`, Unit: "u", X: "x"}
		for i := range n {
			l.Labels, l.Values = append(l.Labels, fmt.Sprint(i)), append(l.Values, math.Sin(float64(i)))
		}
		for name, draw := range map[string]func() (*chart, error){"line": l.draw, "bars": l.bars} {
			c, err := draw()
			if err != nil {
				t.Fatal(name, n, err)
			}
			svg := string(c.SVG)
			if strings.Contains(svg, "style=") || strings.Contains(svg, "rgb(1,2") || strings.Contains(svg, "<loss>") || strings.Count(svg, "<svg") != 1 || !strings.HasPrefix(svg, `<svg class="chart"`) {
				t.Errorf("%s of %d: %.400s", name, n, svg)
			}
			if name == "line" && len(svg) > 40000 {
				t.Errorf("%s of %d: %d bytes", name, n, len(svg))
			}
		}
	}
}

func TestWords(t *testing.T) {
	t.Parallel()
	for got, want := range map[string]string{
		span(1500 * time.Millisecond): "1.5 s", span(75 * time.Second): "1 min 15 s", span(26 * time.Hour): "26 h 00 min", span(50 * time.Hour): "2 d 02 h", span(-1): "0 s",
		money(0): "$0", money(1917): "$0.001917", money(1_234_567): "$1.2346", money(1_234_567_890): "$1,234.57",
		size(512): "512 B", size(1536): "1.5 KiB", size(5 << 30): "5.0 GiB",
		number(0.1234567): "0.1235", number(0): "0", number(1234567): "1234567", number(0.00001): "1.00e-05", number(2): "2",
		thousands("1234567"): "1,234,567", thousands("12"): "12",
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestPreview(t *testing.T) {
	t.Parallel()
	show := func(name string, size int64, data []byte) *objectBody {
		b := &objectBody{Name: name, Size: size, Cut: size > int64(len(data))}
		b.preview(data, "s3://b/"+name)
		return b
	}
	if b := show("a.csv", 11, []byte("x,y\n1,2\n3,4")); len(b.Table) != 3 || b.Cut {
		t.Errorf("%+v", b)
	}
	if b := show("a.json", 8, []byte(`{"a":[1]}`)); !strings.Contains(b.Text, "\n  \"a\"") {
		t.Errorf("%+v", b)
	}
	if b := show("a.txt", 100, []byte("caf\xc3")); b.Text != "caf" || !b.Cut { // cut within a character
		t.Errorf("%+v", b)
	}
	if b := show("a.bin", 4, []byte{0, 1, 2, 3}); b.Text != "" || b.Note == "" {
		t.Errorf("%+v", b)
	}
	if b := show("a.html", 30, []byte("<script>alert(1)</script>")); b.Text == "" || b.Picture != "" {
		t.Errorf("%+v", b)
	}
	if b := show("a.png", 20, []byte("\x89PNG\x0d\x0a\x1a\x0a")); b.Picture == "" {
		t.Errorf("%+v", b)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	w := tar.NewWriter(z)
	for i := range archiveEntries + 5 {
		if err := w.WriteHeader(&tar.Header{Name: fmt.Sprintf("f%d", i), Size: 1, Mode: 0o600}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	var b objectBody
	if b.entries(t.Context(), &packed); len(b.Entries) != archiveEntries || !b.Cut {
		t.Errorf("%d entries, cut %v", len(b.Entries), b.Cut)
	}
	b = objectBody{}
	if b.entries(t.Context(), strings.NewReader("no archive")); b.Note == "" {
		t.Error("no archive passes for one")
	}
}

// A look at an archive costs no more than its bound, and ends when its reader
// goes on.
func TestArchiveIsBounded(t *testing.T) {
	t.Parallel()
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	w := tar.NewWriter(z)
	zeros := make([]byte, 1<<20)
	for i := range 40 { // of 4 MiB, which pack to nothing
		if err := w.WriteHeader(&tar.Header{Name: fmt.Sprintf("f%d", i), Size: 4 << 20, Mode: 0o600}); err != nil {
			t.Fatal(err)
		}
		for range 4 {
			if _, err := w.Write(zeros); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	var b objectBody
	if b.entries(t.Context(), bytes.NewReader(packed.Bytes())); len(b.Entries) != unpackedBytes>>22 || !b.Cut {
		t.Errorf("%d entries, cut %v", len(b.Entries), b.Cut)
	}
	ctx, leave := context.WithCancel(t.Context())
	read := 0
	from := bytes.NewReader(packed.Bytes())
	b = objectBody{}
	b.entries(ctx, readerFunc(func(p []byte) (int, error) {
		n, err := from.Read(p[:min(len(p), 512)])
		if read += n; read > 4096 {
			leave()
		}
		return n, err
	}))
	if !b.Cut || read > 16<<10 || read >= packed.Len() {
		t.Errorf("%d of %d bytes are read after the reader left, %d entries", read, packed.Len(), len(b.Entries))
	}
	leave()
}

// Assets are what they are, on whatever host.
func TestContentTypes(t *testing.T) {
	t.Parallel()
	c, _ := open(t, newWorld())
	for name, want := range map[string]string{"console.js": "text/javascript; charset=utf-8", "console.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml"} {
		at, err := c.assets.url(name)
		if err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		c.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://console.localhost"+at, http.NoBody))
		if w.Code != http.StatusOK || w.Header().Get("Content-Type") != want {
			t.Errorf("%s: %d %v", name, w.Code, w.Header())
		}
	}
}
