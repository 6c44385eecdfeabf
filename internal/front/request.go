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

	"golang.org/x/sync/semaphore"

	"clary/internal/aws/apierr"
	"clary/internal/aws/codec"
	"clary/internal/aws/facts"
	"clary/internal/aws/op"
	"clary/internal/aws/sigv4"
	"clary/internal/identity"
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
	if !c.begun() {
		panic(http.ErrAbortHandler) // another server has the data; nothing was done
	}
	if c.stays() {
		w.Header().Set("Connection", "close")
	}
	p, known := h.f.hosts.place(r.Host, c)
	if r.Header.Get("Upgrade") != "" && !p.notebook {
		// nothing else here upgrades; what follows was not looked at
		w.Header().Set("Connection", "close")
	}
	if c.from == fromNetwork && c.scheme != "https" {
		refuse(w, http.StatusBadRequest, "This address speaks HTTPS alone: use https:// and this same port. Nothing was done, but what was sent could be read on the way.")
		return
	}
	if r.Method == http.MethodConnect {
		h.connect(w, r, c)
		return
	}
	if !strings.HasPrefix(r.RequestURI, "/") {
		refuse(w, http.StatusBadRequest, "This is not a proxy for plain HTTP: the request must name a path alone.")
		return
	}
	if !known || p.console && h.f.cfg.Console == nil || p.notebook && h.f.cfg.Notebook == nil {
		refuse(w, http.StatusMisdirectedRequest, "This server does not answer to that name.")
		return
	}
	if p.console {
		h.console(w, r, c)
		return
	}
	if p.notebook {
		h.notebook(w, r, c)
		return
	}
	q := &request{f: h.f, w: &answer{ResponseWriter: w}, r: r, conn: c, place: p, start: h.f.cfg.Now()}
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

	route  route
	nobody bool // it was not signed
	call   op.Call
	about  identity.Request
	in     any // the decoded input, once there is one
	body   []byte
	held   int64               // of the budget
	budget *semaphore.Weighted // of bodies of its kind, once it holds some
	lent   *bytes.Buffer
}

