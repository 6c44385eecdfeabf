package front

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"os"
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

// find sets the route by what the request looks like: target, path, form,
// scope, and last its REST path. auth is nil when the request has none that
// can be read.
func (q *request) find(auth *sigv4.Auth) error {
	rt := q.f.routes
	if t := q.r.Header.Get("X-Amz-Target"); t != "" {
		prefix, name, _ := strings.Cut(t, ".")
		q.route = route{svc: rt.byTarget[prefix], proto: protoJSON, name: name}
		return q.known()
	}
	if rest, ok := strings.CutPrefix(q.r.URL.Path, "/service/"); ok && q.r.Header.Get("Smithy-Protocol") != "" {
		prefix, name, _ := strings.Cut(rest, "/operation/")
		q.route = route{svc: rt.byTarget[prefix], proto: protoCBOR, name: name}
		return q.known()
	}
	scope := ""
	if auth != nil {
		scope = auth.Service
	}
	if scope != "s3" && q.isForm() {
		q.route = route{proto: protoQuery}
		if s := rt.bySigning[scope]; len(s) > 0 {
			q.route.svc = s[0]
		}
		// the operation's name is in the body, which is read when signed
		return nil
	}
	services := rt.bySigning[scope]
	if len(services) == 0 {
		q.route = route{proto: protoRESTXML, svc: rt.services["s3"]}
		if auth == nil {
			return errNoRoute // the signature's error is told
		}
		q.route = route{proto: protoJSON}
		return apierr.New(http.StatusNotFound, "UnknownOperationException", "The service %q is not served here.", scope)
	}
	return q.findREST(services)
}

func (q *request) isForm() bool {
	if q.r.Method == http.MethodPost {
		t, _, err := mime.ParseMediaType(q.r.Header.Get("Content-Type"))
		return err == nil && t == "application/x-www-form-urlencoded"
	}
	return q.r.Method == http.MethodGet && q.r.URL.Path == "/" && q.r.URL.Query().Has("Action")
}

func (q *request) findREST(services []*service) error {
	raw, _, _ := strings.Cut(q.r.RequestURI, "?")
	if q.place.bucket != "" {
		raw = "/" + q.place.bucket + raw
	}
	in := restRequest{method: q.r.Method, path: raw, query: q.r.URL.Query(), header: q.r.Header.Get}
	for _, s := range services {
		if s.rest == nil {
			continue
		}
		q.route = route{svc: s, proto: s.model.Protocol}
		if o, err := s.rest.match(in); err == nil {
			q.route.op, q.route.name = o, o.Name
			return nil
		}
	}
	if q.route.svc == nil {
		q.route = route{svc: services[0], proto: protoJSON}
		return q.known()
	}
	if q.route.proto == protoRESTXML {
		e := apierr.New(http.StatusMethodNotAllowed, "MethodNotAllowed", "The specified method is not allowed against this resource.")
		e.Fields = map[string]string{"Method": q.r.Method}
		return e
	}
	return q.unknown()
}

// known finds the operation in the service.
func (q *request) known() error {
	if q.route.svc != nil {
		q.route.op = q.route.svc.model.Operations[q.route.name]
	}
	if q.route.op == nil {
		return q.unknown()
	}
	return nil
}

func (q *request) unknown() error {
	if q.route.proto == protoQuery {
		return apierr.New(http.StatusBadRequest, "InvalidAction", "Could not find operation %s for version %s", q.route.name, q.version())
	}
	return apierr.New(http.StatusBadRequest, "UnknownOperationException", "The operation %q is not known.", q.route.name)
}

func (q *request) version() string {
	if q.route.svc == nil {
		return ""
	}
	return q.route.svc.model.APIVersion
}

// authenticate checks the signature, reads the body unless it streams, and
// completes the call.
func (q *request) authenticate() error {
	proto := q.route.proto
	a, err := sigv4.Parse(q.r)
	if err != nil {
		return q.f.signatureError(proto, err)
	}
	if err := q.f.scopeFits(q.route, a); err != nil {
		return err
	}
	now := q.f.cfg.Now()
	if err := a.CheckTime(now); err != nil {
		return q.f.signatureError(proto, err)
	}
	secret, who, err := q.f.cfg.Keys.Secret(q.r.Context(), a.AccessKeyID, a.SessionToken)
	if err != nil {
		return q.f.keyError(proto, a, err)
	}
	if proto == protoRESTXML {
		err = q.verifyS3(a, secret, now)
	} else {
		err = q.verifyWhole(a, secret, now)
	}
	if err != nil {
		return q.f.signatureError(proto, err)
	}
	q.call.Principal = who
	q.call.Account = who.Account
	q.call.Region = a.Region
	if a.Region == "" || !strings.ContainsAny(a.Region, "0123456789") {
		q.call.Region = q.f.cfg.Region // a pseudo-region like aws-global, or none
	}
	if q.route.svc != nil {
		q.call.Service, q.call.Operation = q.route.svc.name, q.route.name
	} else {
		q.call.Service, q.call.Operation = "clary", q.route.name
	}
	return nil
}

