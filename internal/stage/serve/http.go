package serve

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// pingPatience is less than the two seconds that /ping has on SageMaker.
const pingPatience = 1500 * time.Millisecond

func (s *server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ping", func(w http.ResponseWriter, r *http.Request) {
		if !s.pool.ready(r.Context(), pingPatience) {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("POST /invocations", s.answer)
	mux.HandleFunc("GET /execution-parameters", s.answer)
	return mux
}

// answer has a worker answer, and writes a line to the log as gunicorn does.
func (s *server) answer(w http.ResponseWriter, r *http.Request) {
	status, size := s.invoke(w, r)
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	// A log that cannot be written stops nothing.
	_, _ = fmt.Fprintf(s.out, "%s - - [%s] \"%s %s %s\" %d %d \"-\" %q\n",
		host, time.Now().UTC().Format("02/Jan/2006:15:04:05 -0700"), r.Method, r.URL.Path, r.Proto, status, size, or(r.UserAgent(), "-"))
}

func (s *server) invoke(w http.ResponseWriter, r *http.Request) (status, size int) {
	body, err := read(w, r, s.most)
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return refuse(w, http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", "the request is larger than %d bytes", s.most)
	}
	if err != nil {
		return refuse(w, http.StatusBadRequest, "BadRequest", "the request broke off: %v", err)
	}
	q := request{
		Path:        r.URL.Path,
		ContentType: or(r.Header.Get("ContentType"), r.Header.Get("Content-Type")),
		Accept:      r.Header.Get("Accept"),
	}
	for name, values := range r.Header {
		for _, v := range values {
			q.Headers = append(q.Headers, [2]string{name, v})
		}
	}
	out, err := s.pool.do(r.Context(), q, body, s.timeout)
	switch {
	case errors.Is(err, errLate):
		return refuse(w, http.StatusGatewayTimeout, "Timeout", "the model did not answer within %s, which SAGEMAKER_MODEL_SERVER_TIMEOUT sets; its worker is started again", s.timeout)
	case r.Context().Err() != nil:
		return 499, 0 // nobody is there any more
	case err != nil:
		return refuse(w, http.StatusBadGateway, "WorkerDied", "the worker that had the request %v; it is started again", err)
	}
	if out.Status < 200 || out.Status > 599 {
		return refuse(w, http.StatusInternalServerError, "BadStatus", "the script answered with the status %d", out.Status)
	}
	for _, h := range out.Headers {
		w.Header().Add(h[0], h[1])
	}
	if w.Header().Get("Content-Type") == "" {
		w.Header()["Content-Type"] = nil // none is guessed
	}
	w.WriteHeader(out.Status)
	n, _ := w.Write(out.body) // who does not take it does not get it
	return out.Status, n
}

// read reads a body of at most most bytes.
func read(w http.ResponseWriter, r *http.Request, most int64) ([]byte, error) {
	from := http.MaxBytesReader(w, r.Body, most)
	if n := r.ContentLength; n > 0 && n <= most {
		body := make([]byte, n)
		_, err := io.ReadFull(from, body)
		return body, err
	}
	return io.ReadAll(from)
}

func refuse(w http.ResponseWriter, status int, code, format string, args ...any) (int, int) {
	body, err := json.Marshal(map[string]string{"error": code, "error-message": fmt.Sprintf(format, args...)})
	if err != nil {
		return status, 0
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	n, _ := w.Write(body) // who does not take it does not get it
	return status, n
}

func or(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}
