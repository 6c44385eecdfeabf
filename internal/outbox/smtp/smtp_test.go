package smtp

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	server "github.com/emersion/go-smtp"

	"clary/internal/outbox"
)

// office is a mail server and what it took.
type office struct {
	methods []string // of AUTH; nil: none
	refuse  error    // of recipients

	mu      sync.Mutex // guards what follows
	letters []string
	to      []string
	user    string
	tls     bool
}

type session struct {
	o    *office
	c    *server.Conn
	user string
	to   string
}

func (o *office) NewSession(c *server.Conn) (server.Session, error) { return &session{o: o, c: c}, nil }

func (s *session) Reset()        {}
func (s *session) Logout() error { return nil }
func (s *session) Mail(string, *server.MailOptions) error {
	if s.o.methods != nil && s.user == "" {
		return &server.SMTPError{Code: 530, Message: "log in first"}
	}
	return nil
}

func (s *session) Rcpt(to string, _ *server.RcptOptions) error {
	s.to = to
	return s.o.refuse
}

func (s *session) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.o.mu.Lock()
	defer s.o.mu.Unlock()
	s.o.letters, s.o.to, s.o.user = append(s.o.letters, string(b)), append(s.o.to, s.to), s.user
	_, s.o.tls = s.c.TLSConnectionState()
	return nil
}

func (s *session) AuthMechanisms() []string { return s.o.methods }

func (s *session) Auth(mech string) (sasl.Server, error) {
	check := func(user, pass string) error {
		if user != "alerts@example.com" || pass != "right" {
			return errors.New("wrong password")
		}
		s.user = user
		return nil
	}
	if mech == "LOGIN" {
		return &loginServer{check: check}, nil
	}
	return sasl.NewPlainServer(func(_, user, pass string) error { return check(user, pass) }), nil
}

// loginServer asks for the user and the password in turn.
type loginServer struct {
	check func(user, pass string) error
	said  []string
}

func (l *loginServer) Next(answer []byte) ([]byte, bool, error) {
	if answer != nil {
		l.said = append(l.said, string(answer))
	}
	switch len(l.said) {
	case 0:
		return []byte("Username:"), false, nil
	case 1:
		return []byte("Password:"), false, nil
	}
	return nil, true, l.check(l.said[0], l.said[1])
}

// certificate is for 127.0.0.1 and mail.test.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// open serves the office and gives its address. secure: "starttls", "tls", "".
func (o *office) open(t *testing.T, cert tls.Certificate, secure string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := server.NewServer(o)
	s.Domain, s.AllowInsecureAuth, s.ErrorLog = "mail.test", secure == "", quiet{}
	addr := l.Addr().String()
	switch secure {
	case "starttls":
		s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
	case "tls":
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}})
	}
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Serve(l) })
	t.Cleanup(func() { _, _ = l.Close(), s.Close(); wg.Wait() })
	return addr
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}

func letter() *outbox.Delivery {
	return &outbox.Delivery{Channel: "email", To: "you@example.org", Sender: "Büdgets", Subject: "Über 80 %", Body: "Grüße\n.\nhttp://127.0.0.1:2527/?a=1&b=2\n"}
}

