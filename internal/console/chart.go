package console

import (
	"fmt"
	"html/template"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/go-analyze/charts"
)

// The library writes colours as numbers into style attributes, which our
// content policy forbids and which fit one theme only. So it is given these,
// and they are replaced by the page's own variables.
const (
	inkAxis = 1 + iota
	inkGrid
	inkText
	inkFirst
	inkSecond
)

func ink(n uint8) charts.Color { return charts.ColorRGB(1, 2, n) }

var (
	inkForm   = regexp.MustCompile(`rgb\(1,2,([0-9]+)\)`)           //nolint:gochecknoglobals // a constant pattern
	inkVeil   = regexp.MustCompile(`rgba\(1,2,([0-9]+),[0-9.]+\)`)  //nolint:gochecknoglobals // a constant pattern
	styleForm = regexp.MustCompile(` style="([^"]*)"`)              //nolint:gochecknoglobals // a constant pattern
	backForm  = regexp.MustCompile(`(?s)<path [^>]*fill:none"/>`)   //nolint:gochecknoglobals // a constant pattern
	openForm  = regexp.MustCompile(`^<svg [^>]*viewBox="([^"]*)">`) //nolint:gochecknoglobals // a constant pattern
)

// chart is a drawn series with the numbers behind it, for who cannot see it.
type chart struct {
	Title, Unit, X string
	SVG            template.HTML
	Rows           []chartRow
	Last           string
	Legend         []string // names of two series
}

// chartRow is a point: Beside is the second series', if there is one.
type chartRow struct{ At, Value, Beside string }

// line is what a line chart shows: Values over Labels, of equal length.
type line struct {
	Title, Unit, X string
	Labels         []string
	Values         []float64
	// Beside is a second series, as long as Values; Names are those of both.
	Beside []float64
	Names  []string
}

// all is every value that is drawn.
func (l line) all() []float64 { return append(slices.Clone(l.Values), l.Beside...) }

const (
	chartWidth  = 560
	chartHeight = 190
	chartPoints = 240 // more than one a pixel or two says nothing
	tableRows   = 60
)

func chartTheme() charts.ColorPalette {
	return charts.MakeTheme(charts.ThemeOption{
		AxisStrokeColor: ink(inkAxis), AxisSplitLineColor: ink(inkGrid), BackgroundColor: charts.ColorTransparent,
		TextColor: ink(inkText), SeriesColors: []charts.Color{ink(inkFirst), ink(inkSecond)},
	})
}

func chartPainter() *charts.Painter {
	return charts.NewPainter(charts.PainterOptions{OutputFormat: charts.ChartOutputSVG, Width: chartWidth, Height: chartHeight})
}

// draw makes the line's chart.
func (l line) draw() (*chart, error) {
	labels, values := thin(l.Labels, drawable(l.Values))
	series := [][]float64{values}
	if len(l.Beside) > 0 {
		_, beside := thin(l.Labels, drawable(l.Beside))
		series = append(series, beside)
	}
	opt := charts.NewLineChartOptionWithData(series)
	opt.Theme, opt.Padding = chartTheme(), charts.NewBox(4, 10, 14, 4)
	opt.Legend.Show = charts.Ptr(false)
	opt.LineStrokeWidth = 1.6
	small := charts.FontStyle{FontSize: 10, FontColor: ink(inkText)}
	opt.XAxis.Labels, opt.XAxis.LabelFontStyle, opt.XAxis.Title, opt.XAxis.TitleFontStyle = labels, small, l.X, small
	opt.XAxis.LabelCount = min(7, len(labels))
	opt.XAxis.BoundaryGap = charts.Ptr(len(labels) == 1)
	bounds := drawable(l.all())
	lo, hi, n := ticks(slices.Min(bounds), slices.Max(bounds))
	opt.YAxis = []charts.YAxisOption{{Min: &lo, Max: &hi, LabelCount: n, LabelFontStyle: small, Title: l.Unit, TitleFontStyle: small}}
	opt.ValueFormatter = number
	p := chartPainter()
	if err := p.LineChart(opt); err != nil {
		return nil, fmt.Errorf("chart %s: %w", l.Title, err)
	}
	return l.finish(p, number)
}

// gapped has no bar, not even a line, where a value is 0.
func gapped(values []float64) []float64 {
	out := make([]float64, len(values))
	for i, v := range values {
		if out[i] = v; v == 0 {
			out[i] = charts.GetNullValue()
		}
	}
	return out
}

