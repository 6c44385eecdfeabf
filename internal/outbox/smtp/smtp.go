// Package smtp hands letters to the operator's mail server: STARTTLS or TLS
// from the start, AUTH PLAIN, LOGIN or CRAM-MD5, text in UTF-8. A letter has
// the same Message-ID each time that it is sent, so that a repeated one is
// recognised.
//
// It must never send a password, or a letter, in the clear over a network that
// the operator did not say is theirs. Start at Parse.
package smtp

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/netip"
	"net/smtp"
	"net/textproto"
	"net/url"
	"strings"
	"time"

	"clary/internal/outbox"
)

const (
	sendTime  = time.Minute // for a letter, from dialling to the server's last word
	longLine  = 900         // RFC 5321 allows 998
	startTLS  = "starttls"
	required  = "required"
	ifOffered = "optional"
	off       = "off"
)

// Mailer sends letters by one server.
type Mailer struct {
	host, addr string
	user, pass string
	from       mail.Address
	implicit   bool   // TLS from the start
	start      string // what is wanted of STARTTLS
	roots      *x509.CertPool
}

// Parse reads an operator's settings: smtp://user@host:port, where STARTTLS is
// required but on loopback, unless ?starttls=optional or off says otherwise; or
// smtps://user@host:port. roots are whom the server's certificate is trusted
// of; nil: whom the system trusts.
func Parse(server, password, from string, roots *x509.CertPool) (*Mailer, error) {
	u, err := url.Parse(server)
	if err != nil || u.Hostname() == "" || u.Scheme != "smtp" && u.Scheme != "smtps" || strings.Trim(u.Path, "/") != "" {
		return nil, errors.New("want smtp://user@host:port or smtps://user@host:port") // the text may hold a password
	}
	m := &Mailer{host: u.Hostname(), pass: password, implicit: u.Scheme == "smtps", start: required, roots: roots}
	if _, there := u.User.Password(); there {
		return nil, errors.New("the password does not belong into the address, where others of this machine see it: give it in the environment's CLARY_SMTP_PASSWORD or by --smtp-password-file")
	}
	m.user = u.User.Username()
	if (m.user == "") != (password == "") {
		return nil, errors.New("a user and a password are given together or not at all: smtp://user@host, and CLARY_SMTP_PASSWORD or --smtp-password-file")
	}
	if ip, err := netip.ParseAddr(m.host); m.host == "localhost" || err == nil && ip.IsLoopback() {
		m.start = ifOffered
	}
	for k, v := range u.Query() {
		if k != startTLS || m.implicit || v[0] != required && v[0] != ifOffered && v[0] != off {
			return nil, fmt.Errorf("%s=%s: want starttls=required, optional or off, of smtp alone", k, v[0])
		}
		m.start = v[0]
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"smtp": "587", "smtps": "465"}[u.Scheme]
	}
	m.addr = net.JoinHostPort(m.host, port)
	if from == "" {
		return nil, errors.New("--mail-from is missing: the address that letters come from")
	}
	a, err := outbox.Address(from)
	if err != nil {
		return nil, fmt.Errorf("--mail-from %s: %w", from, err)
	}
	m.from = *a
	return m, nil
}

// String names the server and whom letters come from, and no password.
func (m *Mailer) String() string { return m.addr + ", from " + m.from.Address }

// Check does all but send a letter.
func (m *Mailer) Check(ctx context.Context) error {
	c, err := m.dial(ctx)
	if err != nil {
		return err
	}
	return errors.Join(c.Noop(), c.Quit())
}

// Send hands a letter over. A server's 5xx is its last word.
func (m *Mailer) Send(ctx context.Context, uid string, d *outbox.Delivery) error {
	to, err := outbox.Address(d.To)
	if err != nil {
		return &outbox.Final{Err: err}
	}
	c, err := m.dial(ctx)
	if err != nil {
		return err // of the settings, whatever its code: the operator mends it
	}
	defer c.Close()
	if err := m.hand(c, to, m.letter(uid, to, d, time.Now())); err != nil {
		if e, ok := errors.AsType[*textproto.Error](err); ok && e.Code >= 500 {
			return &outbox.Final{Err: fmt.Errorf("the mail server refused it: %w", err)}
		}
		return err
	}
	_ = c.Quit() // it has the letter
	return nil
}

func (m *Mailer) hand(c *smtp.Client, to *mail.Address, letter []byte) error {
	if err := c.Mail(m.from.Address); err != nil {
		return err
	}
	if err := c.Rcpt(to.Address); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(letter); err != nil {
		return err
	}
	return w.Close()
}

// dial connects and says who we are. Nothing that follows takes longer than the
// connection may last.
func (m *Mailer) dial(ctx context.Context) (_ *smtp.Client, err error) {
	ctx, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", m.addr)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = conn.Close()
			err = fmt.Errorf("mail server %s: %w", m.addr, err)
		}
	}()
	until, _ := ctx.Deadline()
	if err := conn.SetDeadline(until); err != nil {
		return nil, err
	}
	config := &tls.Config{ServerName: m.host, RootCAs: m.roots, MinVersion: tls.VersionTLS12}
	if m.implicit {
		conn = tls.Client(conn, config)
	}
	c, err := smtp.NewClient(conn, m.host)
	if err != nil {
		return nil, err
	}
	if err := m.greet(c, config); err != nil {
		return nil, err
	}
	return c, nil
}