func (q *request) serve() {
	q.describe()
	q.call = op.Call{
		UserAgent: q.r.UserAgent(), Host: q.conn.scheme + "://" + q.r.Host, FromTask: q.conn.from == fromTask,
		Received: q.start,
	}
	q.call.RequestID = newRequestID()
	var err error
	defer func() {
		if q.held > 0 {
			q.budget.Release(q.held)
		}
		giveBack(q.lent)
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
		if err := q.authenticate(sigv4.Parse(q.r)); err != nil {
			return err
		}
		q.r.Body = io.NopCloser(bytes.NewReader(q.body))
		q.about.Region = q.call.Region
		p(q.w, q.r, q.call)
		return nil
	}
	if q.r.Method == http.MethodOptions {
		if done, err := q.crossOrigin(); done || err != nil {
			return err
		}
	}
	auth, autherr := sigv4.Parse(q.r)
	if done, err := q.unsigned(autherr); done {
		return err
	}
	if err := q.find(auth); err != nil {
		if autherr != nil {
			return q.f.signatureError(q.route.proto, autherr)
		}
		return err
	}
	if _, err := q.crossOrigin(); err != nil {
		return err
	}
	if err := q.authenticate(auth, autherr); err != nil {
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
	switch {
	case h.Serve != nil:
		in = reflect.New(h.In).Interface()
	case q.route.proto != protoRESTXML:
		in = &map[string]any{} // for the policies' eyes
	}
	body := q.body
	if !q.streams() && body == nil {
		body = []byte{}
	}
	if err := cd.Decode(q.route.op, q.r, body, in); err != nil {
		return err
	}
	if q.route.proto == protoRESTXML {
		if err := q.checkREST(in); err != nil {
			return err
		}
	}
	q.settle(h, in)
	out, err := q.ask(h, in)
	if err != nil {
		return err
	}
	if err := q.encode(cd, out); err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	return nil
}

// encode answers with out, whose encoding may be known from another time.
func (q *request) encode(cd codec.Codec, out any) error {
	if e, ok := out.(op.Events); ok {
		return q.events(cd, e)
	}
	if l, ok := out.(op.Lent); ok {
		defer l.Back(false)
	}
	k, ok := out.(op.Lasting)
	je, able := cd.(codec.JSONEncoder)
	if !ok || !able {
		return cd.Encode(q.w, q.r, q.route.op, op.Plain(out), q.call.RequestID)
	}
	body, err := k.JSON(func(out any) ([]byte, error) { return je.JSON(q.route.op, out) })
	if err == nil {
		je.Send(q.w, body, q.call.RequestID)
	}
	return err
}

// events answers for as long as the session lasts. A client that left ended it
// as it may.
func (q *request) events(cd codec.Codec, e op.Events) error {
	ctx, asked := q.r.Context(), false
	defer func() {
		if asked {
			return
		}
		// whoever began the session ends it, while the request's body is there
		over, cancel := context.WithCancel(ctx)
		cancel()
		_ = e.Each(over, func(any) error { return over.Err() })
	}()
	ee, ok := cd.(codec.EventEncoder)
	if !ok {
		return fmt.Errorf("%s has no events in the protocol %s", q.route.name, q.route.proto)
	}
	err := ee.Events(q.w, q.route.op, e.Head(), func(send func(event any) error) error {
		asked = true
		return e.Each(ctx, send)
	}, q.call.RequestID)
	if ctx.Err() == nil {
		return err
	}
	return nil
}

// ask authorises, records and serves what was decoded.
func (q *request) ask(h op.Handler, in any) (out any, err error) {
	q.in = in
	q.about.Region = q.call.Region
	resources := q.resources(h)
	q.about.Resource = resources[0]
	ctx := q.r.Context()
	if q.f.cfg.Audit != nil {
		var end func(error) error
		ctx, end = q.f.cfg.Audit(ctx, q.call, &q.about, in, q.about.Resource)
		if q.nobody {
			// a change keeps its record; what changes nothing is not for anybody
			// at all to fill the log with
			end = func(error) error { return nil }
		}
		err = errPanicked
		defer func() {
			if e := end(err); err == nil {
				err = e
			}
		}()
	}
	return q.do(ctx, h, resources)
}

// errPanicked is how a call ended that did not return.
var errPanicked = errors.New("the handler panicked")

func (q *request) do(ctx context.Context, h op.Handler, resources []string) (any, error) {
	if !q.nobody {
		if err := q.authorize(h, resources); err != nil {
			return nil, err
		}
	}
	if h.Serve == nil {
		if err := q.passRoles(); err != nil {
			return nil, err
		}
		return nil, apierr.Unsupported(q.route.svc.name, q.route.name)
	}
	return h.Serve(ctx, q.call, q.in)
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
	if err == nil && !q.f.log.Enabled(ctx, level) {
		return
	}
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

// lists says whether an operation's model has the error.
func lists(o *facts.Operation, code string) bool {
	return o != nil && slices.ContainsFunc(o.Errors, func(s *facts.Shape) bool { return s.Name == code })
}

// worded gives an error the code and status that the route's protocol uses.
func (f *Front) worded(rt route, e *apierr.Error) *apierr.Error {
	if e.Code == "ValidationException" && lists(rt.op, "InvalidParameterException") && !lists(rt.op, e.Code) {
		// services that have a code of their own for it, such as Logs
		c := *e
		c.Code = "InvalidParameterException"
		return &c
	}
	if e.Code == "ValidationException" && lists(rt.op, "ValidationError") && !lists(rt.op, e.Code) { // SageMaker's runtime
		c := *e
		c.Code = "ValidationError"
		return &c
	}
	if e.Code == "AccessDeniedException" && rt.proto == protoRESTJSON {
		c := *e
		c.Status = http.StatusForbidden
		return &c
	}
	if e.Code == "AccessDeniedException" && lists(rt.op, "AuthorizationErrorException") { // SNS
		c := *e
		c.Code = "AuthorizationErrorException"
		return &c
	}
	if e.Code != "AccessDeniedException" || !slices.Contains([]string{protoQuery, protoRESTXML}, rt.proto) {
		return e
	}
	c := *e
	c.Code, c.Status = "AccessDenied", http.StatusForbidden
	return &c
}
