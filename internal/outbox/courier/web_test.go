package courier

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"clary/internal/outbox"
)

func final(err error) bool {
	_, ok := errors.AsType[*outbox.Final](err)
	return ok
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	var followed atomic.Int32
	mux := http.NewServeMux()
	mux.HandleFunc("/to", func(http.ResponseWriter, *http.Request) { followed.Add(1) })
	mux.HandleFunc("/code/{code}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "/to")
		code, _ := strconv.Atoi(r.PathValue("code"))
		w.WriteHeader(code)
	})
	mux.HandleFunc("/hang", func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // so that the end of the connection shows
		<-r.Context().Done()
	})
	mux.HandleFunc("/endless", func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := io.WriteString(w, strings.Repeat("x", 32<<10)); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/heads", func(w http.ResponseWriter, _ *http.Request) {
		for i := range 4 << 10 {
			w.Header().Set(fmt.Sprintf("X-%d", i), strings.Repeat("x", 100))
		}
	})
	mux.HandleFunc("/cut", func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) })
	mux.HandleFunc("/look", func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		user, pass, _ := r.BasicAuth()
		if r.Method != http.MethodPost || string(b) != "text" || r.UserAgent() != "agent" || user != "u" || pass != "p" {
			w.WriteHeader(http.StatusBadRequest)
		}
	})
	srv := httptest.NewServer(mux)
	defer srv.Close()
	web := NewWeb(Guard{}, nil)
	send := func(to string) error {
		wait := time.Minute // Send's own is shorter
		if strings.HasSuffix(to, "/hang") {
			wait = time.Second
		}
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		defer cancel()
		return web.Send(ctx, "", &outbox.Delivery{To: to, Body: "text", Headers: map[string]string{"User-Agent": "agent"}})
	}
	for path, want := range map[string]string{
		"/code/200": "", "/code/204": "", "/code/500": "500", "/code/503": "503", "/code/429": "429",
		"/code/302": "final redirects", "/code/307": "final redirects", "/code/400": "final 400", "/code/403": "final 403", "/code/404": "final 404", "/code/410": "final 410",
		"/hang": "no answer", "/endless": "", "/heads": "headers", "/cut": "EOF",
	} {
		err := send(srv.URL + path)
		text, isFinal := strings.CutPrefix(want, "final ")
		if want == "" && err != nil || want != "" && (err == nil || final(err) != isFinal || !strings.Contains(err.Error(), text)) {
			t.Errorf("%s: %v (final: %t), want %q", path, err, final(err), want)
		}
	}
	if followed.Load() > 0 {
		t.Error("a redirect was followed")
	}
	if err := send(strings.Replace(srv.URL, "http://", "http://u:p@", 1) + "/look"); err != nil {
		t.Error(err)
	}
	if err := send("http://u:secret@127.0.0.1:1/"); err == nil || final(err) || strings.Contains(err.Error(), "secret") {
		t.Errorf("nobody listens: %v", err)
	}
	tlsServer := httptest.NewTLSServer(mux)
	defer tlsServer.Close()
	if err := send(tlsServer.URL + "/code/200"); err == nil || final(err) || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate of nobody: %v", err)
	}
	roots := tlsServer.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	if err := NewWeb(Guard{}, roots).Send(t.Context(), "", &outbox.Delivery{To: tlsServer.URL + "/code/200"}); err != nil {
		t.Errorf("a trusted certificate: %v", err)
	}
}

func TestGuard(t *testing.T) {
	t.Parallel()
	g := Guard{Own: func() []netip.Addr { return []netip.Addr{netip.MustParseAddr("192.0.2.7")} }, Ports: []uint16{2527}}
	for addr, ok := range map[string]bool{
		"127.0.0.1:80": true, "[::1]:80": true, "10.1.2.3:2527": true, "192.0.2.7:80": true, "8.8.8.8:2527": true,
		"127.0.0.1:2527": false, "127.9.9.9:2527": false, "[::1]:2527": false, "0.0.0.0:2527": false, "[::]:2527": false, "192.0.2.7:2527": false, "[::ffff:127.0.0.1]:2527": false,
		"169.254.169.254:80": false, "[::ffff:169.254.169.254]:80": false, "[64:ff9b::a9fe:a9fe]:80": false, "[2002:a9fe:a9fe::]:80": false, "[fe80::1]:80": false, "[fd00:ec2::254]:80": false,
		"100.100.100.200:80": false, "168.63.129.16:80": false, "224.0.0.1:80": false, "255.255.255.255:80": false, "[ff02::1]:80": false,
	} {
		if err := g.check(netip.MustParseAddrPort(addr)); (err == nil) != ok {
			t.Errorf("%s: %v", addr, err)
		}
		if err := g.Literal("http://" + addr + "/x"); (err == nil) != ok {
			t.Errorf("http://%s: %v", addr, err)
		}
	}
	// a name is judged by what it leads to
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	u := url.URL{Scheme: "http", Host: "localhost:" + strconv.Itoa(l.Addr().(*net.TCPAddr).Port)}
	web := NewWeb(Guard{Ports: []uint16{uint16(l.Addr().(*net.TCPAddr).Port)}}, nil)
	if err := web.Send(t.Context(), "", &outbox.Delivery{To: u.String()}); !final(err) || !strings.Contains(err.Error(), "this server") {
		t.Errorf("our own port by name: %v", err)
	}
}

// TestStrict: what a task had subscribed reaches no further than the task, also
// over a connection that is there already.
func TestStrict(t *testing.T) {
	t.Parallel()
	var hits atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	defer srv.Close()
	web := NewWeb(Guard{Tasks: func(a netip.Addr) error {
		if a.IsLoopback() {
			return errors.New("destination refused")
		}
		return nil
	}}, nil)
	if err := web.Send(t.Context(), "", &outbox.Delivery{To: srv.URL}); err != nil {
		t.Fatal(err)
	}
	if err := web.Send(t.Context(), "", &outbox.Delivery{To: srv.URL, Strict: true}); !final(err) || !strings.Contains(err.Error(), "destination refused") {
		t.Error(err)
	}
	if err := NewWeb(Guard{}, nil).Send(t.Context(), "", &outbox.Delivery{To: srv.URL, Strict: true}); !final(err) {
		t.Errorf("without an egress at all: %v", err)
	}
	if hits.Load() != 1 {
		t.Errorf("%d came", hits.Load())
	}
}
