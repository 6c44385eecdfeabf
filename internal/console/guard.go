package console

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
)

// guard sets what a browser may do with our pages: nothing but show them, with
// our own style, script and pictures.
func guard(h http.Header) {
	guardForm(h, "")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin") // with none, a form of ours would come without its origin
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}

// guardForm lets the page's forms lead to another origin as well, "" to none.
func guardForm(h http.Header, origin string) {
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "+
		"form-action 'self' "+origin+"; base-uri 'none'; frame-ancestors 'none'")
}

// formToken ties a form to the session that it was shown to.
func formToken(session string) string {
	m := hmac.New(sha256.New, []byte(session))
	m.Write([]byte("form"))
	return hex.EncodeToString(m.Sum(nil))
}

// fromOurForm says whether a POST carries the session's form token.
func fromOurForm(r *http.Request, session string) bool {
	return hmac.Equal([]byte(r.PostFormValue("token")), []byte(formToken(session)))
}
