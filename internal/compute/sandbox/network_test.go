package sandbox_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"clary/internal/compute"
)

// api is a server on a unix socket, as the task listener is.
func api(t *testing.T) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), strings.Repeat("deep", 30), "task.sock") // longer than an address may be
	l := listenLong(t, socket)
	s := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "api %s %s", r.Method, r.URL.Path) //nolint:errcheck // a test's reply
	})}
	go s.Serve(l) //nolint:errcheck // ends with the test
	t.Cleanup(func() { _ = s.Close() })
	return socket
}

// probe tries what a program may try to reach, one line each.
const probe = `
import http.client, json, os, socket, sys, urllib.request
def attempt(name, f):
    try: print(name, f())
    except Exception as e: print(name, "no:", type(e).__name__, getattr(e, "code", ""))
def get(url, proxy=None):
    h = [urllib.request.ProxyHandler({"http": proxy, "https": proxy} if proxy else {})]
    return urllib.request.build_opener(*h).open(url, timeout=20).read().decode()
def unix(path):
    s = socket.socket(socket.AF_UNIX); s.connect(path); return "connected"
def tunnel(host, port):
    c = http.client.HTTPConnection("127.0.0.1", 3128, timeout=20)
    c.set_tunnel(host, port); c.request("GET", "/tunnelled"); return c.getresponse().read().decode()
P = "http://127.0.0.1:3128"
for n in ("NO_PROXY", "no_proxy"): os.environ.pop(n, None) # the proxy itself must refuse
attempt("api", lambda: get("http://127.0.0.1:2527/x"))
attempt("socket", lambda: unix("/run/clary/api.sock"))
cred = os.environ.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/nothing")
attempt("credentials", lambda: json.loads(get("http://169.254.170.2" + cred))["SecretAccessKey"])
attempt("guess", lambda: get("http://169.254.170.2/v2/credentials/x"))
origin = sys.argv[1]
attempt("direct", lambda: get("http://" + origin + "/direct"))
attempt("proxied", lambda: get("http://" + origin + "/proxied", P))
host, port = origin.split(":")
attempt("tunnel", lambda: tunnel(host, int(port)))
attempt("metadata", lambda: get("http://169.254.169.254/", P))
attempt("name", lambda: get("http://localhost:" + port + "/", P))
attempt("mapped", lambda: tunnel("::ffff:127.0.0.1", int(port)))
attempt("decimal", lambda: get("http://2130706433:" + port + "/", P))
print("interfaces", sorted(n for _, n in socket.if_nameindex() if n in ("lo", "eth0")))
`

func probeTask(id, origin string, n compute.Network) compute.Task {
	return compute.Task{
		ID: compute.TaskID(id), Args: []string{"python3", "-c", probe, origin}, Network: n,
		Identity: compute.Identity{AccessKeyID: "AKID", SecretAccessKey: "hush", SessionToken: "tok", Expiration: time.Now().Add(time.Hour)},
	}
}

func TestNetwork(t *testing.T) {
	t.Parallel()
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "origin "+r.URL.Path) //nolint:errcheck // a test's reply
	}))
	t.Cleanup(origin.Close)
	addr := origin.Listener.Addr().String()
	refused := []string{"direct no: URLError", "metadata no: HTTPError 403", "socket no: ConnectionRefusedError", "interfaces ['eth0', 'lo']"}
	for _, tt := range []struct {
		name  string
		net   compute.Network
		allow []netip.Prefix
		want  []string
	}{
		{
			"egress",
			compute.Network{Host: "algo-1", Egress: true},
			nil,
			append([]string{
				"api api GET /x", "credentials hush", "guess no: HTTPError 404", "proxied no: HTTPError 403", "tunnel no: OSError",
				"name no: HTTPError 403", "mapped no: OSError", "decimal no: HTTPError",
			}, refused...),
		},
		{
			"allowed",
			compute.Network{Egress: true},
			[]netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
			append([]string{"proxied origin /proxied", "tunnel origin /tunnelled"}, refused...),
		},
		{
			"no-egress",
			compute.Network{},
			nil,
			[]string{
				"api api GET /x", "credentials hush", "proxied no: URLError", "tunnel no: ConnectionRefusedError", "metadata no: URLError",
			},
		},
		{
			"isolated",
			compute.Network{Isolated: true, Egress: true},
			nil,
			[]string{
				"api no: URLError", "socket no: ConnectionRefusedError", "credentials no: URLError", "direct no: URLError", "proxied no: URLError",
				"tunnel no: ConnectionRefusedError", "name no: URLError", "interfaces ['eth0', 'lo']",
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t)
			p.cfg.APISocket, p.cfg.EgressAllow = api(t), tt.allow
			lines, st := p.runs(t, p.open(t), probeTask("net-"+tt.name, addr, tt.net))
			if st.Exit.Result.ExitCode != 0 {
				t.Errorf("exit %+v", *st.Exit)
			}
			for _, want := range tt.want {
				found := false
				for _, l := range lines {
					found = found || strings.HasPrefix(l, want)
				}
				if !found {
					t.Errorf("no line %q", want)
				}
			}
			if t.Failed() {
				t.Log(strings.Join(lines, "\n"))
			}
		})
	}
}

// TestRelayManyConnections moves bytes both ways over many connections at once.
func TestRelayManyConnections(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.cfg.APISocket = echoServer(t)
	lines, _ := p.runs(t, p.open(t), compute.Task{ID: "many-1", Args: []string{"python3", "-c", `
import socket, threading
bad = []
def one(i):
    s = socket.create_connection(("127.0.0.1", 2527))
    data = bytes([i]) * 1000000
    threading.Thread(target=lambda: (s.sendall(data), s.shutdown(socket.SHUT_WR))).start()
    got = b""
    while True:
        b = s.recv(65536)
        if not b: break
        got += b
    if got != data: bad.append((i, len(got)))
ts = [threading.Thread(target=one, args=(i,)) for i in range(20)]
[t.start() for t in ts]; [t.join() for t in ts]
print("bad", bad)
`}})
	if len(lines) != 1 || lines[0] != "bad []" {
		t.Errorf("%q", lines)
	}
}

func echoServer(t *testing.T) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "echo.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go echo(c.(*net.UnixConn))
		}
	}()
	return socket
}
