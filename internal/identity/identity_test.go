package identity

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"clary/internal/aws/apierr"
	"clary/internal/resource"
	"clary/internal/store/sqlite"
)

const account = "123456789012"

func open(t *testing.T, dir string, strict bool) *Identity {
	t.Helper()
	s, err := sqlite.Open(filepath.Join(dir, "clary.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	i, err := Open(Config{Store: s, Dir: filepath.Join(dir, "keys"), Account: account, StrictRoles: strict})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func code(err error) string {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*apierr.Error](err); ok {
		return e.Code
	}
	return err.Error()
}

func TestKeysSurviveRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, err := Open(Config{Dir: dir, Account: account})
	if err != nil {
		t.Fatal(err)
	}
	token, err := first.sealSession(session{Key: "ASIAX", Secret: "s", Role: "arn:aws:iam::" + account + ":role/p/R", RoleID: "AROA1", Name: "n", Expires: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	again, err := Open(Config{Dir: dir, Account: account})
	if err != nil {
		t.Fatal(err)
	}
	if again.Root() != first.Root() {
		t.Error("a restart made another root key")
	}
	secret, p, err := again.Secret(t.Context(), "ASIAX", token)
	if err != nil || secret != "s" || p.Arn != "arn:aws:sts::"+account+":assumed-role/R/n" || p.UserID != "AROA1:n" || p.Root {
		t.Errorf("session after a restart: %q, %+v, %v", secret, p, err)
	}
	for _, name := range []string{rootFile, sessionFile} {
		if fi, err := os.Stat(filepath.Join(dir, name)); err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", name, fi.Mode(), err)
		}
	}
}

func TestSecretRefuses(t *testing.T) {
	t.Parallel()
	i := open(t, t.TempDir(), false)
	role := "arn:aws:iam::" + account + ":role/R"
	good, err := i.Assume(t.Context(), role, "s", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	old, err := i.Assume(t.Context(), role, "s", -time.Second)
	if err != nil {
		t.Fatal(err)
	}
	flipped := []byte(good.SessionToken)
	flipped[len(flipped)/2] ^= 1
	for name, tc := range map[string]struct{ key, token, want string }{
		"good":              {good.AccessKeyID, good.SessionToken, ""},
		"unknown key":       {"AKIAUNKNOWN", "", "InvalidClientTokenId"},
		"session, no token": {good.AccessKeyID, "", "InvalidClientTokenId"},
		"other key's token": {old.AccessKeyID, good.SessionToken, "InvalidClientTokenId"},
		"root with a token": {i.Root().AccessKeyID, good.SessionToken, "InvalidClientTokenId"},
		"altered token":     {good.AccessKeyID, string(flipped), "InvalidClientTokenId"},
		"garbage":           {good.AccessKeyID, "%%%", "InvalidClientTokenId"},
		"expired":           {old.AccessKeyID, old.SessionToken, "ExpiredToken"},
	} {
		if _, _, err := i.Secret(t.Context(), tc.key, tc.token); code(err) != tc.want {
			t.Errorf("%s: %q, want %q", name, code(err), tc.want)
		}
	}
}

func principal(role string) resource.Principal {
	return resource.Principal{Account: account, RoleArn: role, Arn: sessionArn(role, "s")}
}

func TestAllowAndPassRole(t *testing.T) {
	t.Parallel()
	i := open(t, t.TempDir(), false)
	ctx := t.Context()
	const trust = `{"Statement":{"Effect":"Allow","Principal":{"Service":"%s"},"Action":"sts:AssumeRole"}}`
	narrow, err := i.CreateRole(ctx, account, Role{
		Name: "narrow", Path: "/", Trust: strings.ReplaceAll(trust, "%s", "sagemaker.amazonaws.com"),
		Policies: map[string]string{"p": `{"Statement":[{"Effect":"Allow","Action":["sagemaker:*","iam:PassRole"],"Resource":"*"},{"Effect":"Deny","Action":"sagemaker:DeleteModel","Resource":"*"}]}`},
	})
	if err != nil {
		t.Fatal(err)
	}
	lambda, err := i.CreateRole(ctx, account, Role{Name: "lambda", Path: "/", Trust: strings.ReplaceAll(trust, "%s", "lambda.amazonaws.com")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := i.CreateRole(ctx, account, Role{Name: "lambda", Path: "/x/", Trust: lambda.Trust}); code(err) != "EntityAlreadyExists" {
		t.Errorf("second role of a name: %v", err)
	}
	who := principal(narrow.Arn)
	if err := i.Allow(ctx, who, "sagemaker:CreateTrainingJob", "r"); err != nil {
		t.Error(err)
	}
	err = i.Allow(ctx, who, "s3:GetObject", "arn:aws:s3:::b/k")
	want := "User: arn:aws:sts::123456789012:assumed-role/narrow/s is not authorized to perform: s3:GetObject on resource: arn:aws:s3:::b/k because no identity-based policy allows the s3:GetObject action"
	if e, ok := errors.AsType[*apierr.Error](err); !ok || e.Message != want {
		t.Errorf("implicit deny: %v", err)
	}
	if err := i.Allow(ctx, who, "sagemaker:DeleteModel", "r"); err == nil || !strings.HasSuffix(err.Error(), "with an explicit deny in an identity-based policy") {
		t.Errorf("explicit deny: %v", err)
	}
	for name, tc := range map[string]struct {
		p         resource.Principal
		role, err string
	}{
		"trusted":           {who, narrow.Arn, ""},
		"trusts another":    {who, lambda.Arn, "ValidationException"},
		"unknown own role":  {who, "arn:aws:iam::" + account + ":role/whatever", ""},
		"another account's": {who, "arn:aws:iam::999999999999:role/x", "ValidationException"},
		"may not pass":      {principal(lambda.Arn), narrow.Arn, "AccessDeniedException"},
		"not an ARN":        {who, "role", "ValidationException"},
	} {
		if err := i.PassRole(ctx, tc.p, tc.role, "sagemaker.amazonaws.com"); code(err) != tc.err {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestStrictRoles(t *testing.T) {
	t.Parallel()
	i := open(t, t.TempDir(), true)
	role := "arn:aws:iam::" + account + ":role/unknown"
	if err := i.Allow(t.Context(), principal(role), "s3:GetObject", "*"); code(err) != "AccessDeniedException" {
		t.Errorf("action of an unknown role: %v", err)
	}
	root := resource.Principal{Account: account, Root: true, Arn: "arn:aws:iam::" + account + ":root"}
	if err := i.PassRole(t.Context(), root, role, "sagemaker.amazonaws.com"); code(err) != "ValidationException" {
		t.Errorf("passing an unknown role: %v", err)
	}
	if _, err := i.MayAssume(t.Context(), root, role); code(err) != "AccessDenied" {
		t.Errorf("assuming an unknown role: %v", err)
	}
}

// TestSessionOutlivesRole: a session of a role that was deleted may do nothing,
// even where unknown roles may do everything.
func TestSessionOutlivesRole(t *testing.T) {
	t.Parallel()
	i := open(t, t.TempDir(), false)
	ctx := t.Context()
	const arn = "arn:aws:iam::" + account + ":role/R"
	role := Role{Name: "R", Path: "/", Trust: sageMakerTrust, Policies: map[string]string{"p": `{"Statement":{"Effect":"Allow","Action":"s3:Get*","Resource":"*"}}`}}
	session := func() resource.Principal {
		t.Helper()
		c, err := i.Assume(ctx, arn, "se", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		_, p, err := i.Secret(ctx, c.AccessKeyID, c.SessionToken)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	before := session()
	if _, err := i.CreateRole(ctx, account, role); err != nil {
		t.Fatal(err)
	}
	during := session()
	want := func(when string, p resource.Principal, action, wanted string) {
		t.Helper()
		if err := i.Allow(ctx, p, action, "*"); code(err) != wanted {
			t.Errorf("%s, %s: %v", when, action, err)
		}
	}
	const no = "AccessDeniedException"
	want("a session from before the role", before, "s3:GetObject", "")
	want("a session from before the role", before, "s3:PutObject", no)
	want("the role's session", during, "s3:GetObject", "")
	want("the role's session", during, "s3:PutObject", no)
	if err := i.ChangeRole(ctx, account, "R", func(r *Role) error { r.Policies = nil; return nil }); err != nil {
		t.Fatal(err)
	}
	if err := i.DeleteRole(ctx, account, "R"); err != nil {
		t.Fatal(err)
	}
	want("the role is gone", during, "s3:GetObject", no)
	want("no role again", before, "s3:PutObject", "")
	if _, err := i.CreateRole(ctx, account, role); err != nil {
		t.Fatal(err)
	}
	want("another role of that name", during, "s3:GetObject", no)
	want("its own session", session(), "s3:GetObject", "")
}
