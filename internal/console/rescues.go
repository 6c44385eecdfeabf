package console

import (
	"cmp"
	"net/url"
	"slices"
	"strings"
	"time"

	"clary/internal/api/s3"
)

const (
	rescuePrefix = "clary-rescue/"
	rescueTime   = "20060102T150405Z"
	shownRescues = 10
	rescueKeys   = 1000 // of which a page looks for the newest
)

// kept is what a deletion kept of a notebook instance.
type kept struct {
	Instance, Path string // Path is of its manifest's page
	At             time.Time
	Files          int
	Size           int64
}

type rescuesBody struct {
	URI  string // where all are
	List []kept // the newest first
	More bool
}

// rescueURI is where what is kept of an instance goes, "" of all.
func (v *view) rescueURI(name string) string {
	uri := "s3://sagemaker-" + v.call.Region + "-" + v.call.Account + "/" + rescuePrefix
	if name != "" {
		uri += name + "/"
	}
	return uri
}

// rescues lists them as whoever signed in; who may not list the bucket is told
// of none, as is who has no such bucket.
func (v *view) rescues() (*rescuesBody, error) {
	body := &rescuesBody{URI: v.rescueURI("")}
	bucket, prefix, _ := splitURI(body.URI)
	out, err := ask[s3.ListObjectsV2Output](v, "s3", "ListObjectsV2", &s3.ListObjectsV2Request{Bucket: bucket, Prefix: prefix, MaxKeys: ptr(rescueKeys)})
	if _, no := refused(err); no {
		return body, nil
	}
	if err != nil {
		return nil, err
	}
	folders := map[string]*kept{}
	for _, o := range out.Contents {
		parts := strings.Split(o.Key, "/")
		if len(parts) != 4 {
			continue
		}
		stamp, _, _ := strings.Cut(parts[2], "-")
		at, err := time.Parse(rescueTime, stamp)
		if err != nil {
			continue
		}
		folder := parts[1] + "/" + parts[2]
		k := folders[folder]
		if k == nil {
			k = &kept{Instance: parts[1], At: at}
			folders[folder] = k
		}
		if parts[3] == "manifest.json" {
			k.Path = "/object?" + url.Values{"uri": {"s3://" + bucket + "/" + o.Key}}.Encode()
		} else if k.Files++; o.Size != nil {
			k.Size += *o.Size
		}
	}
	for _, k := range folders {
		if k.Path != "" {
			body.List = append(body.List, *k)
		}
	}
	slices.SortFunc(body.List, func(a, b kept) int { return cmp.Or(b.At.Compare(a.At), cmp.Compare(a.Path, b.Path)) })
	body.More = len(body.List) > shownRescues || out.IsTruncated != nil && *out.IsTruncated
	body.List = body.List[:min(len(body.List), shownRescues)]
	return body, nil
}
