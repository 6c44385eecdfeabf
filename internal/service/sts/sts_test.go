package sts

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"clary/internal/api"
	apists "clary/internal/api/sts"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/identity"
	"clary/internal/resource"
	"clary/internal/store/sqlite"
)

const (
	account = "123456789012"
	role    = "arn:aws:iam::" + account + ":role/"
)

func TestAssumeRole(t *testing.T) {
	t.Parallel()
	dir, ctx := t.TempDir(), t.Context()
	st, err := sqlite.Open(filepath.Join(dir, "clary.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	id, err := identity.Open(identity.Config{Store: st, Dir: filepath.Join(dir, "keys"), Account: account})
	if err != nil {
		t.Fatal(err)
	}
	s := New(id)
	create := func(name, principal string, seconds int) {
		t.Helper()
		if _, err := id.CreateRole(ctx, account, identity.Role{
			Name: name, Path: "/", MaxSession: seconds,
			Trust:    `{"Statement":{"Effect":"Allow","Principal":` + principal + `,"Action":"sts:AssumeRole"}}`,
			Policies: map[string]string{"p": `{"Statement":{"Effect":"Allow","Action":["sts:*"],"Resource":"` + role + `ours*"}}`},
		}); err != nil {
			t.Fatal(err)
		}
	}
	create("ours", `{"AWS":"`+account+`"}`, 7200)
	create("service", `{"Service":"sagemaker.amazonaws.com"}`, 3600)
	create("other", `{"AWS":"`+account+`"}`, 3600)
	_, root, err := id.Secret(ctx, id.Root().AccessKeyID, "")
	if err != nil {
		t.Fatal(err)
	}
	ask := func(p resource.Principal, name string, seconds int64) (*apists.AssumeRoleResponse, string) {
		in := &apists.AssumeRoleRequest{RoleArn: name, RoleSessionName: "session"}
		if seconds > 0 {
			in.DurationSeconds = api.Ptr(seconds)
		}
		out, err := s.AssumeRole(ctx, op.Call{Account: account, Principal: p}, in)
		if e, ok := errors.AsType[*apierr.Error](err); ok {
			return nil, e.Code
		}
		if err != nil {
			t.Fatal(err)
		}
		return out, ""
	}
	out, failed := ask(root, role+"ours", 7200)
	if failed != "" {
		t.Fatal(failed)
	}
	if left := time.Until(out.Credentials.Expiration.Time); left < 7100*time.Second || left > 7200*time.Second {
		t.Error(left)
	}
	secret, p, err := id.Secret(ctx, out.Credentials.AccessKeyId, out.Credentials.SessionToken)
	if err != nil || secret != out.Credentials.SecretAccessKey || p.Arn != "arn:aws:sts::123456789012:assumed-role/ours/session" || p.Arn != out.AssumedRoleUser.Arn || p.UserID != out.AssumedRoleUser.AssumedRoleId {
		t.Errorf("%+v %v", p, err)
	}
	me, err := s.GetCallerIdentity(ctx, op.Call{Account: account, Principal: p}, nil)
	if err != nil || me.Arn != p.Arn || me.Account != account || me.UserId != p.UserID {
		t.Errorf("%+v %v", me, err)
	}
	for _, c := range []struct {
		why     string
		who     resource.Principal
		role    string
		seconds int64
		want    string
	}{
		{"an unknown role of one's own", root, role + "placeholder", 0, ""},
		{"longer than the role allows", root, role + "ours", 7201, "ValidationError"},
		{"trusts a service only", root, role + "service", 0, "AccessDenied"},
		{"another account's", root, "arn:aws:iam::999999999999:role/x", 0, "AccessDenied"},
		{"role to role", p, role + "ours", 3600, ""},
		{"role to role, too long", p, role + "ours", 3601, "ValidationError"},
		{"role to role, not allowed", p, role + "other", 0, "AccessDenied"},
		{"no ARN", root, "nonsense-that-is-no-arn", 0, "ValidationException"},
	} {
		if _, failed := ask(c.who, c.role, c.seconds); failed != c.want {
			t.Errorf("%s: %q", c.why, failed)
		}
	}
}
