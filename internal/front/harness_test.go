package front

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	api "clary/internal/api/s3"
	sm "clary/internal/api/sagemaker"
	stsapi "clary/internal/api/sts"
	"clary/internal/aws/apierr"
	"clary/internal/aws/codec"
	"clary/internal/aws/codec/awsjson"
	"clary/internal/aws/codec/query"
	"clary/internal/aws/codec/restxml"
	"clary/internal/aws/op"
	"clary/internal/aws/sigv4"
	"clary/internal/compute/sandbox/relay"
	"clary/internal/resource"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	account = "123456789012"
	goodKey = "AKIDGOODGOODGOODGOOD"
	secret  = "verysecret"
	token   = "proxytoken"
)

type keys struct{}

func (keys) Secret(_ context.Context, id, session string) (string, resource.Principal, error) {
	switch {
	case id == goodKey && session == "":
		return secret, resource.Principal{Account: account, Arn: "arn:aws:iam::" + account + ":root", AccessKeyID: id, Root: true}, nil
	case id == "ASIAEXPIRED":
		return "", resource.Principal{}, apierr.New(403, "ExpiredToken", "expired")
	case id == "ASIABROKEN":
		return "", resource.Principal{}, errors.New("disk on fire")
	}
	return "", resource.Principal{}, apierr.New(403, "InvalidClientTokenId", "unknown")
}

// policy records what it was asked and denies one job.
type policy struct {
	mu    sync.Mutex
	asked []string
}

func (p *policy) Allow(_ context.Context, _ resource.Principal, action, res string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, action+" "+res)
	if strings.HasSuffix(res, "/denied") {
		return apierr.AccessDenied("User is not authorized to perform: %s", action)
	}
	return nil
}

func (*policy) PassRole(context.Context, resource.Principal, string, string) error { return nil }

func (p *policy) last() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.asked) == 0 {
		return ""
	}
	return p.asked[len(p.asked)-1]
}

type fakeService struct {
	name string
	ops  map[string]op.Handler
}

func (s fakeService) Name() string                      { return s.name }
func (s fakeService) Operations() map[string]op.Handler { return s.ops }

// world is a front with its listeners.
type world struct {
	t      *testing.T
	f      *Front
	addr   string
	task   string
	ca     *CA
	policy *policy
	log    *lockedBuffer
	now    func() time.Time

	mu    sync.Mutex
	calls []op.Call
	put   []byte // last object put
	trail http.Header
	block chan struct{} // GetCallerIdentity waits for it when set
	ended chan error    // context of a blocked call
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (w *world) saw(c op.Call) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, c)
}

func (w *world) lastCall() op.Call {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.calls) == 0 {
		return op.Call{}
	}
	return w.calls[len(w.calls)-1]
}

func (w *world) services() []op.Service {
	return []op.Service{
		fakeService{"sagemaker", map[string]op.Handler{
			"DescribeTrainingJob": op.On(op.Op(func(_ context.Context, c op.Call, in *sm.DescribeTrainingJobRequest) (*sm.DescribeTrainingJobResponse, error) {
				w.saw(c)
				switch in.TrainingJobName {
				case "panics":
					panic("handler")
				case "breaks":
					return nil, errors.New("secret detail")
				case "missing":
					return nil, apierr.Validation("Requested resource not found.")
				}
				return &sm.DescribeTrainingJobResponse{TrainingJobName: in.TrainingJobName}, nil
			}), func(_ op.Call, in *sm.DescribeTrainingJobRequest) string { return "job/" + in.TrainingJobName }),
		}},
		fakeService{"sts", map[string]op.Handler{
			"GetCallerIdentity": op.Op(func(ctx context.Context, c op.Call, _ *stsapi.GetCallerIdentityRequest) (*stsapi.GetCallerIdentityResponse, error) {
				w.saw(c)
				if w.block != nil {
					w.block <- struct{}{}
					<-ctx.Done()
					w.ended <- ctx.Err()
				}
				return &stsapi.GetCallerIdentityResponse{Account: c.Account, Arn: c.Principal.Arn}, nil
			}),
		}},
		fakeService{"s3", map[string]op.Handler{
			"PutObject": op.Op(func(_ context.Context, c op.Call, in *api.PutObjectRequest) (*api.PutObjectOutput, error) {
				w.saw(c)
				data, err := io.ReadAll(in.Body)
				if err != nil {
					return nil, err
				}
				w.mu.Lock()
				defer w.mu.Unlock()
				w.put = data
				if t, ok := in.Body.(interface{ Trailer() http.Header }); ok {
					w.trail = t.Trailer().Clone()
				}
				return &api.PutObjectOutput{ETag: `"` + in.Bucket + "/" + in.Key + `"`}, nil
			}),
			"ListBuckets": op.Op(func(_ context.Context, c op.Call, _ *api.ListBucketsRequest) (*api.ListBucketsOutput, error) {
				w.saw(c)
				return &api.ListBucketsOutput{}, nil
			}),
		}},
	}
}

