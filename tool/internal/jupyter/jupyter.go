// Package jupyter drives the JupyterLab of a notebook instance from a program,
// by the kernels' WebSockets, as a browser does from a page.
package jupyter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"clary/internal/client/jupyter"
)

// Lab is a session with one instance.
type Lab struct{ *jupyter.Lab }

// Open opens a session by a presigned URL; addr is where the server listens.
func Open(ctx context.Context, link, addr string) (*Lab, error) {
	l, err := jupyter.Open(ctx, link, addr)
	return &Lab{l}, err
}

// cell of a notebook, as its file has it: the source is text or lines.
type cell struct {
	Type   string `json:"cell_type"`
	Source any    `json:"source"`
}

func (c cell) text() string {
	switch s := c.Source.(type) {
	case string:
		return s
	case []any:
		var b strings.Builder
		for _, line := range s {
			fmt.Fprint(&b, line)
		}
		return b.String()
	}
	return ""
}

// Run runs all cells of a notebook on the instance, in a kernel of the kind
// that it names, and hands each line that they print to say. It ends at the
// first cell that fails.
func (l *Lab) Run(ctx context.Context, name string, say func(line string)) error {
	var nb struct {
		Content struct {
			Cells    []cell `json:"cells"`
			Metadata struct {
				Kernelspec struct {
					Name string `json:"name"`
				} `json:"kernelspec"`
			} `json:"metadata"`
		} `json:"content"`
	}
	if err := l.Do(ctx, http.MethodGet, "api/contents/"+name, nil, &nb); err != nil {
		return err
	}
	k, err := l.kernel(ctx, name, nb.Content.Metadata.Kernelspec.Name)
	if err != nil {
		return err
	}
	defer k.close()
	for i, c := range nb.Content.Cells {
		switch c.Type {
		case "markdown":
			title, _, _ := strings.Cut(c.text(), "\n")
			say(title)
		case "code":
			if err := k.execute(i, c.text(), say); err != nil {
				return fmt.Errorf("%s, cell %d: %w", name, i+1, err)
			}
		}
	}
	return nil
}

// kernel is one kernel with a notebook's session, and its socket.
type kernel struct {
	conn    net.Conn
	in      io.ReadWriter
	forget  func()
	pending string // a line that has not ended
}

func (l *Lab) kernel(ctx context.Context, notebook, kind string) (*kernel, error) {
	var s struct {
		ID     string
		Kernel struct{ ID string }
	}
	want := map[string]any{"path": notebook, "name": notebook, "type": "notebook", "kernel": map[string]string{"name": kind}}
	if err := l.Do(ctx, http.MethodPost, "api/sessions", want, &s); err != nil {
		return nil, err
	}
	to := strings.Replace(l.At("api/kernels/"+s.Kernel.ID+"/channels"), "http", "ws", 1)
	d := ws.Dialer{NetDial: l.Dial, Header: ws.HandshakeHeaderHTTP(l.Header()), Timeout: 30 * time.Second}
	conn, early, _, err := d.Dial(ctx, to)
	if err != nil {
		return nil, fmt.Errorf("the kernel's socket: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // ends a read
	k := &kernel{conn: conn, in: conn, forget: func() {
		stop()
		_ = l.Do(context.WithoutCancel(ctx), http.MethodDelete, "api/sessions/"+s.ID, nil, nil)
	}}
	if early != nil { // frames that came with the handshake
		k.in = struct {
			io.Reader
			io.Writer
		}{early, conn}
	}
	return k, nil
}

func (k *kernel) close() {
	_ = k.conn.Close() // the session ends with the next line
	k.forget()
}

// message is one of Jupyter's protocol 5.3, in its JSON form.
type message struct {
	Header  map[string]any `json:"header"`
	Parent  map[string]any `json:"parent_header"`
	Meta    map[string]any `json:"metadata"`
	Type    string         `json:"msg_type,omitempty"`
	Channel string         `json:"channel"`
	Content map[string]any `json:"content"`
}

// execute runs code and waits until the kernel is idle again.
func (k *kernel) execute(n int, code string, say func(string)) error {
	id := fmt.Sprintf("cell-%d", n)
	b, err := json.Marshal(message{
		Header: map[string]any{"msg_id": id, "msg_type": "execute_request", "session": "s", "username": "", "version": "5.3", "date": time.Now().UTC().Format(time.RFC3339)},
		Parent: map[string]any{}, Meta: map[string]any{}, Channel: "shell",
		Content: map[string]any{"code": code, "silent": false, "store_history": true, "user_expressions": map[string]any{}, "allow_stdin": false, "stop_on_error": true},
	})
	if err != nil {
		return err
	}
	if err := wsutil.WriteClientText(k.conn, b); err != nil {
		return err
	}
	var failed error
	for {
		text, err := wsutil.ReadServerText(k.in)
		if err != nil {
			return fmt.Errorf("the kernel's socket: %w", err)
		}
		var m message
		if err := json.Unmarshal(text, &m); err != nil {
			return err
		}
		if m.Parent["msg_id"] != id {
			continue
		}
		switch m.Type {
		case "stream":
			k.print(fmt.Sprint(m.Content["text"]), say)
		case "execute_result", "display_data":
			data, _ := m.Content["data"].(map[string]any)
			if png, ok := data["image/png"].(string); ok {
				say(fmt.Sprintf("[a picture of %d kB]", len(png)*3/4/1000))
			} else if plain, ok := data["text/plain"].(string); ok {
				k.print(plain+"\n", say)
			}
		case "error":
			failed = errors.New(fmt.Sprint(m.Content["ename"], ": ", m.Content["evalue"]))
		case "status":
			if m.Content["execution_state"] == "idle" {
				if k.pending != "" {
					k.print("\n", say)
				}
				return failed
			}
		}
	}
}

// print hands on whole lines.
func (k *kernel) print(text string, say func(string)) {
	lines := strings.Split(k.pending+text, "\n")
	for _, line := range lines[:len(lines)-1] {
		say(line)
	}
	k.pending = lines[len(lines)-1]
}