// bars draws the line as bars, of money.
func (l line) bars() (*chart, error) {
	series := [][]float64{gapped(l.Values)}
	if len(l.Beside) > 0 {
		series = append(series, gapped(l.Beside))
	}
	opt := charts.NewBarChartOptionWithData(series)
	opt.Theme, opt.Padding = chartTheme(), charts.NewBox(4, 10, 14, 4)
	opt.Legend.Show = charts.Ptr(false)
	small := charts.FontStyle{FontSize: 10, FontColor: ink(inkText)}
	opt.CategoryAxis.Labels, opt.CategoryAxis.LabelFontStyle, opt.CategoryAxis.Title, opt.CategoryAxis.TitleFontStyle = l.Labels, small, l.X, small
	opt.CategoryAxis.LabelCount = min(6, len(l.Labels))
	lo, hi, n := ticks(0, slices.Max(l.all()))
	opt.ValueAxis = []charts.ValueAxisOption{{Min: &lo, Max: &hi, LabelCount: n, LabelFontStyle: small, Title: l.Unit, TitleFontStyle: small}}
	opt.ValueFormatter = func(f float64) string { return strconv.FormatFloat(math.Round(f*1e9)/1e9, 'f', -1, 64) } // a price has no exponent
	p := chartPainter()
	if err := p.BarChart(opt); err != nil {
		return nil, fmt.Errorf("chart %s: %w", l.Title, err)
	}
	c, err := l.finish(p, func(f float64) string { return money(int64(math.Round(f * 1e6))) })
	if err == nil {
		c.Last = "" // the last day is no more than the others
	}
	return c, err
}

func (l line) finish(p *charts.Painter, show func(float64) string) (*chart, error) {
	b, err := p.Bytes()
	if err != nil {
		return nil, fmt.Errorf("chart %s: %w", l.Title, err)
	}
	c := &chart{Title: l.Title, Unit: l.Unit, X: l.X, Legend: l.Names, SVG: template.HTML(inline(string(b), l.Title))} //nolint:gosec // drawn by the library from numbers and labels that it escapes
	from := max(0, len(l.Values)-tableRows)
	for i, v := range l.Values[from:] {
		row := chartRow{At: l.Labels[from+i], Value: show(v)}
		if len(l.Beside) > 0 {
			row.Beside = show(l.Beside[from+i])
		}
		c.Rows = append(c.Rows, row)
	}
	if n := len(l.Values); n > 0 {
		c.Last = show(l.Values[n-1])
	}
	return c, nil
}

// inline turns style attributes into presentation attributes of the page's
// colours, and says what the picture is.
func inline(svg, title string) string {
	svg = backForm.ReplaceAllStringFunc(svg, func(s string) string {
		if strings.Contains(s, "stroke:none") {
			return "" // the background
		}
		return s
	})
	svg = styleForm.ReplaceAllStringFunc(svg, func(s string) string {
		var b strings.Builder
		for d := range strings.SplitSeq(styleForm.FindStringSubmatch(s)[1], ";") {
			name, value, ok := strings.Cut(d, ":")
			if !ok || name == "font-family" {
				continue
			}
			value = inkForm.ReplaceAllString(value, "var(--ink-$1)")
			value = inkVeil.ReplaceAllString(value, "var(--ink-$1)")
			fmt.Fprintf(&b, ` %s="%s"`, name, template.HTMLEscapeString(value))
		}
		return b.String()
	})
	label := strings.ReplaceAll(template.HTMLEscapeString(title), "$", "$$") // a metric may be named so
	return openForm.ReplaceAllString(svg, `<svg class="chart" viewBox="$1" role="img" aria-label="`+label+`">`)
}

// drawLimit is how far a chart reaches: beyond, and as near to nothing, the
// difference of two values is no number.
const drawLimit = 1e300

// drawable has every value within a chart's reach.
func drawable(values []float64) []float64 {
	out := make([]float64, len(values))
	for i, v := range values {
		if out[i] = min(max(v, -drawLimit), drawLimit); math.IsNaN(v) || math.Abs(v) < 1/drawLimit {
			out[i] = 0
		}
	}
	return out
}

// ticks are round bounds around [lo, hi], which are within a chart's reach, and
// how many labels fall on round values between them.
func ticks(lo, hi float64) (from, to float64, n int) {
	if hi-lo <= max(math.Abs(lo), math.Abs(hi))*1e-12 { // digits that are not there
		pad := math.Abs(hi) / 2
		if pad == 0 {
			pad = 1
		}
		if lo -= pad; lo < 0 && hi >= 0 {
			lo = 0
		}
		hi += pad
	}
	raw := (hi - lo) / 4
	unit := math.Pow(10, math.Floor(math.Log10(raw)))
	step := 10 * unit
	for _, m := range []float64{1, 2, 2.5, 5} {
		if m*unit >= raw {
			step = m * unit
			break
		}
	}
	from, to = math.Floor(lo/step)*step, math.Ceil(hi/step)*step
	return from, to, int(math.Round((to-from)/step)) + 1
}

// thin keeps chartPoints of a long series, each the mean of its neighbours.
func thin(labels []string, values []float64) ([]string, []float64) {
	n := len(values)
	if n <= chartPoints {
		return labels, values
	}
	outL, outV := make([]string, 0, chartPoints), make([]float64, 0, chartPoints)
	for i := range chartPoints {
		a, b := i*n/chartPoints, (i+1)*n/chartPoints
		var sum float64
		for _, v := range values[a:b] {
			sum += v
		}
		outL, outV = append(outL, labels[a]), append(outV, sum/float64(b-a))
	}
	return outL, outV
}

// number writes a value with four significant digits.
func number(f float64) string {
	if a := math.Abs(f); a != 0 && (a < 0.001 || a >= 1e7) {
		return strconv.FormatFloat(f, 'e', 2, 64)
	}
	s := strconv.FormatFloat(f, 'f', max(0, 3-int(math.Floor(math.Log10(math.Max(math.Abs(f), 1e-3))))), 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}
