package dataplane

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"

	"clary/internal/identity/browser"
)

// page is what somebody sees who does not see JupyterLab.
type page struct {
	Status      int
	Title, Text string
	Command     string // to type
	Again       bool   // the browser looks again by itself
}

// pages renders them, with a style of their own and nothing else.
type pages struct {
	layout *template.Template
	style  template.CSS
	policy string
}

//go:embed page/page.html
var layout string

//go:embed page/style.css
var style string

func loadPages() (*pages, error) {
	t, err := template.New("page").Parse(layout)
	if err != nil {
		return nil, fmt.Errorf("dataplane: %w", err)
	}
	sum := sha256.Sum256([]byte(style))
	return &pages{
		layout: t, style: template.CSS(style), //nolint:gosec // ours
		policy: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
	}, nil
}

// lookAgain is how long a browser waits before it asks anew, in seconds.
const lookAgain = "2"

var (
	notHere = page{
		Status: http.StatusNotFound, Title: "No such notebook instance",
		Text: "Nothing is at this address; perhaps it was deleted. Those that are there:", Command: "clary notebook ls",
	}
	notServed   = page{Status: http.StatusBadRequest, Title: "Not served", Text: "This is no request that a browser makes here."}
	fromOutside = page{
		Status: http.StatusForbidden, Title: "Asked from outside",
		Text: "A page of another origin asked for this. A notebook instance answers its own pages alone.",
	}
	getAlone = page{Status: http.StatusMethodNotAllowed, Title: "A link is opened with GET", Text: "Nothing was done, and the link can still be used."}
	trouble  = page{
		Status: http.StatusServiceUnavailable, Title: "Something went wrong here", Again: true,
		Text: "The server could not look this up; its log says why.",
	}
)

func over(name string) page {
	return page{
		Status: http.StatusForbidden, Title: "Open " + name + " again", Command: "clary open " + name,
		Text: "This browser has no session with the notebook instance, or not any more. What it runs goes on. To come in again, type:",
	}
}

func used(name string) page {
	return page{
		Status: http.StatusForbidden, Title: "This link was used before", Command: "clary open " + name,
		Text: "A link opens a notebook instance once, in one browser. For a new one, type:",
	}
}

func expired(name string) page {
	return page{
		Status: http.StatusForbidden, Title: "This link does not open " + name, Command: "clary open " + name,
		Text: "It has expired, which it does after five minutes, or it is not whole. For a new one, type:",
	}
}

// standing is the page of an instance that is not in service.
func standing(name, phase string) page {
	p := page{Status: http.StatusServiceUnavailable, Title: name + " is " + strings.ToLower(phase)}
	switch phase {
	case "Pending":
		p.Title, p.Text, p.Again = name+" is starting", "JupyterLab does not answer yet.", true
	case "Updating":
		p.Title, p.Text = name+" is being changed", "It is stopped meanwhile. To start it afterwards, which costs from then on, type:"
		p.Command = "clary notebook open --start " + name
	case "Stopping", "Stopped":
		p.Text, p.Command = "Its files are kept. To start it, which costs from then on, type:", "clary notebook open --start "+name
	case "Deleting":
		p.Title, p.Text = name+" is being deleted", "Its files go with it."
	case "Failed":
		p.Title, p.Text, p.Command = name+" failed", "Why, it says here:", "clary notebook ls"
	}
	return p
}

// fail shows why a request does not pass.
func (v *visit) fail(err error) {
	if e, ok := errors.AsType[phaseError](err); ok {
		v.show(standing(e.name, e.phase))
		return
	}
	if e, ok := errors.AsType[deniedError](err); ok {
		v.show(page{Status: http.StatusForbidden, Title: "You may not open this notebook instance", Text: e.text})
		return
	}
	if e, ok := errors.AsType[noAnswerError](err); ok {
		v.show(page{Status: http.StatusBadGateway, Title: "JupyterLab of " + e.name + " does not answer", Text: "It may be starting again.", Again: true})
		return
	}
	if e, ok := errors.AsType[overError](err); ok {
		// The cookie stays behind when another site leads here; our own page,
		// which leads to where it is, has it with it.
		if browser.FromElsewhere(v.r) && v.r.Method == http.MethodGet && v.origin != "" {
			v.again()
			return
		}
		v.show(over(e.name))
		return
	}
	if errors.Is(err, errNotHere) {
		v.show(notHere)
		return
	}
	v.p.log.Warn("notebook", "uid", v.uid, "err", err)
	v.show(trouble)
}

// again leads to the same address, from here. The whole address is given: a path
// of two slashes would lead elsewhere.
func (v *visit) again() {
	v.head()
	v.w.Header().Set("Refresh", "0; url="+v.origin+v.r.URL.RequestURI())
	v.w.WriteHeader(http.StatusOK)
}

// head sets what a browser may do with pages of ours: nothing but show them.
func (v *visit) head() {
	h := v.w.Header()
	h.Set("Content-Security-Policy", v.p.pages.policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	if v.upgrade {
		h.Set("Connection", "close") // what follows such a request was not looked at
	}
}

// show answers with a page, or with what JupyterLab's own scripts read.
func (v *visit) show(p page) {
	v.head()
	h := v.w.Header()
	wants := v.r.Header.Get("Accept")
	var body bytes.Buffer
	var err error
	if strings.Contains(wants, "text/html") {
		h.Set("Content-Type", "text/html; charset=utf-8")
		if p.Again && v.r.Method == http.MethodGet {
			h.Set("Refresh", lookAgain)
			p.Text += " This page looks again by itself."
		}
		err = v.p.pages.layout.Execute(&body, struct {
			page
			Style template.CSS
		}{p, v.p.pages.style})
	} else {
		h.Set("Content-Type", "application/json")
		text := p.Title + ". " + p.Text
		if p.Command != "" {
			text += " " + p.Command
		}
		err = json.MarshalWrite(&body, map[string]string{"message": text})
	}
	if err != nil {
		v.p.log.Warn("notebook", "uid", v.uid, "err", err)
	}
	if p.Status == http.StatusMethodNotAllowed {
		h.Set("Allow", http.MethodGet)
	}
	v.w.WriteHeader(p.Status)
	if v.r.Method != http.MethodHead {
		_, _ = v.w.Write(body.Bytes()) // the browser is gone if it fails
	}
}
