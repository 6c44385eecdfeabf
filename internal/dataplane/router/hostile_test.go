package router

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// say answers each request on a connection with a text as it stands, and leaves
// the connection open.
func say(text string) func(net.Conn) {
	return func(c net.Conn) {
		br := bufio.NewReader(c)
		for {
			r, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, r.Body)
			if _, err := io.WriteString(c, text); err != nil {
				return
			}
		}
	}
}

// endless writes a piece again and again, until nobody listens.
func endless(head, piece string) func(net.Conn) {
	return func(c net.Conn) {
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		for _, err = io.WriteString(c, head); err == nil; {
			_, err = io.WriteString(c, piece)
		}
	}
}

// Whatever a container answers is an answer or an error of the model's, and the
// next request is as good as any.
func TestHostileAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.MaxPayload = 1 << 20 })
	ok := "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
	for name, c := range map[string]struct {
		serve func(net.Conn)
		want  string // of the message; "": it is an answer
	}{
		"says nothing and leaves": {func(net.Conn) {}, "exited"},
		"no HTTP":                 {say("hello\r\n\r\n"), "is not one"},
		"an SSH server":           {func(c net.Conn) { _, _ = io.WriteString(c, "SSH-2.0-x\r\n\r\n"); _, _ = io.Copy(io.Discard, c) }, "is not one"},
		"a large head":            {say("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", maxHead) + "\r\n\r\n"), "is not one"},
		"a head without end":      {endless("HTTP/1.1 200 OK\r\n", "X: y\r\n"), "is not one"},
		"a line without end":      {endless("", "HTTP"), "is not one"},
		"interim answers alone":   {endless("", "HTTP/1.1 100 Continue\r\n\r\n"), "is not one"},
		"large interim answers":   {endless("", "HTTP/1.1 103 Early Hints\r\nX: "+strings.Repeat("x", 9000)+"\r\n\r\n"), "is not one"},
		"some interim answers":    {say("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nSet-Cookie: a=b\r\n\r\n" + ok + "\r\nok"), ""},
		"another protocol":        {say("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"), "is not one"},
		"a body too short":        {func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok") }, "exited"},
		"a body too large":        {say("HTTP/1.1 200 OK\r\nContent-Length: 1048577\r\n\r\n"), "is larger than"},
		"a length beyond all":     {say("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n"), "is not one"},
		"a negative length":       {say("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"), "is not one"},
		"two lengths":             {say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok"), "is not one"},
		"chunks without end":      {endless("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1000\r\n"+strings.Repeat("x", 4096)+"\r\n"), "is larger than"},
		"no chunks":               {say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), "is not one"},
		"a body until it closes": {func(c net.Conn) {
			_, _ = http.ReadRequest(bufio.NewReader(c))
			_, _ = io.WriteString(c, "HTTP/1.0 200 OK\r\n\r\nok")
		}, ""},
		"trailers":                  {say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n"), ""},
		"a long trailer":            {endless("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n2\r\nok\r\n0\r\nX: ", "y"), "is not one"},
		"attributes too long":       {say(ok + "X-Amzn-SageMaker-Custom-Attributes: " + strings.Repeat("x", 1025) + "\r\n\r\nok"), "is not one"},
		"a content type of no text": {say(ok + "Content-Type: a\x01b\r\n\r\nok"), "is not one"},
		"two answers":               {say(ok + "\r\nok" + ok + "\r\nno"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			id := "t-" + strings.ReplaceAll(name, " ", "-")
			w.raw(computeID(id), c.serve)
			w.put(id, one(computeID(id)))
			for range 3 {
				s := w.invoke(id, "x")
				switch {
				case c.want == "" && (s.status != 200 || s.body != "ok"):
					t.Errorf("%d %q", s.status, s.body)
				case c.want != "" && (s.status != 424 || !strings.Contains(fmt.Sprint(s.member("Message")), c.want)):
					t.Errorf("%d %s", s.status, s.body)
				}
				if s.header.Get("Set-Cookie") != "" {
					t.Error("a cookie came through")
				}
			}
		})
	}
}

// A container that answers before it has read a large body, and reads no more,
// is an answer all the same.
func TestAnswersEarly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.raw("t-1", func(c net.Conn) {
		_, _ = bufio.NewReader(c).ReadString('\n')
		_, _ = io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
		_, _ = io.Copy(io.Discard, bufio.NewReaderSize(c, 1)) // until the other side leaves
	})
	w.put("e", one("t-1"))
	if s := w.invoke("e", strings.Repeat("x", MaxPayload)); s.status != 424 || s.member("OriginalStatusCode") != 413.0 {
		t.Errorf("%d %s", s.status, s.body)
	}
}

// What a caller that is no HTTP client gives for headers ends none.
func TestHeadersEndNone(t *testing.T) {
	t.Parallel()
	for _, a := range []*ask{{contentType: "a\r\nX: y"}, {accept: "a\nb"}, {attributes: "\x00"}, {inference: "é"}, {session: "\x7f"}, {prefix: "\r"}} {
		if a.check() == nil {
			t.Errorf("%+v", a)
		}
	}
	a := &ask{contentType: "text/csv", attributes: "a\tb c"}
	if err := a.check(); err != nil {
		t.Error(err)
	}
}

// Many at a time, over connections that break, and nothing is mixed up.
func TestMany(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.container("t-1", func(rw http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if len(b)%7 == 0 {
			rw.Header().Set("Connection", "close")
		}
		if len(b)%3 == 0 {
			rw.Header().Set("Content-Length", fmt.Sprint(len(b)))
		}
		for len(b) > 0 {
			n := min(len(b), 3000)
			_, _ = rw.Write(b[:n])
			b = b[n:]
		}
	})
	w.put("e", one("t-1"))
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for i := range 20 {
				body := strings.Repeat(string(rune('a'+g)), 1+(g*7919+i*104729)%200_000)
				s, err := w.try(t.Context(), "e", []byte(body))
				if err != nil || s.status != 200 || s.body != body {
					t.Errorf("%d bytes: %d, %d bytes, %v", len(body), s.status, len(s.body), err)
				}
			}
		})
	}
	wg.Wait()
}
