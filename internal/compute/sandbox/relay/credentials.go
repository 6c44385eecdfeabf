package relay

import (
	"encoding/json"
	"net/http"
	"time"

	"clary/internal/compute"
)

// Credentials answers with a role's session, as it is when it is asked for, at
// one path that only the task knows.
func Credentials(path string, session func() compute.Identity) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case path == "" || r.URL.Path != path:
			http.NotFound(w, r)
		case r.Method != http.MethodGet:
			w.Header().Set("Allow", http.MethodGet)
			http.Error(w, "GET only", http.StatusMethodNotAllowed)
		default:
			id := session()
			body, err := json.Marshal(struct {
				AccessKeyId, SecretAccessKey, Token, Expiration, RoleArn string //nolint:revive // AWS's names
			}{id.AccessKeyID, id.SecretAccessKey, id.SessionToken, id.Expiration.UTC().Format(time.RFC3339), id.RoleArn})
			if err != nil {
				http.Error(w, "no session", http.StatusInternalServerError)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(body)
		}
	})
}