// verifyWhole reads a bounded body and checks it with the signature.
func (q *request) verifyWhole(a *sigv4.Auth, secret string, now time.Time) error {
	if err := q.readBody(q.r.Body, q.r.ContentLength); err != nil {
		return err
	}
	sum := sha256.Sum256(q.body)
	if _, err := a.Verify(q.r, secret, hex.EncodeToString(sum[:]), now); err != nil {
		return err
	}
	return q.inflate()
}

// verifyS3 checks the signature before the body is read. The body is then what
// the signature says: its errors come when it is read.
func (q *request) verifyS3(a *sigv4.Auth, secret string, now time.Time) error {
	payload, ok := a.SignedPayload()
	if !ok {
		return apierr.New(http.StatusBadRequest, "InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
	}
	v, err := a.Verify(q.r, secret, payload, now)
	if err != nil {
		return err
	}
	body, length, err := v.Body(q.r)
	if err != nil {
		return err
	}
	if length > maxObject {
		return tooLarge(length)
	}
	if q.r.Method == http.MethodPut && length == 0 && q.r.Header.Get("Content-Length") == "" && len(q.r.TransferEncoding) == 0 {
		return apierr.New(http.StatusLengthRequired, "MissingContentLength", "You must provide the Content-Length HTTP header.")
	}
	q.r.ContentLength = length
	dropChunkedCoding(q.r.Header)
	if q.streams() {
		q.r.Body = &Stream{Body: body, under: q.r.Body, left: maxObject}
		q.r.Trailer = body.Trailer()
		return nil
	}
	q.r.Trailer = body.Trailer()
	return q.readBody(body, length)
}

// Stream is the body that a handler of a streaming operation reads. Its
// Trailer is complete after io.EOF.
type Stream struct {
	*sigv4.Body
	under io.Closer
	left  int64
}

// Read refuses what is longer than one PUT may be.
func (s *Stream) Read(p []byte) (int, error) {
	n, err := s.Body.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = errStalled
	}
	if s.left -= int64(n); s.left < 0 {
		return n, tooLarge(maxObject - s.left)
	}
	return n, err
}

// Close closes the request's own body.
func (s *Stream) Close() error { return s.under.Close() }

func tooLarge(n int64) error {
	e := apierr.New(http.StatusBadRequest, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
	e.Fields = map[string]string{"ProposedSize": fmt.Sprint(n), "MaxSizeAllowed": fmt.Sprint(int64(maxObject))}
	return e
}

// dropChunkedCoding leaves the object's own encodings.
func dropChunkedCoding(h http.Header) {
	v := h.Get("Content-Encoding")
	if !strings.Contains(strings.ToLower(v), "aws-chunked") {
		return
	}
	var keep []string
	for c := range strings.SplitSeq(v, ",") {
		if c = strings.TrimSpace(c); !strings.EqualFold(c, "aws-chunked") && c != "" {
			keep = append(keep, c)
		}
	}
	if len(keep) == 0 {
		h.Del("Content-Encoding")
		return
	}
	h.Set("Content-Encoding", strings.Join(keep, ","))
}

func (q *request) streams() bool {
	o := q.route.op
	return o != nil && o.Input != nil && o.Input.Payload != nil && o.Input.Payload.Streaming
}

// readBody reads at most maxBody bytes, within the budget of all bodies.
func (q *request) readBody(r io.Reader, length int64) error {
	if length > maxBody {
		return errTooBig
	}
	need := length
	if need < 0 {
		need = maxBody
	}
	if err := q.f.bodies.Acquire(q.r.Context(), need); err != nil {
		return err
	}
	q.held += need
	var buf bytes.Buffer
	if length > 0 {
		buf.Grow(int(length) + bytes.MinRead)
	}
	n, err := buf.ReadFrom(io.LimitReader(r, maxBody+1))
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errStalled
	case err != nil:
		if _, ok := errors.AsType[*apierr.Error](err); ok {
			return err
		}
		return apierr.New(http.StatusBadRequest, "SerializationException", "The request's body could not be read.")
	case n > maxBody:
		return errTooBig
	}
	q.body = buf.Bytes()
	return nil
}

var errStalled = apierr.New(http.StatusBadRequest, "RequestTimeout", "Your socket connection to the server was not read from or written to within the timeout period. Idle connections will be closed.")

var errTooBig = apierr.New(http.StatusRequestEntityTooLarge, "RequestEntityTooLargeException", "Request size exceeded %d bytes.", maxBody)

// inflate undoes the compression that newer clients apply to large requests.
func (q *request) inflate() error {
	if !strings.EqualFold(q.r.Header.Get("Content-Encoding"), "gzip") {
		return nil
	}
	z, err := gzip.NewReader(bytes.NewReader(q.body))
	if err != nil {
		return apierr.New(http.StatusBadRequest, "SerializationException", "The body is not gzip.")
	}
	q.r.Header.Del("Content-Encoding")
	return q.readBody(notOurs{z}, -1)
}

// notOurs hides a decompressor's errors behind the reader's.
type notOurs struct{ io.Reader }

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
