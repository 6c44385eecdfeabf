package cli

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"clary/internal/client"
)

// writer is what has a log: a job or an endpoint.
type writer struct {
	group, prefix string
	look          func(ctx context.Context, c *client.Client, name string) (standing, error)
	// host is who writes to a stream, and whether that is of the thing that was
	// created then: others had its name before.
	host func(s foundStream, created epoch) (host string, own bool)
}

// standing is how it stands.
type standing struct {
	status, text, reason string
	over                 bool
	hosts                int // as far as they are known before they write
	created              epoch
}

type foundStream struct {
	Name    string `json:"logStreamName"`
	Created int64  `json:"creationTime"` // in milliseconds
}

// findWriter finds a job or an endpoint by its name, among all or those of word.
func findWriter(ctx context.Context, c *client.Client, word, name string) (writer, error) {
	var kind jobKind
	switch word {
	case "", "training", "processing", "transform":
		var err error
		if kind, err = findJob(ctx, c, word, name); err != nil {
			return writer{}, err
		}
		if word == "" {
			break
		}
		if kind == "" {
			return writer{}, fmt.Errorf("no %s job %s", word, name)
		}
		return writerOfJob(kind, name), nil
	case "endpoint":
	default:
		return writer{}, fmt.Errorf("--kind %s: want training, processing, transform or endpoint", word)
	}
	_, err := describeEndpoint(ctx, c, name)
	switch {
	case err == nil && kind != "":
		return writer{}, fmt.Errorf("both a job and an endpoint are named %s: say --kind %s or --kind endpoint", name, kind.word())
	case err == nil:
		return writerOfEndpoint(name), nil
	case kind != "":
		return writerOfJob(kind, name), nil
	case !noEndpoint(err):
		return writer{}, err
	case word != "":
		return writer{}, fmt.Errorf("no endpoint %s", name)
	}
	return writer{}, fmt.Errorf("no job or endpoint %s", name)
}

func writerOfJob(k jobKind, name string) writer {
	return writer{
		group: k.logGroup(), prefix: name + "/",
		look: func(ctx context.Context, c *client.Client, name string) (standing, error) {
			j, err := describeJob(ctx, c, k, name)
			if err != nil {
				return standing{}, err
			}
			s := standing{status: j.Status, text: cmp.Or(j.Step, j.Status), reason: j.FailureReason, over: j.over(), hosts: j.hosts, created: j.Created}
			if j.Message != "" {
				s.text += ", " + j.Message
			}
			return s, nil
		},
		host: func(s foundStream, created epoch) (string, bool) { // NAME/algo-1-SECONDS, and /WRITER where there are several
			_, host, _ := strings.Cut(s.Name, "/")
			host, part, more := strings.Cut(host, "/")
			host, own := strings.CutSuffix(host, fmt.Sprint("-", int64(created)))
			if more {
				host += "/" + part
			}
			return host, own
		},
	}
}

func writerOfEndpoint(name string) writer {
	var created epoch
	return writer{
		group: "/aws/sagemaker/Endpoints/" + name,
		look: func(ctx context.Context, c *client.Client, name string) (standing, error) {
			e, err := describeEndpoint(ctx, c, name)
			if noEndpoint(err) || err == nil && created != 0 && created != e.CreationTime {
				return standing{status: "Deleted", over: true, created: created}, nil
			}
			if err != nil {
				return standing{}, err
			}
			created = e.CreationTime
			return standing{status: e.EndpointStatus, text: e.EndpointStatus, reason: e.FailureReason, over: e.EndpointStatus == "Failed", created: created}, nil
		},
		host: func(s foundStream, created epoch) (string, bool) { // VARIANT/INSTANCE
			return s.Name, s.Created == 0 || s.Created >= created.time().UnixMilli()
		},
	}
}