func newWorld(t *testing.T, edit ...func(*Config)) *world {
	t.Helper()
	w := &world{t: t, policy: &policy{}, log: &lockedBuffer{}, now: time.Now}
	var err error
	if w.ca, err = LoadCA(filepath.Join(t.TempDir(), "keys")); err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Services: w.services(),
		Codecs:   map[string]codec.Codec{"json": awsjson.New("1.1"), "json-1.0": awsjson.New("1.0"), "query": query.New(), "rest-xml": restxml.New()},
		Keys:     keys{}, Auth: w.policy, CA: w.ca, Token: token, BucketSuffixes: []string{"s3.example.test"}, Hosts: []string{"clary.example.test"},
		Log:    slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Tunnel: relay.NewProxy(relay.Proxy{Guard: &relay.Guard{Own: relay.OwnAddresses}}).DialTunnel,
		Private: map[string]Private{"/_clary/usage": func(rw http.ResponseWriter, _ *http.Request, c op.Call) {
			_, _ = io.WriteString(rw, c.Principal.Arn)
		}},
	}
	for _, e := range edit {
		e(&cfg)
	}
	if w.f, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.addr = l.Addr().String()
	w.task = filepath.Join(t.TempDir(), "s")
	tl, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", w.task)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { _ = w.f.Serve(l) })
	wg.Go(func() { _ = w.f.ServeTask(tl) })
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := w.f.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		wg.Wait()
	})
	return w
}

// shot is one request of a test.
type shot struct {
	method, path, body string
	headers            map[string]string
	service            string // signing name; "" is unsigned
	key, secret, token string // of the signature; "" are the good ones
	at                 time.Time
	payload            string // for S3 in place of the hash
	host               string
	task               bool
	after              func(*http.Request) // alters what was signed
}

func (w *world) request(s shot) *http.Request {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), s.method, "http://"+w.addr+s.path, strings.NewReader(s.body))
	if err != nil {
		w.t.Fatal(err)
	}
	if s.host != "" {
		r.Host = s.host
	}
	for k, v := range s.headers {
		r.Header.Set(k, v)
	}
	if s.service != "" {
		at := s.at
		if at.IsZero() {
			at = w.now()
		}
		payload := s.payload
		if payload == "" {
			sum := sha256.Sum256([]byte(s.body))
			payload = hex.EncodeToString(sum[:])
		}
		cr := sigv4.Credentials{AccessKeyID: or(s.key, goodKey), SecretAccessKey: or(s.secret, secret), SessionToken: s.token}
		sigv4.Sign(r, cr, "eu-west-1", s.service, payload, at)
	}
	if s.after != nil {
		s.after(r)
	}
	return r
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

type reply struct {
	status int
	header http.Header
	body   string
}

func (w *world) do(s shot) reply {
	w.t.Helper()
	return w.send(w.request(s), s.task)
}

func (w *world) send(r *http.Request, task bool) reply {
	w.t.Helper()
	tr := &http.Transport{DisableKeepAlives: true, DisableCompression: true}
	if task {
		tr.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", w.task)
		}
	}
	defer tr.CloseIdleConnections()
	resp, err := tr.RoundTrip(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return reply{resp.StatusCode, resp.Header, string(b)}
}

// describe is the usual good request.
func describe(name string) shot {
	return shot{
		method: "POST", path: "/", body: `{"TrainingJobName":"` + name + `"}`, service: "sagemaker",
		headers: map[string]string{"X-Amz-Target": "SageMaker.DescribeTrainingJob", "Content-Type": "application/x-amz-json-1.1"},
	}
}

func whoami() shot {
	return shot{
		method: "POST", path: "/", body: "Action=GetCallerIdentity&Version=2011-06-15", service: "sts",
		headers: map[string]string{"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"},
	}
}

func put(body string) shot {
	return shot{method: "PUT", path: "/bucket/a%20key", body: body, service: "s3"}
}

// raw sends bytes as they are and gives back all that comes until the end.
func (w *world) raw(text string) string {
	w.t.Helper()
	c, err := (&net.Dialer{}).DialContext(w.t.Context(), "tcp", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		w.t.Fatal(err)
	}
	if _, err := io.WriteString(c, text); err != nil {
		w.t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if err != nil && len(b) == 0 {
		return "closed"
	}
	return string(b)
}

// connect opens a tunnel and gives back the connection and the answer's status.
func (w *world) connect(target, auth string) (net.Conn, int) {
	w.t.Helper()
	c, err := (&net.Dialer{}).DialContext(w.t.Context(), "tcp", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		w.t.Fatal(err)
	}
	h := ""
	if auth != "" {
		h = "Proxy-Authorization: Basic " + auth + "\r\n"
	}
	_, _ = fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", target, target, h)
	br := bufio.NewReader(c)
	resp, err := http.ReadResponse(br, &http.Request{Method: http.MethodConnect})
	if err != nil {
		w.t.Fatal(err)
	}
	_ = resp.Body.Close()
	return c, resp.StatusCode
}

func (w *world) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AppendCertsFromPEM(w.ca.PEM())
	return p
}

func (w *world) tlsConfig(name string) *tls.Config {
	return &tls.Config{RootCAs: w.pool(), ServerName: name}
}