func TestSend(t *testing.T) {
	t.Parallel()
	cert, roots := certificate(t)
	for name, tc := range map[string]struct {
		secure, scheme, user, query string
		methods                     []string
		tls                         bool
	}{
		"STARTTLS and PLAIN":        {"starttls", "smtp", "alerts%40example.com@", "?starttls=required", []string{"PLAIN", "LOGIN"}, true},
		"STARTTLS and LOGIN":        {"starttls", "smtp", "alerts%40example.com@", "", []string{"LOGIN"}, true},
		"TLS from the start, PLAIN": {"tls", "smtps", "alerts%40example.com@", "", []string{"PLAIN"}, true},
		"TLS, LOGIN":                {"tls", "smtps", "alerts%40example.com@", "", []string{"LOGIN"}, true},
		"loopback, in the clear":    {"", "smtp", "", "", nil, false},
		"said to be in the clear":   {"starttls", "smtp", "", "?starttls=off", nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := &office{methods: tc.methods}
			addr := o.open(t, cert, tc.secure)
			pass := ""
			if tc.user != "" {
				pass = "right"
			}
			m, err := Parse(tc.scheme+"://"+tc.user+addr+tc.query, pass, "alerts@example.com", roots)
			if err != nil {
				t.Fatal(err)
			}
			if err := m.Check(t.Context()); err != nil {
				t.Fatal("check: ", err)
			}
			for range 2 { // the same letter again
				if err := m.Send(t.Context(), "abc", letter()); err != nil {
					t.Fatal(err)
				}
			}
			o.mu.Lock()
			defer o.mu.Unlock()
			if len(o.letters) != 2 || o.tls != tc.tls || o.to[0] != "you@example.org" || (tc.user != "") != (o.user == "alerts@example.com") {
				t.Fatalf("%d letters, TLS %t, to %v, as %q", len(o.letters), o.tls, o.to, o.user)
			}
			holds(t, o.letters[0])
			one, _ := mail.ReadMessage(strings.NewReader(o.letters[0]))
			two, _ := mail.ReadMessage(strings.NewReader(o.letters[1]))
			if a, b := one.Header.Get("Message-Id"), two.Header.Get("Message-Id"); a != "<abc@example.com>" || a != b {
				t.Errorf("a repeated letter is %s, then %s", a, b)
			}
		})
	}
}

