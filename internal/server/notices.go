package server

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"

	"github.com/go-json-experiment/json"

	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/compute/sandbox/relay"
	"clary/internal/identity"
	"clary/internal/outbox"
	"clary/internal/outbox/courier"
	"clary/internal/outbox/smtp"
	"clary/internal/resource"
	"clary/internal/service/sns"
	"clary/internal/store"
)

// mailer is the operator's mail server; nil without one.
func (c *Config) mailer() (*smtp.Mailer, error) {
	if c.SMTP == "" {
		return nil, nil
	}
	return smtp.Parse(c.SMTP, c.SMTPPassword, c.MailFrom, nil)
}

// openNotices makes topics, and the courier of what is told.
func (r *rooms) openNotices(addr string) error {
	signer, err := sns.OpenSigner(r.path("keys"))
	if err != nil {
		return err
	}
	guard := courier.Guard{Own: relay.OwnAddresses}
	if r.cfg.TaskEgress {
		guard.Tasks = (&relay.Guard{Own: relay.OwnAddresses, Allow: r.cfg.TaskEgressAllow}).Check
	}
	if ap, err := netip.ParseAddrPort(addr); err == nil {
		guard.Ports = append(guard.Ports, ap.Port())
	}
	if r.mailer, err = r.cfg.mailer(); err != nil {
		return err
	}
	var mail courier.Sender
	if r.mailer != nil {
		mail = r.mailer
	}
	r.courier = courier.New(r.store, courier.NewWeb(guard, nil), mail, func(k resource.Key) { r.loop.Wake(k) })
	r.signer = signer
	r.topics = sns.New(sns.Config{Store: r.store, Signer: signer, Address: r.cfg.public(addr), Reachable: guard.Literal})
	return nil
}

// public is where receivers of messages find this server: by its own name
// where it has one, else on this machine.
func (c *Config) public(addr string) string {
	_, port, err := net.SplitHostPort(addr)
	if c.TLSCert == "" || len(c.Hosts) == 0 || err != nil {
		return "http://" + addr
	}
	if port == strconv.Itoa(443) {
		return "https://" + c.Hosts[0]
	}
	return "https://" + net.JoinHostPort(c.Hosts[0], port)
}

// openPaths are what receivers get without a key: the certificate of messages'
// signatures.
func (r *rooms) openPaths() map[string]http.Handler {
	return map[string]http.Handler{r.signer.Path(): http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-pem-file")
		w.Header().Set("Cache-Control", "max-age=86400")
		_, _ = w.Write(r.signer.Certificate()) // the client is gone if it fails
	})}
}

// deliveriesPath answers GET /_clary/deliveries?region=...&phase=...&about=...
// &token=...: how the deliveries of the outbox stand, the newest first. region
// "*" is all; about is the ARN of a subscription, a topic or a budget.
type deliveriesPath struct {
	store store.Store
	auth  identity.Authorizer
}

// Deliveries is a page of them.
type Deliveries struct {
	Deliveries []outbox.Told
	NextToken  string `json:",omitzero"`
}

func (p deliveriesPath) serve(w http.ResponseWriter, r *http.Request, c op.Call) {
	w.Header().Set("Content-Type", "application/json")
	out, err := p.list(r.Context(), r.URL.Query(), c)
	if err != nil {
		writeError(w, err)
		return
	}
	_ = json.MarshalWrite(w, out) // the client is gone if it fails
}

func (p deliveriesPath) list(ctx context.Context, q url.Values, c op.Call) (*Deliveries, error) {
	if err := p.auth.Allow(ctx, c.Principal, "sns:ListSubscriptions", "*"); err != nil {
		return nil, err
	}
	region := c.Region
	if v := q.Get("region"); v == "*" {
		region = ""
	} else if v != "" {
		region = v
	}
	switch q.Get("phase") {
	case "", outbox.PhasePending, outbox.PhaseDelivered, outbox.PhaseFailed:
	default:
		return nil, apierr.Validation("Invalid phase %q: Pending, Delivered or Failed is expected.", q.Get("phase"))
	}
	list, next, err := outbox.List(ctx, p.store, c.Account, region, q.Get("phase"), q.Get("about"), q.Get("token"), 100)
	if err != nil {
		return nil, err
	}
	return &Deliveries{list, next}, nil
}

// mailReport is what /_clary/mail answers: which mail server there is, and
// whether it takes letters from here.
type mailReport struct {
	Server string `json:",omitzero"`
	Error  string `json:",omitzero"`
}

// mailPath answers GET /_clary/mail for the account itself.
func (r *rooms) mailPath(w http.ResponseWriter, req *http.Request, c op.Call) {
	w.Header().Set("Content-Type", "application/json")
	if !c.Principal.Root {
		writeError(w, apierr.AccessDenied("Only the account itself may try the mail server."))
		return
	}
	var rep mailReport
	if r.mailer != nil {
		rep.Server = r.mailer.String()
		if err := r.mailer.Check(req.Context()); err != nil {
			rep.Error = err.Error()
		}
	}
	_ = json.MarshalWrite(w, rep) // the client is gone if it fails
}
