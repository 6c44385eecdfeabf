package console

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/identity/browser"
)

var (
	errNoPage  = errors.New("no such page")
	regionForm = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]{1,2}$`) //nolint:gochecknoglobals // a constant pattern
)

// view is one page being made for somebody who signed in.
type view struct {
	c     *Console
	w     http.ResponseWriter
	r     *http.Request
	token string // of the session
	call  op.Call
}

// page runs h for a session, or leads to the sign-in.
func (c *Console) page(h func(*view) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v, err := c.view(w, r)
		if err != nil {
			c.toSignIn(w, r, err)
			return
		}
		if r.Method == http.MethodPost && !fromOurForm(r, v.token) {
			v.fail(apierr.New(http.StatusForbidden, "AccessDeniedException", "The form was made for another session. Go back, reload the page and try again."))
			return
		}
		if err := h(v); err != nil {
			v.fail(err)
		}
	})
}

func (c *Console) toSignIn(w http.ResponseWriter, r *http.Request, err error) {
	if e, ok := errors.AsType[*apierr.Error](err); !errors.Is(err, browser.ErrNone) && (!ok || e.Status >= http.StatusInternalServerError) {
		c.log.Warn("session", "err", err)
		http.Error(w, "The session could not be read; try again.", http.StatusServiceUnavailable)
		return
	}
	if r.Method != http.MethodGet || r.Header.Get("Accept") == "text/event-stream" {
		http.Error(w, "You are signed out.", http.StatusUnauthorized)
		return
	}
	// The cookie stays behind when another site, or a file, leads here, and so it
	// does along a redirect; our own page, which leads to where it is, has it.
	if browser.FromElsewhere(r) {
		c.again(w, r)
		return
	}
	to := "/signin"
	if r.URL.Path != "/" {
		to += "?next=" + url.QueryEscape(r.URL.RequestURI())
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// again leads to the same address, from here. The whole address is given: a path
// of two slashes would lead elsewhere.
func (c *Console) again(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Refresh", "0; url="+origin(r)+r.URL.RequestURI())
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	icon, _ := c.assets.url("icon.svg")                                                             // the layout has it too
	_, _ = fmt.Fprintf(w, "<!doctype html>\n<title>Clary</title>\n<link rel=icon href=%s>\n", icon) // the browser is gone if it fails
}

func (c *Console) view(w http.ResponseWriter, r *http.Request) (*view, error) {
	ck, err := r.Cookie(cookieName)
	if err != nil {
		return nil, browser.ErrNone
	}
	s, err := c.sessions().get(r.Context(), ck.Value)
	if err != nil {
		return nil, err
	}
	_, who, err := c.cfg.Keys.Secret(r.Context(), s.AccessKeyID, s.SessionToken)
	if err != nil {
		return nil, err
	}
	return &view{c: c, w: w, r: r, token: ck.Value, call: op.Call{
		Account: who.Account, Region: s.Region, Principal: who, RequestID: newRequestID(),
		UserAgent: r.UserAgent(), Host: origin(r), Received: c.cfg.Now(),
	}}, nil
}

// origin is the console's own, as the browser has it.
func origin(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// ask calls an operation as the signed-in principal.
func ask[Out any](v *view, service, operation string, in any) (*Out, error) {
	c := v.call
	c.Service, c.Operation = service, operation
	out, err := v.c.cfg.Calls.Call(v.r.Context(), c, in)
	if err != nil {
		return nil, err
	}
	o, ok := out.(*Out)
	if !ok {
		return nil, fmt.Errorf("%s answered %T", operation, out)
	}
	return o, nil
}

// act calls an operation of SageMaker whose answer holds nothing.
func (v *view) act(operation string, in any) (any, error) {
	c := v.call
	c.Service, c.Operation = "sagemaker", operation
	return v.c.cfg.Calls.Call(v.r.Context(), c, in)
}

// to leads the browser on after a form.
func (v *view) to(path string) { http.Redirect(v.w, v.r, path, http.StatusSeeOther) }

// refused says whether err is the API's answer rather than a failure of ours.
func refused(err error) (*apierr.Error, bool) {
	e, ok := errors.AsType[*apierr.Error](err)
	return e, ok && e.Status < http.StatusInternalServerError
}

// denied says whether err is that the reader may not.
func denied(err error) bool {
	e, ok := refused(err)
	return ok && strings.HasPrefix(e.Code, "AccessDenied")
}

type errorBody struct {
	Text, Code, RequestID string
}

// fail shows why there is no page.
func (v *view) fail(err error) {
	body, status := errorBody{RequestID: v.call.RequestID}, http.StatusInternalServerError
	title := "Something went wrong"
	e, ok := refused(err)
	switch {
	case errors.Is(err, errNoPage):
		status, title, body.Text = http.StatusNotFound, "No such page", "Nothing is at this address."
	case ok && slices.ContainsFunc(notFoundTexts, func(s string) bool { return strings.Contains(e.Message, s) }):
		status, title, body.Text = http.StatusNotFound, "Not found", "There is nothing of that name in "+v.call.Region+". It may have been deleted, or be in another region."
	case ok && strings.HasPrefix(e.Code, "AccessDenied"):
		status, title, body.Text, body.Code = http.StatusForbidden, "Not allowed", e.Message, e.Code
	case ok:
		status, title, body.Text, body.Code = e.Status, "The API refused", e.Message, e.Code
	case v.r.Context().Err() != nil:
		return // the reader went on to another page
	default:
		v.c.log.Warn("page", "path", v.r.URL.Path, "request", v.call.RequestID, "err", err)
		body.Text = "The server could not make this page. Its log says why, under the request's number."
	}
	v.c.render(v.w, v.r, status, "error", v.frame(title, "", body))
}

// notFoundTexts are in what Describe operations answer for an unknown name.
var notFoundTexts = []string{ //nolint:gochecknoglobals // a table
	"Requested resource not found.", "Could not find requested job", "Could not find job to update", "RecordNotFound", "Cannot find CodeRepository", "Notebook Instance Lifecycle Config does not exist",
	"Could not find model ", "Could not find endpoint ", "the budget doesn't exist",
}

func (v *view) show(name, title, section string, body any) error {
	v.c.render(v.w, v.r, http.StatusOK, name, v.frame(title, section, body))
	return nil
}

func (v *view) frame(title, section string, body any) frame {
	return frame{
		Title: title, Section: section, Groups: groups(), SignedIn: true,
		Account: v.call.Account, Region: v.call.Region, Regions: regions(v.call.Region), Principal: v.call.Principal.Arn,
		Token: formToken(v.token), Here: v.r.URL.RequestURI(), Body: body,
	}
}
