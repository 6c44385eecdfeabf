package front

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"clary/internal/aws/apierr"
	"clary/internal/aws/codec"
	"clary/internal/aws/op"
	"clary/internal/aws/sigv4"
)

// handler answers the requests of one listener.
type handler struct {
	f    *Front
	feed *feed
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := connOf(r)
	if c == nil {
		http.Error(w, "no connection", http.StatusInternalServerError)
		return
	}
	if r.Header.Get("Upgrade") != "" {
		// nothing here upgrades; what follows was not looked at
		w.Header().Set("Connection", "close")
	}
	if r.Method == http.MethodConnect {
		h.connect(w, r, c)
		return
	}
	if !strings.HasPrefix(r.RequestURI, "/") {
		refuse(w, http.StatusBadRequest, "This is not a proxy for plain HTTP: the request must name a path alone.")
		return
	}
	p, ok := h.f.hosts.place(r.Host, c)
	if !ok {
		refuse(w, http.StatusMisdirectedRequest, "This server does not answer to that name.")
		return
	}
	// A copy: net/http goes on by its own request's length and body, and takes
	// the rest of a refused body off the connection before it answers.
	q := &request{f: h.f, w: &answer{ResponseWriter: w}, r: r.WithContext(r.Context()), conn: c, place: p, start: h.f.cfg.Now()}
	q.serve()
}

// refuse answers what never became a call, and ends the connection.
func refuse(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Connection", "close")
	http.Error(w, text, status)
}

// answer knows whether something was written.
type answer struct {
	http.ResponseWriter
	status int
}

func (a *answer) WriteHeader(code int) {
	if a.status == 0 && code >= 200 {
		a.status = code
	}
	a.ResponseWriter.WriteHeader(code)
}

func (a *answer) Write(b []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	return a.ResponseWriter.Write(b)
}

