package server

import (
	"net/http"
	"time"

	"github.com/go-json-experiment/json"

	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/meter"
	"clary/internal/service/costexplorer"
)

// proofPath answers GET /_clary/proof: the account's ledger reckoned once more,
// against its bill, the running sums and Cost Explorer. It tells of everything
// that the account has, so whoever asks may list every kind.
func (r *rooms) proofPath(w http.ResponseWriter, req *http.Request, c op.Call) {
	w.Header().Set("Content-Type", "application/json")
	for _, k := range kindActions() {
		if err := r.ids.Allow(req.Context(), c.Principal, k.action, "*"); err != nil {
			writeError(w, err)
			return
		}
	}
	if req.Method != http.MethodGet {
		writeError(w, apierr.New(http.StatusMethodNotAllowed, "MethodNotAllowed", "Only GET is allowed here."))
		return
	}
	proof, err := meter.Verify(req.Context(), r.store, r.books, c.Account, time.Now().UTC(),
		r.sums.Witness(), costexplorer.New(r.store, r.sums, r.books).Witness())
	if err != nil {
		writeError(w, err)
		return
	}
	_ = json.MarshalWrite(w, proof) // the client is gone if it fails
}
