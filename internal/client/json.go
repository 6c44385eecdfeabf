package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// JSON calls an operation of an AWS JSON service: target is
// "SageMaker.DescribeTrainingJob", service the signing name. A nil out drops
// the answer.
func (c *Client) JSON(ctx context.Context, service, target string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("%s: %w", target, err)
	}
	version := "1.1"
	if strings.HasPrefix(target, "GraniteServiceVersion") {
		version = "1.0"
	}
	_, op, _ := strings.Cut(target, ".")
	resp, err := c.send(ctx, call{
		service: service, operation: op, method: http.MethodPost, path: "/", body: body,
		header: http.Header{
			"Content-Type": {"application/x-amz-json-" + version},
			"X-Amz-Target": {target},
		},
	})
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end below
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("%s: reading the answer: %w", target, err)
	}
	if out == nil || len(data) == 0 {
		return nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("%s: %w", target, err)
	}
	return nil
}
