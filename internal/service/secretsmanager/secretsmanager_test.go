package secretsmanager

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"clary/internal/api"
	apism "clary/internal/api/secretsmanager"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/identity"
	"clary/internal/resource"
	"clary/internal/store"
	"clary/internal/store/sqlite"
)

const prefix = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:"

func call() op.Call { return op.Call{Account: "123456789012", Region: "eu-west-1"} }

// serve opens the service on a folder.
func serve(t *testing.T, dir string) *Service {
	t.Helper()
	db, err := sqlite.Open(filepath.Join(dir, "clary.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	keys := filepath.Join(dir, "keys")
	if err := os.MkdirAll(keys, 0o700); err != nil {
		t.Fatal(err)
	}
	aead, err := identity.KeyFile(keys, "secrets.key")
	if err != nil {
		t.Fatal(err)
	}
	return New(db, aead)
}

// token is the nth request's.
func token(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }

func (s *Service) create(t *testing.T, name, text string, tags ...apism.Tag) *apism.CreateSecretResponse {
	t.Helper()
	out, err := s.CreateSecret(t.Context(), call(), &apism.CreateSecretRequest{Name: name, SecretString: text, ClientRequestToken: token(1), Tags: tags})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (s *Service) give(t *testing.T, id string, n int, text string, stages ...string) *apism.PutSecretValueResponse {
	t.Helper()
	out, err := s.PutSecretValue(t.Context(), call(), &apism.PutSecretValueRequest{SecretId: id, SecretString: text, ClientRequestToken: token(n), VersionStages: stages})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// get shows a value, or the error's code.
func (s *Service) get(t *testing.T, in apism.GetSecretValueRequest) string {
	t.Helper()
	out, err := s.GetSecretValue(t.Context(), call(), &in)
	if err != nil {
		return code(err)
	}
	return out.SecretString + string(out.SecretBinary)
}

func code(err error) string {
	if e, ok := errors.AsType[*apierr.Error](err); ok {
		return e.Code
	}
	return fmt.Sprint(err)
}

func refused(t *testing.T, err error, want, text string) {
	t.Helper()
	if e, ok := errors.AsType[*apierr.Error](err); !ok || e.Code != want || e.Status != 400 || !strings.Contains(e.Message, text) {
		t.Errorf("%v, want %s: %s", err, want, text)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	s := serve(t, t.TempDir())
	made := s.create(t, "git/my-secret", "one")
	if !regexp.MustCompile(`^`+prefix+`git/my-secret-[A-Za-z0-9]{6}$`).MatchString(made.ARN) || made.VersionId != token(1) || made.Name != "git/my-secret" {
		t.Errorf("%+v", made)
	}
	for id, want := range map[string]string{
		"git/my-secret": "one", made.ARN: "one", prefix + "git/my-secret": "one",
		"git/my":                        "ResourceNotFoundException",
		prefix + "git/my":               "ResourceNotFoundException",
		prefix + "git/my-secret-AAAAAA": "ResourceNotFoundException",
		strings.Replace(made.ARN, "eu-west-1", "us-east-1", 1): "ResourceNotFoundException",
		strings.Replace(made.ARN, "123456789012", "99999", 1):  "ResourceNotFoundException",
		strings.Replace(made.ARN, "secretsmanager", "ssm", 1):  "ResourceNotFoundException",
		strings.Replace(made.ARN, ":secret:", ":other:", 1):    "ResourceNotFoundException",
		"arn:aws:iam::123456789012:role/secret":                "ResourceNotFoundException",
	} {
		if got := s.get(t, apism.GetSecretValueRequest{SecretId: id}); got != want {
			t.Errorf("%s: %s, want %s", id, got, want)
		}
	}
	for id, want := range map[string]string{
		"git/my-secret": made.ARN, prefix + "git/my-secret": made.ARN, made.ARN: made.ARN,
		"new": prefix + "new-??????", prefix + "new": prefix + "new",
	} {
		if got := s.arnOf(call(), id); got != want {
			t.Errorf("policies are asked about %s for %s, want %s", got, id, want)
		}
	}
	// a name that ends like an ARN does
	s.create(t, "git/my-secret-abcdef", "two")
	if got := s.get(t, apism.GetSecretValueRequest{SecretId: prefix + "git/my-secret-abcdef"}); got != "two" {
		t.Error(got)
	}
	if again := s.create(t, "other", "x"); again.ARN[len(again.ARN)-6:] == made.ARN[len(made.ARN)-6:] {
		t.Errorf("two secrets end in the same: %s", again.ARN)
	}
}

func TestVersions(t *testing.T) {
	t.Parallel()
	s := serve(t, t.TempDir())
	s.create(t, "a", "one")
	if out := s.give(t, "a", 2, "two"); !slices.Equal(out.VersionStages, []string{current}) || out.VersionId != token(2) {
		t.Errorf("%+v", out)
	}
	s.give(t, "a", 3, "three", "AWSPENDING")
	for _, tt := range []struct{ id, stage, want string }{
		{"", "", "two"},
		{"", current, "two"},
		{"", previous, "one"},
		{"", "AWSPENDING", "three"},
		{"", "none", "ResourceNotFoundException"},
		{token(1), "", "one"},
		{token(3), "AWSPENDING", "three"},
		{token(3), current, "InvalidRequestException"},
		{token(9), "", "ResourceNotFoundException"},
	} {
		if got := s.get(t, apism.GetSecretValueRequest{SecretId: "a", VersionId: tt.id, VersionStage: tt.stage}); got != tt.want {
			t.Errorf("%+v: %s", tt, got)
		}
	}
	s.give(t, "a", 4, "four")
	list := func(all bool) string {
		var out []string
		in := &apism.ListSecretVersionIdsRequest{SecretId: "a", IncludeDeprecated: &all, MaxResults: api.Ptr(int64(1))}
		for {
			page, err := s.ListSecretVersionIds(t.Context(), call(), in)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range page.Versions {
				out = append(out, v.VersionId[len(v.VersionId)-1:]+fmt.Sprint(v.VersionStages))
			}
			if in.NextToken = page.NextToken; in.NextToken == "" {
				return strings.Join(out, " ")
			}
		}
	}
	if got := list(true); got != "4[AWSCURRENT] 3[AWSPENDING] 2[AWSPREVIOUS] 1[]" {
		t.Error(got)
	}
	if got := list(false); got != "4[AWSCURRENT] 3[AWSPENDING] 2[AWSPREVIOUS]" {
		t.Error(got)
	}
	d, err := s.DescribeSecret(t.Context(), call(), &apism.DescribeSecretRequest{SecretId: "a"})
	if err != nil || fmt.Sprint(d.VersionIdsToStages) != fmt.Sprintf("map[%s:[AWSPREVIOUS] %s:[AWSPENDING] %s:[AWSCURRENT]]", token(2), token(3), token(4)) {
		t.Errorf("%+v, %v", d.VersionIdsToStages, err)
	}
	_, err = s.ListSecretVersionIds(t.Context(), call(), &apism.ListSecretVersionIdsRequest{SecretId: "a", NextToken: "x"})
	refused(t, err, "InvalidNextTokenException", "")

	for n := 5; n < 5+maxVersions; n++ {
		s.give(t, "a", n, fmt.Sprint(n))
	}
	if got := s.get(t, apism.GetSecretValueRequest{SecretId: "a", VersionId: token(4)}); got != "ResourceNotFoundException" {
		t.Errorf("a version that was pruned: %s", got)
	}
	for id, want := range map[int]string{3: "three", 6: "6", 4 + maxVersions: fmt.Sprint(4 + maxVersions)} {
		if got := s.get(t, apism.GetSecretValueRequest{SecretId: "a", VersionId: token(id)}); got != want {
			t.Errorf("%d: %s", id, got)
		}
	}
	var many []string
	for i := range maxLabels + 1 {
		many = append(many, fmt.Sprint("label", i))
	}
	_, err = s.PutSecretValue(t.Context(), call(), &apism.PutSecretValueRequest{SecretId: "a", SecretString: "x", ClientRequestToken: token(999), VersionStages: many})
	refused(t, err, "LimitExceededException", "staging labels")
	values, _, err := s.store.List(t.Context(), resource.Query{Account: "123456789012", Region: "eu-west-1", Kind: versionKind, Limit: 1000})
	if err != nil || len(values) != maxVersions {
		t.Errorf("%d values are kept: %v", len(values), err)
	}
}

// A request that is sent again changes nothing; another value under its token
// is refused.
func TestTokens(t *testing.T) {
	t.Parallel()
	s := serve(t, t.TempDir())
	first := s.create(t, "a", "one")
	if again := s.create(t, "a", "one"); again.ARN != first.ARN || again.VersionId != first.VersionId {
		t.Errorf("%+v, %+v", first, again)
	}
	_, err := s.CreateSecret(t.Context(), call(), &apism.CreateSecretRequest{Name: "a", SecretString: "two", ClientRequestToken: token(1)})
	refused(t, err, "ResourceExistsException", "The operation failed because the secret a already exists.")
	_, err = s.CreateSecret(t.Context(), call(), &apism.CreateSecretRequest{Name: "a", ClientRequestToken: token(1)})
	refused(t, err, "ResourceExistsException", "")

	s.give(t, "a", 2, "two")
	if again := s.give(t, "a", 1, "one"); !slices.Equal(again.VersionStages, []string{previous}) {
		t.Errorf("an old version was put again: %v", again.VersionStages)
	}
	if got := s.get(t, apism.GetSecretValueRequest{SecretId: "a"}); got != "two" {
		t.Error(got)
	}
	_, err = s.PutSecretValue(t.Context(), call(), &apism.PutSecretValueRequest{SecretId: "a", SecretBinary: []byte("two"), ClientRequestToken: token(2)})
	refused(t, err, "ResourceExistsException", "You can't use ClientRequestToken "+token(2)+" because that value is already in use for a version of secret "+first.ARN+".")
	_, err = s.UpdateSecret(t.Context(), call(), &apism.UpdateSecretRequest{SecretId: "a", SecretString: "three", ClientRequestToken: token(2)})
	refused(t, err, "ResourceExistsException", "")
	up := &apism.UpdateSecretRequest{SecretId: "a", SecretString: "three", ClientRequestToken: token(3), Description: "of three"}
	for range 2 {
		out, err := s.UpdateSecret(t.Context(), call(), up)
		if err != nil || out.VersionId != token(3) {
			t.Errorf("%+v, %v", out, err)
		}
	}
	if got := s.get(t, apism.GetSecretValueRequest{SecretId: "a", VersionStage: previous}); got != "two" {
		t.Errorf("previous: %s", got)
	}
	_, err = s.PutSecretValue(t.Context(), call(), &apism.PutSecretValueRequest{SecretId: "a", SecretString: "x"})
	refused(t, err, "InvalidRequestException", "You must provide a ClientRequestToken value.")
	_, err = s.PutSecretValue(t.Context(), call(), &apism.PutSecretValueRequest{SecretId: "a", ClientRequestToken: token(7)})
	refused(t, err, "InvalidRequestException", "You must provide either SecretString or SecretBinary.")
}

func TestCreateAndUpdate(t *testing.T) {
	t.Parallel()
	s := serve(t, t.TempDir())
	empty, err := s.CreateSecret(t.Context(), call(), &apism.CreateSecretRequest{Name: "empty", Description: "nothing yet", KmsKeyId: "alias/mine"})
	if err != nil || empty.VersionId != "" {
		t.Fatalf("%+v, %v", empty, err)
	}
	_, err = s.GetSecretValue(t.Context(), call(), &apism.GetSecretValueRequest{SecretId: "empty"})
	refused(t, err, "ResourceNotFoundException", "Secrets Manager can't find the specified secret value for staging label: AWSCURRENT")
	// the first value is the current one, whatever else it is called
	if out, err := s.PutSecretValue(t.Context(), call(), &apism.PutSecretValueRequest{SecretId: "empty", SecretBinary: []byte{0, 1, 255}, ClientRequestToken: token(5), VersionStages: []string{"mine", "mine"}}); err != nil || !slices.Equal(out.VersionStages, []string{current, "mine"}) {
		t.Errorf("%+v, %v", out, err)
	}
	got, err := s.GetSecretValue(t.Context(), call(), &apism.GetSecretValueRequest{SecretId: "empty", VersionStage: "mine"})
	if err != nil || !bytes.Equal(got.SecretBinary, []byte{0, 1, 255}) || got.SecretString != "" || got.CreatedDate.IsZero() {
		t.Errorf("%+v, %v", got, err)
	}
	out, err := s.UpdateSecret(t.Context(), call(), &apism.UpdateSecretRequest{SecretId: "empty", Description: "bytes", KmsKeyId: "alias/other"})
	if err != nil || out.VersionId != "" || out.ARN != empty.ARN {
		t.Errorf("%+v, %v", out, err)
	}
	d, err := s.DescribeSecret(t.Context(), call(), &apism.DescribeSecretRequest{SecretId: "empty"})
	if err != nil || d.Description != "bytes" || d.KmsKeyId != "alias/other" || d.ARN != empty.ARN || d.CreatedDate.IsZero() || d.LastChangedDate.Before(d.CreatedDate.Time) || !d.DeletedDate.IsZero() {
		t.Errorf("%+v, %v", d, err)
	}
	for text, in := range map[string]*apism.CreateSecretRequest{
		"ValidationException: Invalid name":                   {Name: "a b"},
		"InvalidParameterException: Clary does not support A": {Name: "a", AddReplicaRegions: []apism.ReplicaRegionType{{Region: "us-east-1"}}},
		"InvalidParameterException: Clary does not support T": {Name: "a", Type: "Partner"},
		"InvalidParameterException: Clary does not support C": {Name: "a", CrossAccountPrimaryARN: prefix + "b"},
		"InvalidParameterException: You can't specify both":   {Name: "a", SecretString: "x", SecretBinary: []byte("x"), ClientRequestToken: token(1)},
		"InvalidRequestException: You must provide a Client":  {Name: "a", SecretString: "x"},
		"InvalidParameterException: Invalid tag key":          {Name: "a", Tags: []apism.Tag{{Key: "aws:a"}}},
		"InvalidParameterException: Tag keys must be given":   {Name: "a", Tags: []apism.Tag{{Key: "a"}, {Key: "a"}}},
	} {
		_, err := s.CreateSecret(t.Context(), call(), in)
		want, text, _ := strings.Cut(text, ": ")
		refused(t, err, want, text)
	}
	if list, err := s.ListSecrets(t.Context(), call(), &apism.ListSecretsRequest{}); err != nil || len(list.SecretList) != 1 {
		t.Errorf("something was made: %+v, %v", list, err)
	}
	_, err = s.UpdateSecret(t.Context(), call(), &apism.UpdateSecretRequest{SecretId: "none"})
	refused(t, err, "ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
	_, err = s.UpdateSecret(t.Context(), call(), &apism.UpdateSecretRequest{SecretId: "empty", Type: "Partner"})
	refused(t, err, "InvalidParameterException", "Clary does not support Type")
}

func TestDelete(t *testing.T) {
	t.Parallel()
	synctest.Test(t, deletion)
}

func deletion(t *testing.T) {
	s := serve(t, t.TempDir())
	defer s.store.Close()
	made := s.create(t, "a", "one")
	asked := time.Now()
	days := int64(7)
	out, err := s.DeleteSecret(t.Context(), call(), &apism.DeleteSecretRequest{SecretId: "a", RecoveryWindowInDays: &days})
	if err != nil || !out.DeletionDate.Equal(asked.Add(7*day)) || out.ARN != made.ARN || out.Name != "a" {
		t.Errorf("%+v, %v", out, err)
	}
	const marked = "You can't perform this operation on the secret because it was marked for deletion."
	for what, do := range map[string]func() error{
		"get": func() error {
			_, err := s.GetSecretValue(t.Context(), call(), &apism.GetSecretValueRequest{SecretId: "a"})
			return err
		},
		"put": func() error {
			_, err := s.PutSecretValue(t.Context(), call(), &apism.PutSecretValueRequest{SecretId: "a", SecretString: "x", ClientRequestToken: token(9)})
			return err
		},
		"update": func() error {
			_, err := s.UpdateSecret(t.Context(), call(), &apism.UpdateSecretRequest{SecretId: "a"})
			return err
		},
		"delete": func() error {
			_, err := s.DeleteSecret(t.Context(), call(), &apism.DeleteSecretRequest{SecretId: "a"})
			return err
		},
		"tag": func() error {
			_, err := s.TagResource(t.Context(), call(), &apism.TagResourceRequest{SecretId: "a"})
			return err
		},
	} {
		err := do()
		if refused(t, err, "InvalidRequestException", marked); t.Failed() {
			t.Fatal(what)
		}
	}
	_, err = s.CreateSecret(t.Context(), call(), &apism.CreateSecretRequest{Name: "a"})
	refused(t, err, "InvalidRequestException", "You can't create this secret because a secret with this name is already scheduled for deletion.")
	d, err := s.DescribeSecret(t.Context(), call(), &apism.DescribeSecretRequest{SecretId: "a"})
	if err != nil || !d.DeletedDate.Equal(asked) {
		t.Errorf("%+v, %v", d, err)
	}
	if list, err := s.ListSecrets(t.Context(), call(), &apism.ListSecretsRequest{}); err != nil || len(list.SecretList) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
	if list, err := s.ListSecrets(t.Context(), call(), &apism.ListSecretsRequest{IncludePlannedDeletion: api.Ptr(true)}); err != nil || len(list.SecretList) != 1 || list.SecretList[0].DeletedDate.IsZero() {
		t.Errorf("%+v, %v", list, err)
	}

	if out, err := s.RestoreSecret(t.Context(), call(), &apism.RestoreSecretRequest{SecretId: "a"}); err != nil || out.ARN != made.ARN {
		t.Errorf("%+v, %v", out, err)
	}
	if res, err := s.Reconcile(t.Context(), key(call(), "a")); err != nil || res.After != 0 || s.get(t, apism.GetSecretValueRequest{SecretId: "a"}) != "one" {
		t.Errorf("restored: %+v, %v", res, err)
	}
	if due, err := s.store.NextDue(t.Context(), Kind); err != nil || !due.IsZero() {
		t.Errorf("a restored secret is looked at in %v, %v", due, err)
	}

	if _, err := s.DeleteSecret(t.Context(), call(), &apism.DeleteSecretRequest{SecretId: made.ARN}); err != nil {
		t.Error(err)
	}
	time.Sleep(30*day - time.Second)
	if res, err := s.Reconcile(t.Context(), key(call(), "a")); err != nil || res.After != time.Second {
		t.Errorf("a second before its time: %+v, %v", res, err)
	}
	time.Sleep(time.Second)
	if due, err := s.store.NextDue(t.Context(), Kind); err != nil || due.IsZero() || due.After(time.Now()) {
		t.Errorf("due %v, %v", due, err)
	}
	if res, err := s.Reconcile(t.Context(), key(call(), "a")); err != nil || res.After != 0 {
		t.Errorf("%+v, %v", res, err)
	}
	s.nothingLeft(t)
	if res, err := s.Reconcile(t.Context(), key(call(), "a")); err != nil || res.After != 0 {
		t.Errorf("gone: %+v, %v", res, err)
	}

	again := s.create(t, "a", "new")
	if again.ARN == made.ARN {
		t.Error("a new secret has the ARN of the one before it")
	}
	force := &apism.DeleteSecretRequest{SecretId: "a", ForceDeleteWithoutRecovery: api.Ptr(true)}
	for _, want := range []string{again.ARN, ""} { // and one that is not there
		out, err := s.DeleteSecret(t.Context(), call(), force)
		if err != nil || want != "" && out.ARN != want || !strings.HasPrefix(out.ARN, prefix+"a-") || strings.Contains(out.ARN, "?") || !out.DeletionDate.Equal(time.Now()) {
			t.Errorf("%+v, %v", out, err)
		}
	}
	s.nothingLeft(t)
	force.RecoveryWindowInDays = &days
	_, err = s.DeleteSecret(t.Context(), call(), force)
	refused(t, err, "InvalidParameterException", "ForceDeleteWithoutRecovery")
	for _, n := range []int64{6, 31} {
		_, err = s.DeleteSecret(t.Context(), call(), &apism.DeleteSecretRequest{SecretId: "a", RecoveryWindowInDays: &n})
		refused(t, err, "InvalidParameterException", "between 7 and 30 days")
	}
	_, err = s.DeleteSecret(t.Context(), call(), &apism.DeleteSecretRequest{SecretId: "a"})
	refused(t, err, "ResourceNotFoundException", "")
	_, err = s.RestoreSecret(t.Context(), call(), &apism.RestoreSecretRequest{SecretId: "a"})
	refused(t, err, "ResourceNotFoundException", "")
}

func (s *Service) nothingLeft(t *testing.T) {
	t.Helper()
	for _, kind := range []resource.Kind{Kind, versionKind} {
		if recs, _, err := s.store.List(t.Context(), resource.Query{Kind: kind}); err != nil || len(recs) != 0 {
			t.Errorf("%d records of kind %s: %v", len(recs), kind, err)
		}
	}
}

func TestListSecrets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, list)
}

func list(t *testing.T) {
	s := serve(t, t.TempDir())
	defer s.store.Close()
	for _, name := range []string{"git/b", "git/a", "db/c", "Git/d"} {
		time.Sleep(time.Minute)
		s.create(t, name, "s3cret-of-"+name, apism.Tag{Key: "Team", Value: "Red"}, apism.Tag{Key: "of", Value: name})
	}
	time.Sleep(time.Minute)
	if _, err := s.UpdateSecret(t.Context(), call(), &apism.UpdateSecretRequest{SecretId: "git/a", Description: "Token of the build"}); err != nil {
		t.Fatal(err)
	}
	by := func(key string, values ...string) []apism.Filter { return []apism.Filter{{Key: key, Values: values}} }
	for _, tt := range []struct {
		in   apism.ListSecretsRequest
		want string
	}{
		{apism.ListSecretsRequest{}, "git/b git/a db/c Git/d"},
		{apism.ListSecretsRequest{SortOrder: "desc"}, "Git/d db/c git/a git/b"},
		{apism.ListSecretsRequest{SortBy: "name", SortOrder: "asc"}, "Git/d db/c git/a git/b"},
		{apism.ListSecretsRequest{SortBy: "last-changed-date", SortOrder: "desc"}, "git/a Git/d db/c git/b"},
		{apism.ListSecretsRequest{Filters: by("name", "git/")}, "git/b git/a"},
		{apism.ListSecretsRequest{Filters: by("name", "b")}, ""},
		{apism.ListSecretsRequest{Filters: by("name", "db", "Git")}, "db/c Git/d"},
		{apism.ListSecretsRequest{Filters: by("name", "!git/")}, "db/c Git/d"},
		{apism.ListSecretsRequest{Filters: by("name", "git/", "!git/b")}, "git/a"},
		{apism.ListSecretsRequest{Filters: by("description", "token OF")}, "git/a"},
		{apism.ListSecretsRequest{Filters: by("tag-key", "Te")}, "git/b git/a db/c Git/d"},
		{apism.ListSecretsRequest{Filters: by("tag-key", "te")}, ""},
		{apism.ListSecretsRequest{Filters: by("tag-value", "db")}, "db/c"},
		{apism.ListSecretsRequest{Filters: by("all", "BUILD token")}, "git/a"},
		{apism.ListSecretsRequest{Filters: by("all", "red git")}, "git/b git/a Git/d"},
		{apism.ListSecretsRequest{Filters: by("all", "s3cret")}, ""},
		{apism.ListSecretsRequest{Filters: by("owning-service", "rds")}, ""},
		{apism.ListSecretsRequest{Filters: by("primary-region", "!us")}, "git/b git/a db/c Git/d"},
		{apism.ListSecretsRequest{Filters: append(by("name", "git/"), by("tag-value", "git/b")...)}, "git/b"},
	} {
		for _, page := range []int64{1, 2, 100} {
			in, names := tt.in, []string{}
			in.MaxResults = &page
			for {
				out, err := s.ListSecrets(t.Context(), call(), &in)
				if err != nil {
					t.Fatal(err)
				}
				if len(out.SecretList) > int(page) {
					t.Errorf("%+v: a page of %d", tt.in, len(out.SecretList))
				}
				for _, e := range out.SecretList {
					names = append(names, e.Name)
					if strings.Contains(fmt.Sprintf("%+v", e), "s3cret") || len(e.SecretVersionsToStages) != 1 || len(e.Tags) != 2 {
						t.Errorf("%+v", e)
					}
				}
				if in.NextToken = out.NextToken; in.NextToken == "" {
					break
				}
			}
			if got := strings.Join(names, " "); got != tt.want {
				t.Errorf("%+v by %d: %s, want %s", tt.in, page, got, tt.want)
			}
		}
	}
	_, err := s.ListSecrets(t.Context(), call(), &apism.ListSecretsRequest{NextToken: "x"})
	refused(t, err, "InvalidNextTokenException", "")
	_, err = s.ListSecrets(t.Context(), call(), &apism.ListSecretsRequest{SortBy: "last-accessed-date"})
	refused(t, err, "InvalidParameterException", "last accessed")
}

func TestTags(t *testing.T) {
	t.Parallel()
	s := serve(t, t.TempDir())
	s.create(t, "a", "one", apism.Tag{Key: "x", Value: "1"})
	if _, err := s.TagResource(t.Context(), call(), &apism.TagResourceRequest{SecretId: "a", Tags: []apism.Tag{{Key: "x", Value: "2"}, {Key: "y"}}}); err != nil {
		t.Error(err)
	}
	if _, err := s.UntagResource(t.Context(), call(), &apism.UntagResourceRequest{SecretId: "a", TagKeys: []string{"y", "unknown"}}); err != nil {
		t.Error(err)
	}
	d, err := s.DescribeSecret(t.Context(), call(), &apism.DescribeSecretRequest{SecretId: "a"})
	if err != nil || !slices.Equal(d.Tags, []apism.Tag{{Key: "x", Value: "2"}}) {
		t.Errorf("%+v, %v", d.Tags, err)
	}
	var many []apism.Tag
	for i := range maxTags {
		many = append(many, apism.Tag{Key: fmt.Sprint("k", i)})
	}
	_, err = s.TagResource(t.Context(), call(), &apism.TagResourceRequest{SecretId: "a", Tags: many})
	refused(t, err, "InvalidParameterException", "can have 50 tags; there would be 51")
	_, err = s.CreateSecret(t.Context(), call(), &apism.CreateSecretRequest{Name: "b", Tags: append(many, apism.Tag{Key: "one more"})})
	refused(t, err, "InvalidParameterException", "can have 50 tags")
}

// What is on disk shows no value, and a sealed one is good for nothing but its
// own place and key.
func TestSealed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := serve(t, dir)
	const text = "correct horse battery staple"
	x := s.create(t, "a", text)
	s.give(t, "a", 2, "another value")
	s.create(t, "b", "of b")
	if err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte("horse battery")) || bytes.Contains(b, []byte("Y29ycmVjdCBob3JzZ")) {
			t.Errorf("the value is in %s", path)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(filepath.Join(dir, "keys", "secrets.key")); err != nil || fi.Mode().Perm() != 0o600 || fi.Size() != 32 {
		t.Errorf("%+v, %v", fi, err)
	}

	a, err := s.look(t.Context(), call(), "a")
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.look(t.Context(), call(), "b")
	if err != nil {
		t.Fatal(err)
	}
	swap := func(p, q resource.Key) {
		t.Helper()
		if err := s.store.Update(t.Context(), func(tx store.Tx) error {
			one, err := tx.Get(p)
			if err != nil {
				return err
			}
			two, err := tx.Get(q)
			if err != nil {
				return err
			}
			one.Spec, two.Spec = two.Spec, one.Spec
			return errors.Join(tx.Put(one), tx.Put(two))
		}); err != nil {
			t.Fatal(err)
		}
	}
	for what, with := range map[string]resource.Key{"version": versionKey(a, token(2)), "secret": versionKey(b, token(1))} {
		swap(versionKey(a, token(1)), with)
		if got := s.get(t, apism.GetSecretValueRequest{SecretId: x.ARN, VersionId: token(1)}); got != "DecryptionFailure" {
			t.Errorf("the value of another %s passes for its own: %s", what, got)
		}
		swap(versionKey(a, token(1)), with)
	}

	// a restart reads the same key; without it nothing opens
	if err := s.store.Close(); err != nil {
		t.Fatal(err)
	}
	again := serve(t, dir)
	if got := again.get(t, apism.GetSecretValueRequest{SecretId: "a", VersionId: token(1)}); got != text {
		t.Error(got)
	}
	if err := errors.Join(again.store.Close(), os.Remove(filepath.Join(dir, "keys", "secrets.key"))); err != nil {
		t.Fatal(err)
	}
	other := serve(t, dir)
	if got := other.get(t, apism.GetSecretValueRequest{SecretId: "a"}); got != "DecryptionFailure" {
		t.Error(got)
	}
}