// holds reads a letter as a reader of mail does.
func holds(t *testing.T, raw string) {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	if s, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject")); err != nil || s != "Über 80 %" {
		t.Errorf("subject %q, %v", s, err)
	}
	if a, err := mail.ParseAddress(m.Header.Get("From")); err != nil || a.Name != "Büdgets" || a.Address != "alerts@example.com" {
		t.Errorf("from %v, %v", a, err)
	}
	if d, err := m.Header.Date(); err != nil || time.Since(d) > time.Minute {
		t.Errorf("date %v, %v", d, err)
	}
	if typ, p, err := mime.ParseMediaType(m.Header.Get("Content-Type")); err != nil || typ != "text/plain" || !strings.EqualFold(p["charset"], "utf-8") {
		t.Errorf("type %s %v %v", typ, p, err)
	}
	b, err := io.ReadAll(quotedprintable.NewReader(m.Body))
	if got := strings.ReplaceAll(string(b), "\r\n", "\n"); err != nil || strings.TrimSpace(got) != strings.TrimSpace(letter().Body) {
		t.Errorf("body %q, %v", got, err)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	cert, roots := certificate(t)
	send := func(t *testing.T, o *office, secure, address, pass string, roots *x509.CertPool, d *outbox.Delivery) error {
		t.Helper()
		addr := o.open(t, cert, secure)
		m, err := Parse(strings.ReplaceAll(address, "ADDR", addr), pass, "alerts@example.com", roots)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		return m.Send(ctx, "abc", d)
	}
	final := func(err error) bool { _, ok := errors.AsType[*outbox.Final](err); return ok }
	none := func(t *testing.T, o *office) {
		t.Helper()
		o.mu.Lock()
		defer o.mu.Unlock()
		if len(o.letters) > 0 {
			t.Error("the letter went")
		}
	}
	t.Run("no such mailbox is final", func(t *testing.T) {
		t.Parallel()
		o := &office{refuse: &server.SMTPError{Code: 550, Message: "no such mailbox"}}
		if err := send(t, o, "", "smtp://ADDR", "", roots, letter()); !final(err) || !strings.Contains(err.Error(), "no such mailbox") {
			t.Error(err)
		}
		none(t, o)
	})
	t.Run("greylisting is not", func(t *testing.T) {
		t.Parallel()
		o := &office{refuse: &server.SMTPError{Code: 451, Message: "come again"}}
		if err := send(t, o, "", "smtp://ADDR", "", roots, letter()); err == nil || final(err) || !strings.Contains(err.Error(), "come again") {
			t.Error(err)
		}
	})
	t.Run("a wrong password is the operator's to mend", func(t *testing.T) {
		t.Parallel()
		o := &office{methods: []string{"PLAIN"}}
		err := send(t, o, "starttls", "smtp://alerts%40example.com@ADDR", "wrong", roots, letter())
		if err == nil || final(err) || !strings.Contains(err.Error(), "alerts@example.com") || strings.Contains(err.Error(), "wrong\"") {
			t.Error(err)
		}
	})
	t.Run("no STARTTLS", func(t *testing.T) {
		t.Parallel()
		o := &office{}
		if err := send(t, o, "", "smtp://ADDR?starttls=required", "", roots, letter()); err == nil || final(err) || !strings.Contains(err.Error(), "STARTTLS") {
			t.Error(err)
		}
		none(t, o)
	})
	t.Run("a certificate of nobody", func(t *testing.T) {
		t.Parallel()
		o := &office{}
		if err := send(t, o, "starttls", "smtp://ADDR", "", nil, letter()); err == nil || final(err) || !strings.Contains(err.Error(), "certificate") {
			t.Error(err)
		}
		none(t, o)
	})
	t.Run("a bad address is final", func(t *testing.T) {
		t.Parallel()
		d := letter()
		d.To = "nobody"
		if err := send(t, &office{}, "", "smtp://ADDR", "", roots, d); !final(err) {
			t.Error(err)
		}
	})
	t.Run("one that says nothing ends with the caller's patience", func(t *testing.T) {
		t.Parallel()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		m, err := Parse("smtp://"+l.Addr().String(), "", "alerts@example.com", nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		if err := m.Send(ctx, "abc", letter()); err == nil || final(err) {
			t.Error(err)
		}
	})
}

// TestHeaders holds that nothing of a message becomes a header of its own.
func TestHeaders(t *testing.T) {
	t.Parallel()
	m, err := Parse("smtp://127.0.0.1:25", "", "Alerts <alerts@example.com>", nil)
	if err != nil {
		t.Fatal(err)
	}
	d := &outbox.Delivery{To: "you@example.org", Sender: "A\r\nBcc: x@example.com", Subject: "S\r\nBcc: x@example.com", Body: "b"}
	to, err := outbox.Address(d.To)
	if err != nil {
		t.Fatal(err)
	}
	got, err := mail.ReadMessage(strings.NewReader(string(m.letter("u", to, d, time.Now()))))
	if err != nil || got.Header.Get("Bcc") != "" {
		t.Errorf("%v %v", got, err)
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ server, pass, from, want string }{
		{"mail.example.com", "", "a@example.com", "want smtp://"},
		{"http://mail.example.com", "", "a@example.com", "want smtp://"},
		{"smtp://", "", "a@example.com", "want smtp://"},
		{"smtp://mail.example.com/x", "", "a@example.com", "want smtp://"},
		{"smtp://u:secret@mail.example.com", "", "a@example.com", "CLARY_SMTP_PASSWORD"},
		{"smtp://u@mail.example.com", "", "a@example.com", "together"},
		{"smtp://mail.example.com", "p", "a@example.com", "together"},
		{"smtp://mail.example.com?starttls=maybe", "", "a@example.com", "starttls=required"},
		{"smtps://mail.example.com?starttls=off", "", "a@example.com", "starttls=required"},
		{"smtp://mail.example.com?tls=off", "", "a@example.com", "starttls=required"},
		{"smtp://mail.example.com", "", "", "--mail-from"},
		{"smtp://mail.example.com", "", "nobody", "--mail-from nobody"},
		{"smtp://mail.example.com", "", "a@b@c", "--mail-from"},
		{"smtp://mail.example.com", "", "ü@example.com", "ASCII"},
	} {
		if _, err := Parse(tc.server, tc.pass, tc.from, nil); err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s from %q: %v, want %s", tc.server, tc.from, err, tc.want)
		}
	}
	for server, want := range map[string]Mailer{
		"smtp://mail.example.com":              {addr: "mail.example.com:587", start: required},
		"smtps://mail.example.com":             {addr: "mail.example.com:465", start: required, implicit: true},
		"smtp://localhost:25":                  {addr: "localhost:25", start: ifOffered},
		"smtp://[::1]:25":                      {addr: "[::1]:25", start: ifOffered},
		"smtp://mail.example.com?starttls=off": {addr: "mail.example.com:587", start: off},
	} {
		m, err := Parse(server, "", "a@example.com", nil)
		if err != nil || m.addr != want.addr || m.start != want.start || m.implicit != want.implicit {
			t.Errorf("%s: %+v, %v", server, m, err)
		}
	}
}