func (a *answer) ReadFrom(r io.Reader) (int64, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	if rf, ok := a.ResponseWriter.(io.ReaderFrom); ok {
		return rf.ReadFrom(r)
	}
	return io.Copy(onlyWriter{a.ResponseWriter}, r)
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// request is one request on its way.
type request struct {
	f     *Front
	w     *answer
	r     *http.Request
	conn  *conn
	place place
	start time.Time

	route route
	call  op.Call
	body  []byte
	held  int64 // of the bodies' budget
}

func (q *request) serve() {
	q.call = op.Call{
		UserAgent: q.r.UserAgent(), Host: q.conn.scheme + "://" + q.r.Host, FromTask: q.conn.from == fromTask,
		Received: q.start,
	}
	q.call.RequestID = newRequestID()
	var err error
	defer func() {
		if q.held > 0 {
			q.f.bodies.Release(q.held)
		}
		if v := recover(); v != nil {
			if e, ok := v.(error); ok && errors.Is(e, http.ErrAbortHandler) {
				panic(v)
			}
			err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
			q.fail(apierr.From(err))
		}
		q.log(q.r.Context(), err)
	}()
	if err = q.handle(); err != nil {
		q.fail(q.f.worded(q.route, apierr.From(err)))
	}
}

func (q *request) handle() error {
	if p, ok := q.f.cfg.Private[q.r.URL.Path]; ok {
		q.route = route{proto: protoJSON, name: q.r.URL.Path}
		if err := q.authenticate(); err != nil {
			return err
		}
		q.r.Body = io.NopCloser(bytes.NewReader(q.body))
		p(q.w, q.r, q.call)
		return nil
	}
	auth, autherr := sigv4.Parse(q.r)
	if err := q.find(auth); err != nil {
		if autherr != nil {
			return q.f.signatureError(q.route.proto, autherr)
		}
		return err
	}
	if err := q.authenticate(); err != nil {
		return err
	}
	return q.dispatch()
}

// dispatch decodes, validates, authorises, serves and encodes.
func (q *request) dispatch() error {
	if q.route.proto == protoQuery {
		if err := q.findAction(); err != nil {
			return err
		}
	}
	cd := q.codec()
	if cd == nil {
		return apierr.New(http.StatusNotFound, "UnknownOperationException", "The protocol %s is not spoken here.", q.route.proto)
	}
	q.pathStyle()
	h := q.route.svc.handlers[q.route.name]
	var in any
	if h.Serve != nil {
		in = reflect.New(h.In).Interface()
	}
	body := q.body
	if !q.streams() && body == nil {
		body = []byte{}
	}
	if err := cd.Decode(q.route.op, q.r, body, in); err != nil {
		return err
	}
	resource := "*"
	if h.Resource != nil {
		resource = h.Resource(q.call, in)
	}
	if action := q.route.action(h); action != op.Free {
		if err := q.f.cfg.Auth.Allow(q.r.Context(), q.call.Principal, action, resource); err != nil {
			return err
		}
	}
	if h.Serve == nil {
		return apierr.Unsupported(q.route.svc.name, q.route.name)
	}
	out, err := h.Serve(q.r.Context(), q.call, in)
	if err != nil {
		return err
	}
	if err := cd.Encode(q.w, q.r, q.route.op, out, q.call.RequestID); err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	return nil
}

func (q *request) codec() codec.Codec {
	return q.f.routes.codec(q.route.proto, q.r.Header.Get("Content-Type"))
}

// findAction reads the operation's name from the form.
func (q *request) findAction() error {
	raw := string(q.body)
	if q.r.Method == http.MethodGet {
		raw = q.r.URL.RawQuery
		q.body = []byte(raw)
	}
	v, err := url.ParseQuery(raw)
	if err != nil {
		return apierr.New(http.StatusBadRequest, "MalformedQueryString", "The query string contains a syntax error.")
	}
	if len(v["Action"]) != 1 {
		return apierr.New(http.StatusBadRequest, "MissingAction", "The request is missing an action or a required parameter.")
	}
	q.route.name = v.Get("Action")
	q.call.Operation = q.route.name
	if q.route.svc != nil && v.Has("Version") && v.Get("Version") != q.route.svc.model.APIVersion {
		return apierr.New(http.StatusBadRequest, "InvalidAction", "Could not find operation %s for version %s", q.route.name, v.Get("Version"))
	}
	return q.known()
}

// pathStyle moves a bucket from the host's name into the path, after the
// signature was checked over what was sent.
func (q *request) pathStyle() {
	if q.place.bucket == "" || q.route.proto != protoRESTXML {
		return
	}
	u := *q.r.URL
	raw := u.EscapedPath()
	u.Path = "/" + q.place.bucket + u.Path
	u.RawPath = "/" + q.place.bucket + raw
	q.r.URL = &u
}

// fail answers with e, unless an answer has begun: then the connection is cut,
// so that half an answer is not taken for a whole one.
func (q *request) fail(e *apierr.Error) {
	if q.w.status != 0 {
		panic(http.ErrAbortHandler)
	}
	cd := q.codec()
	if cd == nil {
		q.w.Header().Set("Content-Type", "application/json")
		q.w.Header().Set("X-Amzn-Requestid", q.call.RequestID)
		q.w.WriteHeader(e.Status)
		b, _ := json.Marshal(map[string]string{"__type": e.Code, "message": e.Message}) // strings always marshal
		_, _ = q.w.Write(b)                                                             // the client is gone if it fails
		return
	}
	cd.EncodeError(q.w, q.r, q.route.op, e, q.call.RequestID)
}

// log writes one line. URLs are not in it: their queries may hold signatures.
func (q *request) log(ctx context.Context, err error) {
	status := q.w.status
	level := slog.LevelDebug
	attrs := []slog.Attr{
		slog.String("service", q.call.Service), slog.String("op", q.call.Operation), slog.Int("status", status),
		slog.Duration("took", q.f.cfg.Now().Sub(q.start)), slog.String("request", q.call.RequestID),
	}
	if q.call.Operation == "" {
		attrs = append(attrs, slog.String("method", q.r.Method))
	}
	if err != nil {
		if e, ok := errors.AsType[*apierr.Error](err); ok {
			attrs = append(attrs, slog.String("code", e.Code))
		}
		if status >= http.StatusInternalServerError && !errors.Is(err, context.Canceled) {
			level = slog.LevelWarn
			attrs = append(attrs, slog.Any("err", err))
		}
	}
	q.f.log.LogAttrs(ctx, level, "request", attrs...)
}

func newRequestID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	s := hex.EncodeToString(b[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// worded gives an error the code and status that the route's protocol uses.
func (f *Front) worded(rt route, e *apierr.Error) *apierr.Error {
	if e.Code != "AccessDeniedException" || !slices.Contains([]string{protoQuery, protoRESTXML}, rt.proto) {
		return e
	}
	c := *e
	c.Code, c.Status = "AccessDenied", http.StatusForbidden
	return &c
}
