package logs

import (
	"context"
	"encoding/base64"
	"strings"

	apilogs "clary/internal/api/logs"
	"clary/internal/aws/op"
	"clary/internal/logs"
)

const (
	standard = "STANDARD"
	pageSize = 50 // of groups and streams, the most and the default
)

// CreateLogGroup makes a group.
func (l *Logs) CreateLogGroup(ctx context.Context, c op.Call, in *apilogs.CreateLogGroupRequest) (*struct{}, error) {
	switch {
	case strings.HasPrefix(in.LogGroupName, "aws/"):
		return nil, invalid("Log groups starting with AWS/ are reserved for AWS.")
	case in.LogGroupClass != "" && in.LogGroupClass != standard:
		return nil, invalid("Clary keeps log groups of class STANDARD only. No log group was created.")
	case in.KmsKeyId != "", len(in.Tags) > 0, in.DeletionProtectionEnabled != nil && *in.DeletionProtectionEnabled:
		return nil, invalid("Clary supports neither kmsKeyId, tags nor deletionProtectionEnabled of log groups. No log group was created.")
	}
	return nil, failed(l.cfg.Store.CreateGroup(ctx, c.Account, c.Region, in.LogGroupName))
}

// DeleteLogGroup deletes a group and all in it.
func (l *Logs) DeleteLogGroup(ctx context.Context, c op.Call, in *apilogs.DeleteLogGroupRequest) (*struct{}, error) {
	return nil, failed(l.cfg.Store.DeleteGroup(ctx, c.Account, c.Region, in.LogGroupName))
}

// DescribeLogGroups lists groups by name.
func (l *Logs) DescribeLogGroups(ctx context.Context, c op.Call, in *apilogs.DescribeLogGroupsRequest) (*apilogs.DescribeLogGroupsResponse, error) {
	if in.LogGroupNamePrefix != "" && in.LogGroupNamePattern != "" {
		return nil, invalid("LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.")
	}
	after, err := open("g", in.NextToken)
	if err != nil {
		return nil, err
	}
	keep, err := kept(c, in)
	if err != nil {
		return nil, err
	}
	limit := size(in.Limit)
	out := &apilogs.DescribeLogGroupsResponse{LogGroups: []apilogs.LogGroup{}}
	for {
		page, err := l.cfg.Store.Groups(ctx, c.Account, c.Region, in.LogGroupNamePrefix, after, limit+1)
		if err != nil {
			return nil, failed(err)
		}
		for _, g := range page {
			if !keep(g.Name) {
				continue
			}
			if len(out.LogGroups) == limit {
				out.NextToken = seal("g", out.LogGroups[limit-1].LogGroupName)
				return out, nil
			}
			out.LogGroups = append(out.LogGroups, describe(c, g))
		}
		if len(page) <= limit {
			return out, nil
		}
		after = page[len(page)-1].Name
	}
}

// kept says which groups the request wants beyond the prefix.
func kept(c op.Call, in *apilogs.DescribeLogGroupsRequest) (func(name string) bool, error) {
	if in.LogGroupClass != "" && in.LogGroupClass != standard {
		return func(string) bool { return false }, nil
	}
	var only map[string]bool
	if len(in.LogGroupIdentifiers) > 0 {
		only = make(map[string]bool)
		for _, id := range in.LogGroupIdentifiers {
			name, err := group(c, "", id)
			if err != nil {
				return nil, err
			}
			only[name] = true
		}
	}
	pattern := strings.ToLower(in.LogGroupNamePattern)
	return func(name string) bool {
		return (only == nil || only[name]) && strings.Contains(strings.ToLower(name), pattern)
	}, nil
}

func describe(c op.Call, g logs.GroupInfo) apilogs.LogGroup {
	created, bytes, filters := g.Created.UnixMilli(), g.Bytes, int64(0)
	return apilogs.LogGroup{
		LogGroupName: g.Name, CreationTime: &created, StoredBytes: &bytes, MetricFilterCount: &filters,
		Arn: groupArn(c, g.Name), LogGroupArn: bareArn(c, g.Name), LogGroupClass: standard,
	}
}

func size(limit *int64) int {
	if limit == nil {
		return pageSize
	}
	return int(*limit)
}

// seal makes a page token of what a listing goes on after; kind keeps the
// tokens of different listings apart.
func seal(kind, after string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(kind + after))
}

func open(kind, token string) (after string, err error) {
	if token == "" {
		return "", nil
	}
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return "", badToken()
	}
	after, ok := strings.CutPrefix(string(b), kind)
	if !ok || after == "" {
		return "", badToken()
	}
	return after, nil
}
