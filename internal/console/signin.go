package console

import (
	"crypto/subtle"
	"errors"
	"net/http"
	"strings"
	"time"

	"clary/internal/aws/apierr"
	"clary/internal/aws/sigv4"
	"clary/internal/identity/browser"
)

// What a browser and a link are known by.
const (
	// cookieName binds the cookie to this host and to secure origins, which
	// browsers count names below localhost among.
	cookieName = "__Host-clary"
	// LinkService is the service that a sign-in link is signed for, LinkPath
	// its path, LinkLife how long it may be used.
	LinkService = "signin"
	LinkPath    = "/link"
	LinkLife    = 5 * time.Minute
)

type signInBody struct {
	Next, Wrong, AccessKeyID string
}

func (c *Console) signInPage(w http.ResponseWriter, r *http.Request) {
	c.render(w, r, http.StatusOK, "signin", frame{Title: "Sign in", Body: signInBody{Next: browser.LocalPath(r.FormValue("next"))}})
}

// signIn takes an access key.
func (c *Console) signIn(w http.ResponseWriter, r *http.Request) {
	id, secret, token := strings.TrimSpace(r.PostFormValue("id")), strings.TrimSpace(r.PostFormValue("secret")), strings.TrimSpace(r.PostFormValue("session"))
	want, _, err := c.cfg.Keys.Secret(r.Context(), id, token)
	if err != nil || subtle.ConstantTimeCompare([]byte(want), []byte(secret)) != 1 {
		if e, ok := errors.AsType[*apierr.Error](err); err != nil && (!ok || e.Status >= http.StatusInternalServerError) {
			c.log.Warn("sign in", "err", err)
		}
		c.render(w, r, http.StatusForbidden, "signin", frame{Title: "Sign in", Body: signInBody{
			Next: browser.LocalPath(r.PostFormValue("next")), AccessKeyID: id,
			Wrong: "Access key ID and secret access key do not belong together, or the key is not known here.",
		}})
		return
	}
	c.begin(w, r, session{AccessKeyID: id, SessionToken: token, Region: c.cfg.Region}, browser.LocalPath(r.PostFormValue("next")))
}

// link takes a URL that was signed as an AWS request is, once.
func (c *Console) link(w http.ResponseWriter, r *http.Request) {
	wrong := func(why string) {
		c.render(w, r, http.StatusForbidden, "signin", frame{Title: "Sign in", Body: signInBody{Wrong: why}})
	}
	if r.Method != http.MethodGet || r.Header.Get("Sec-Purpose") != "" {
		// whoever only fetches ahead must not use it up
		http.Error(w, "A sign-in link is opened by a visit.", http.StatusServiceUnavailable)
		return
	}
	a, err := sigv4.Parse(r)
	if err != nil || !a.Presigned || a.Service != LinkService || a.Expires > LinkLife {
		wrong("This is not a sign-in link. Run `clary open` for one.")
		return
	}
	secret, _, err := c.cfg.Keys.Secret(r.Context(), a.AccessKeyID, a.SessionToken)
	if err == nil {
		_, err = a.Verify(r, secret, sigv4.EmptyHash, c.cfg.Now())
	}
	if err != nil {
		wrong("This sign-in link has expired or is not whole. Run `clary open` for a new one.")
		return
	}
	signature := strings.ToLower(r.URL.Query().Get("X-Amz-Signature")) // it is good in either case, but once
	first, err := c.sessions().use(r.Context(), signature, a.Time.Add(a.Expires))
	if err != nil {
		c.log.Warn("sign in", "err", err)
		http.Error(w, "The sign-in could not be recorded; try again.", http.StatusServiceUnavailable)
		return
	}
	if !first {
		wrong("This sign-in link was used before. Run `clary open` for a new one.")
		return
	}
	region := a.Region
	if region == "" {
		region = c.cfg.Region
	}
	c.begin(w, r, session{AccessKeyID: a.AccessKeyID, SessionToken: a.SessionToken, Region: region}, browser.LocalPath(r.URL.Query().Get("next")))
}

func (c *Console) sessions() sessions { return sessions{c.cfg.Store, c.cfg.Now} }

// begin hands out a session and leads to a clean address.
func (c *Console) begin(w http.ResponseWriter, r *http.Request, s session, next string) {
	token, err := c.sessions().begin(r.Context(), s)
	if err != nil {
		c.log.Warn("sign in", "err", err)
		http.Error(w, "The sign-in could not be recorded; try again.", http.StatusServiceUnavailable)
		return
	}
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: token, Path: "/", MaxAge: int(sessionLife / time.Second),
		HttpOnly: true, Secure: true, SameSite: http.SameSiteStrictMode,
	})
	http.Redirect(w, r, next, http.StatusSeeOther)
}

func (c *Console) signOut(v *view) error {
	if err := c.sessions().end(v.r.Context(), v.token); err != nil {
		return err
	}
	http.SetCookie(v.w, &http.Cookie{Name: cookieName, Path: "/", MaxAge: -1, HttpOnly: true, Secure: true, SameSite: http.SameSiteStrictMode})
	http.Redirect(v.w, v.r, "/signin", http.StatusSeeOther)
	return nil
}

func (c *Console) setRegion(v *view) error {
	region := strings.TrimSpace(v.r.PostFormValue("region"))
	if !regionForm.MatchString(region) {
		return apierr.Validation("%q is not the name of a region.", region)
	}
	if err := c.sessions().region(v.r.Context(), v.token, region); err != nil {
		return err
	}
	http.Redirect(v.w, v.r, browser.LocalPath(v.r.PostFormValue("next")), http.StatusSeeOther)
	return nil
}
