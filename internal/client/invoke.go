package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// Answer is what an endpoint's model said.
type Answer struct {
	Body        []byte
	ContentType string
	Variant     string // that answered
}

// Invoke sends a request to an endpoint. A refusal is not asked again: a model
// may have done something.
func (c *Client) Invoke(ctx context.Context, endpoint string, header http.Header, body []byte) (Answer, error) {
	const operation = "InvokeEndpoint"
	resp, err := c.send(ctx, call{
		service: "sagemaker", operation: operation, method: http.MethodPost, path: "/endpoints/" + url.PathEscape(endpoint) + "/invocations",
		header: header, body: body, ok: func(int) bool { return true },
	})
	if err != nil {
		return Answer{}, err
	}
	if resp.StatusCode/100 != 2 {
		return Answer{}, readError("sagemaker", operation, resp)
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end below
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return Answer{}, fmt.Errorf("%s: reading the answer: %w", operation, err)
	}
	return Answer{b, resp.Header.Get("Content-Type"), resp.Header.Get("X-Amzn-Invoked-Production-Variant")}, nil
}