func (m *Mailer) greet(c *smtp.Client, config *tls.Config) error {
	if err := c.Hello(m.hello()); err != nil {
		return err
	}
	if !m.implicit && m.start != off {
		offered, _ := c.Extension("STARTTLS")
		switch {
		case offered:
			if err := c.StartTLS(config); err != nil {
				return fmt.Errorf("STARTTLS: %w", err)
			}
		case m.start == required:
			return errors.New("it does not offer STARTTLS; letters go over TLS unless the address ends in ?starttls=off")
		}
	}
	if m.user == "" {
		return nil
	}
	_, methods := c.Extension("AUTH")
	a, err := m.auth(methods)
	if err != nil {
		return err
	}
	if err := c.Auth(a); err != nil {
		return fmt.Errorf("it does not take user %s and the password: %w", m.user, err)
	}
	return nil
}

// hello is the name that we have: the domain of the sender, which is ours as
// far as we know.
func (m *Mailer) hello() string {
	_, domain, _ := strings.Cut(m.from.Address, "@")
	return domain
}

func (m *Mailer) auth(methods string) (smtp.Auth, error) {
	has := map[string]bool{}
	for f := range strings.FieldsSeq(methods) {
		has[strings.ToUpper(f)] = true
	}
	switch {
	case has["PLAIN"]:
		return smtp.PlainAuth("", m.user, m.pass, m.host), nil
	case has["LOGIN"]:
		return &login{m.user, m.pass, m.host}, nil
	case has["CRAM-MD5"]:
		return smtp.CRAMMD5Auth(m.user, m.pass), nil
	}
	return nil, fmt.Errorf("it offers %q to log in by; PLAIN, LOGIN and CRAM-MD5 are known", methods)
}

// login is AUTH LOGIN: the server asks for the user, then for the password.
type login struct{ user, pass, host string }

// Start refuses what PLAIN refuses: a password in the clear to another machine.
func (l *login) Start(s *smtp.ServerInfo) (string, []byte, error) {
	if _, _, err := smtp.PlainAuth("", l.user, l.pass, l.host).Start(s); err != nil {
		return "", nil, err
	}
	return "LOGIN", nil, nil
}

// Next answers one question.
func (l *login) Next(asked []byte, more bool) ([]byte, error) {
	if !more {
		return nil, nil
	}
	switch q := strings.ToLower(strings.TrimRight(string(asked), ":\x00 ")); q {
	case "username", "user name":
		return []byte(l.user), nil
	case "password":
		return []byte(l.pass), nil
	default:
		return nil, fmt.Errorf("the mail server asks for %q", clip(q))
	}
}

func clip(s string) string { return s[:min(len(s), 100)] }

// letter is the letter as it goes over the wire.
func (m *Mailer) letter(uid string, to *mail.Address, d *outbox.Delivery, now time.Time) []byte {
	from := m.from
	if d.Sender != "" {
		from.Name = d.Sender
	}
	var b bytes.Buffer
	head := func(name, value string) { fmt.Fprintf(&b, "%s: %s\r\n", name, oneLine.Replace(value)) }
	head("From", from.String())
	head("To", (&mail.Address{Address: to.Address}).String())
	head("Subject", subject(d.Subject))
	head("Date", now.UTC().Format(time.RFC1123Z))
	head("Message-ID", "<"+uid+"@"+m.hello()+">")
	head("Auto-Submitted", "auto-generated")
	head("MIME-Version", "1.0")
	head("Content-Type", "text/plain; charset=UTF-8")
	text := strings.ReplaceAll(strings.ReplaceAll(d.Body, "\r\n", "\n"), "\n", "\r\n")
	if plain(text) {
		head("Content-Transfer-Encoding", "7bit")
		b.WriteString("\r\n" + text + "\r\n")
		return b.Bytes()
	}
	head("Content-Transfer-Encoding", "quoted-printable")
	b.WriteString("\r\n")
	w := quotedprintable.NewWriter(&b)
	_, _ = io.WriteString(w, text) // a bytes.Buffer does not fail
	_ = w.Close()
	b.WriteString("\r\n")
	return b.Bytes()
}

var oneLine = strings.NewReplacer("\r", "", "\n", "") //nolint:gochecknoglobals // a constant

// subject is folded where a word of its encoding ends.
func subject(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	return mime.QEncoding.Encode("UTF-8", s)
}

// plain says whether text goes over any line as it is.
func plain(text string) bool {
	for line := range strings.SplitSeq(text, "\r\n") {
		if len(line) > longLine {
			return false
		}
		for _, c := range []byte(line) {
			if c >= 0x7f || c < ' ' && c != '\t' {
				return false
			}
		}
	}
	return true
}
