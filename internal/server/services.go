package server

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"clary/internal/aws/codec"
	"clary/internal/aws/codec/awsjson"
	"clary/internal/aws/codec/cbor"
	"clary/internal/aws/codec/query"
	"clary/internal/aws/codec/restjson"
	"clary/internal/aws/codec/restxml"
	"clary/internal/aws/op"
	"clary/internal/compute/sandbox/relay"
	"clary/internal/feature/coderepository"
	"clary/internal/feature/endpointconfig"
	"clary/internal/feature/lifecycle"
	"clary/internal/feature/model"
	"clary/internal/feature/tagging"
	"clary/internal/front"
	"clary/internal/service/cloudtrail"
	"clary/internal/service/costexplorer"
	"clary/internal/service/iam"
	"clary/internal/service/logs"
	"clary/internal/service/s3"
	"clary/internal/service/sagemakermetrics"
	"clary/internal/service/sts"
)

// services are all that answer operations.
func (r *rooms) services() []op.Service {
	return []op.Service{
		r.training,
		r.processing,
		r.transform,
		r.notebooks,
		r.endpoints,
		coderepository.New(r.store),
		lifecycle.New(r.store),
		model.New(r.store, r.ids),
		endpointconfig.New(r.store, r.ids),
		tagging.New(r.store),
		s3.New(r.blobs, r.ids),
		sts.New(r.ids),
		iam.New(r.ids),
		logs.New(logs.Config{Store: r.logs, OnRead: r.logRead}),
		r.watch,
		cloudtrail.New(r.store),
		sagemakermetrics.New(r.store, r.metrics, r.samples),
		r.router,
		r.secrets,
		costexplorer.New(r.store, r.sums, r.books),
		r.topics,
		r.budgets,
	}
}

func (r *rooms) frontConfig(addr string) (front.Config, error) {
	token, err := proxyToken(r.path("keys"))
	if err != nil {
		return front.Config{}, err
	}
	p := hostProxy(addr)
	out := relay.NewProxy(relay.Proxy{
		Guard:     &relay.Guard{Own: relay.OwnAddresses},
		HTTPProxy: p.http, HTTPSProxy: p.https, NoProxy: p.no,
	})
	return front.Config{
		Services: r.services(),
		Codecs: map[string]codec.Codec{
			"json-1.0": awsjson.New("1.0"), "json": awsjson.New("1.1"), "query": query.New(), "rest-xml": restxml.New(), "rest-json": restjson.New().WithPayload(r.cfg.InvokePayload),
			"smithy-rpc-v2-cbor": cbor.New(),
		},
		Keys: r.ids, Auth: r.ids, Region: r.cfg.Region, MaxPayload: r.cfg.InvokePayload, InFlight: r.cfg.InvokeInFlight, Log: r.log, CA: r.ca, Token: token, Tunnel: out.DialTunnel,
	}, nil
}

// tokenFile holds the CONNECT proxy's token, for the CLI.
const tokenFile = "proxy.token"

// proxyToken reads the proxy's token, and makes it at the first start.
func proxyToken(dir string) (string, error) {
	path := filepath.Join(dir, tokenFile)
	b, err := os.ReadFile(path)
	if err == nil && len(b) > 0 {
		return strings.TrimSpace(string(b)), nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	var raw [24]byte
	_, _ = rand.Read(raw[:])
	token := base64.RawURLEncoding.EncodeToString(raw[:])
	return token, os.WriteFile(path, []byte(token), 0o600)
}

type proxies struct{ http, https, no string }

// hostProxy is the machine's own way out, from the environment; never our own
// proxy, which a shell set up by `clary env` names.
func hostProxy(addr string) proxies {
	get := func(name string) string {
		v := os.Getenv(name)
		if v == "" {
			v = os.Getenv(strings.ToLower(name))
		}
		if u, err := url.Parse(v); err == nil && (u.User.Username() == "clary" || u.Host == addr) {
			return ""
		}
		return v
	}
	return proxies{get("HTTP_PROXY"), get("HTTPS_PROXY"), os.Getenv("NO_PROXY")}
}
