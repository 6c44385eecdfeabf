package launch

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"clary/internal/client"
	"clary/internal/stage/archive"
)

// What an archive of sources may hold. Sources are small; a bomb is not.
const (
	maxBytes   = 8 << 30
	maxEntries = 200_000
)

// fetch brings the sources to the code folder, unless something is there.
func (l *launcher) fetch(ctx context.Context, source string) error {
	entries, err := os.ReadDir(l.code)
	if err != nil {
		return err
	}
	if len(entries) > 0 {
		return nil
	}
	if strings.HasPrefix(source, "s3://") {
		return l.fetchS3(ctx, source)
	}
	fi, err := os.Stat(source)
	if err != nil {
		return badRequest("sagemaker_submit_directory: %v", err)
	}
	if fi.IsDir() {
		if filepath.Clean(source) == filepath.Clean(l.code) {
			return nil
		}
		return copyTree(source, l.code)
	}
	f, err := os.Open(source)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // read only
	start := bufio.NewReader(f)
	if magic, _ := start.Peek(2); len(magic) == 2 && magic[0] == 0x1f && magic[1] == 0x8b {
		return l.unpack(start)
	}
	return copyFile(source, filepath.Join(l.code, filepath.Base(source)), fi.Mode())
}

func (l *launcher) fetchS3(ctx context.Context, uri string) error {
	bucket, key, err := client.ParseURI(uri)
	if err != nil {
		return badRequest("sagemaker_submit_directory: %v", err)
	}
	endpoint := l.env["S3_ENDPOINT_URL"]
	if endpoint == "" {
		endpoint = l.env["AWS_ENDPOINT_URL"]
	}
	if endpoint == "" {
		return badRequest("the sources are at %s, but this container has no way to S3; with network isolation they come as a channel, or in the model's archive", uri)
	}
	region := l.env["AWS_REGION"]
	if region == "" {
		region = l.env["SAGEMAKER_REGION"]
	}
	c := client.New(client.Config{Endpoint: endpoint, Region: region, Credentials: l.credentials}).
		Patient(10*time.Minute, nil)
	defer c.Close()
	body, _, err := c.Get(ctx, bucket, key)
	if client.IsNotFound(err) {
		return badRequest("the sources %s do not exist: %v", uri, err)
	}
	if client.IsDenied(err) {
		return badRequest("the role may not read the sources %s: it needs \"s3:GetObject\". S3 said: %v", uri, err)
	}
	if err != nil {
		return fmt.Errorf("fetching %s: %w", uri, err)
	}
	defer body.Close() //nolint:errcheck // read to its end
	if err := l.unpack(body); err != nil {
		return fmt.Errorf("unpacking %s: %w", uri, err)
	}
	return nil
}

// credentials are those that any SDK in the task would find.
func (l *launcher) credentials(ctx context.Context) (client.Credentials, error) {
	if id := l.env["AWS_ACCESS_KEY_ID"]; id != "" {
		return client.Credentials{AccessKeyID: id, SecretAccessKey: l.env["AWS_SECRET_ACCESS_KEY"], SessionToken: l.env["AWS_SESSION_TOKEN"]}, nil
	}
	uri := l.env["AWS_CONTAINER_CREDENTIALS_FULL_URI"]
	if uri == "" {
		rel := l.env["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"]
		if rel == "" {
			return client.Credentials{}, errors.New("this container has no credentials")
		}
		uri = "http://169.254.170.2" + rel
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, uri, nil)
	if err != nil {
		return client.Credentials{}, err
	}
	direct := &http.Transport{Proxy: nil}
	defer direct.CloseIdleConnections()
	resp, err := (&http.Client{Transport: direct, Timeout: 30 * time.Second}).Do(r)
	if err != nil {
		return client.Credentials{}, errors.New("the credentials endpoint does not answer") // its path is a secret
	}
	defer resp.Body.Close() //nolint:errcheck // decoded below
	var out struct {
		AccessKeyID     string `json:"AccessKeyId"`
		SecretAccessKey string
		Token           string
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&out); err != nil || resp.StatusCode != http.StatusOK {
		return client.Credentials{}, fmt.Errorf("the credentials endpoint answered %d", resp.StatusCode)
	}
	return client.Credentials{AccessKeyID: out.AccessKeyID, SecretAccessKey: out.SecretAccessKey, SessionToken: out.Token}, nil
}

// unpack extracts a tar.gz into the code folder.
func (l *launcher) unpack(r io.Reader) error {
	root, err := os.OpenRoot(l.code)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // files are closed one by one
	err = archive.Unpack(root, r, archive.Options{
		What: "the sources", Bytes: maxBytes, Entries: maxEntries,
		Skipped: func(format string, args ...any) { l.say("WARNING", format, args...) },
	})
	if e, ok := errors.AsType[*archive.Error](err); ok {
		return badRequest("%s", e.Error())
	}
	return err
}

// copyTree copies files and folders; links become what they lead to.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, p)
		if err != nil {
			return err
		}
		dst := filepath.Join(to, rel)
		if d.IsDir() {
			return os.MkdirAll(dst, 0o777)
		}
		fi, err := os.Stat(p)
		if err != nil || !fi.Mode().IsRegular() {
			return nil //nolint:nilerr // a dangling link or a pipe is no source
		}
		return copyFile(p, dst, fi.Mode())
	})
}

func copyFile(from, to string, mode fs.FileMode) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // read only
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode.Perm()|0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
