package tagging

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"clary/internal/api"
	apism "clary/internal/api/sagemaker"
	"clary/internal/aws/apierr"
	"clary/internal/aws/arn"
	"clary/internal/aws/op"
	"clary/internal/meter"
	"clary/internal/resource"
	"clary/internal/store"
	"clary/internal/store/sqlite"
)

func call() op.Call { return op.Call{Account: "123456789012", Region: "us-west-2"} }

// bench is a store with one training job.
func bench(t *testing.T) (tags *Tagging, job string) {
	t.Helper()
	db, err := sqlite.Open(filepath.Join(t.TempDir(), "db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	r := &resource.Record{
		Key: resource.Key{Account: "123456789012", Region: "us-west-2", Kind: "TrainingJob", Name: "job"}, UID: strings.Repeat("a", 26),
		Arn: arn.SageMaker("us-west-2", "123456789012", "training-job", "job"), Spec: json.RawMessage("{}"), Status: json.RawMessage("{}"),
	}
	if err := db.Update(t.Context(), func(tx store.Tx) error { return tx.Put(r) }); err != nil {
		t.Fatal(err)
	}
	return New(db), r.Arn
}

// pairs makes tags of key=value.
func pairs(list ...string) []apism.Tag {
	var out []apism.Tag
	for _, kv := range list {
		k, v, _ := strings.Cut(kv, "=")
		out = append(out, apism.Tag{Key: k, Value: v})
	}
	return out
}

func texts(tags []apism.Tag) []string {
	out := []string{}
	for _, tag := range tags {
		out = append(out, tag.Key+"="+tag.Value)
	}
	return out
}

func numbered(from, n int) []apism.Tag {
	var out []apism.Tag
	for i := range n {
		out = append(out, apism.Tag{Key: fmt.Sprintf("k%03d", from+i), Value: "v"})
	}
	return out
}

func refused(t *testing.T, err error, code, text string) {
	t.Helper()
	e, ok := errors.AsType[*apierr.Error](err)
	if !ok || e.Code != code || e.Status != 400 || !strings.Contains(e.Message, text) {
		t.Errorf("%v, want %s with %q", err, code, text)
	}
}

func (t *Tagging) all(tb testing.TB, name string) []string {
	tb.Helper()
	out, err := t.List(tb.Context(), call(), &apism.ListTagsInput{ResourceArn: name, MaxResults: api.Ptr[int64](100)})
	if err != nil {
		tb.Fatal(err)
	}
	return texts(out.Tags)
}

func TestAddListDelete(t *testing.T) {
	t.Parallel()
	tags, job := bench(t)
	ctx := t.Context()
	if got := tags.all(t, job); len(got) != 0 {
		t.Errorf("a new resource has %q", got)
	}
	if _, err := tags.Add(ctx, call(), &apism.AddTagsInput{ResourceArn: job, Tags: pairs("b=2", "a=1", "empty=")}); err != nil {
		t.Fatal(err)
	}
	// a key that is there gets the new value; the answer is the whole set
	out, err := tags.Add(ctx, call(), &apism.AddTagsInput{ResourceArn: job, Tags: pairs("b=3", "c=4")})
	if want := []string{"a=1", "b=3", "c=4", "empty="}; err != nil || !slices.Equal(texts(out.Tags), want) || !slices.Equal(tags.all(t, job), want) {
		t.Errorf("%v %v", out, err)
	}
	for range 2 { // what is gone is no error
		if _, err := tags.Delete(ctx, call(), &apism.DeleteTagsInput{ResourceArn: job, TagKeys: []string{"b", "empty", "never"}}); err != nil {
			t.Error(err)
		}
	}
	if got := tags.all(t, job); !slices.Equal(got, []string{"a=1", "c=4"}) {
		t.Errorf("%q", got)
	}
}

func TestLimit(t *testing.T) {
	t.Parallel()
	tags, job := bench(t)
	ctx := t.Context()
	_, err := tags.Add(ctx, call(), &apism.AddTagsInput{ResourceArn: job, Tags: numbered(0, 51)})
	refused(t, err, "ResourceLimitExceeded", "51")
	if got := tags.all(t, job); len(got) != 0 {
		t.Errorf("a refused request left %q", got)
	}
	if _, err := tags.Add(ctx, call(), &apism.AddTagsInput{ResourceArn: job, Tags: numbered(0, 50)}); err != nil {
		t.Fatal(err)
	}
	_, err = tags.Add(ctx, call(), &apism.AddTagsInput{ResourceArn: job, Tags: pairs("k000=new", "one=more")})
	refused(t, err, "ResourceLimitExceeded", "the limit is 50")
	if got := tags.all(t, job); len(got) != 50 || got[0] != "k000=v" {
		t.Errorf("a refused request changed %d tags, %q", len(got), got[0])
	}
	// a full resource still takes new values, and new keys for old ones
	if _, err := tags.Add(ctx, call(), &apism.AddTagsInput{ResourceArn: job, Tags: pairs("k000=new")}); err != nil {
		t.Error(err)
	}
	if _, err := tags.Delete(ctx, call(), &apism.DeleteTagsInput{ResourceArn: job, TagKeys: []string{"k000"}}); err != nil {
		t.Error(err)
	}
	if _, err := tags.Add(ctx, call(), &apism.AddTagsInput{ResourceArn: job, Tags: pairs("one=more")}); err != nil {
		t.Error(err)
	}
}

func TestReservedAndDuplicateKeys(t *testing.T) {
	t.Parallel()
	tags, job := bench(t)
	for _, key := range []string{"aws:x", "AWS:x", "Aws:cloudformation:stack", "aws:"} {
		_, err := tags.Add(t.Context(), call(), &apism.AddTagsInput{ResourceArn: job, Tags: pairs("fine=1", key+"=v")})
		refused(t, err, "ValidationException", "aws:")
	}
	_, err := tags.Add(t.Context(), call(), &apism.AddTagsInput{ResourceArn: job, Tags: pairs("a=1", "b=2", "a=3")})
	refused(t, err, "ValidationException", "a")
	if got := tags.all(t, job); len(got) != 0 {
		t.Errorf("refused requests left %q", got)
	}
	// keys differ by case, and only the prefix is reserved
	if _, err := tags.Add(t.Context(), call(), &apism.AddTagsInput{ResourceArn: job, Tags: pairs("a=1", "A=2", "aws=3", "my-aws:x=4")}); err != nil {
		t.Error(err)
	}
}

func TestWrongArn(t *testing.T) {
	t.Parallel()
	tags, job := bench(t)
	// It is there, and no resource of SageMaker's.
	const secret = "arn:aws:secretsmanager:us-west-2:123456789012:secret:s-AbCdEf"
	r := &resource.Record{Key: resource.Key{Account: "123456789012", Region: "us-west-2", Kind: "Secret", Name: "s"}, UID: strings.Repeat("b", 26), Arn: secret}
	if err := tags.store.Update(t.Context(), func(tx store.Tx) error { return tx.Put(r) }); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"job": "Invalid ResourceArn",
		strings.Replace(job, "123456789012", "210987654321", 1): "Invalid ResourceArn",
		strings.Replace(job, "us-west-2", "us-east-1", 1):       "Invalid ResourceArn",
		job + "x": "not found",
		secret:    "Invalid ResourceArn",
		strings.Replace(job, "training-job", "processing-job", 1): "not found",
	} {
		_, err := tags.Add(t.Context(), call(), &apism.AddTagsInput{ResourceArn: name, Tags: pairs("a=1")})
		refused(t, err, "ValidationException", text)
		_, err = tags.List(t.Context(), call(), &apism.ListTagsInput{ResourceArn: name})
		refused(t, err, "ValidationException", text)
		_, err = tags.Delete(t.Context(), call(), &apism.DeleteTagsInput{ResourceArn: name, TagKeys: []string{"a"}})
		refused(t, err, "ValidationException", text)
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	tags, job := bench(t)
	ctx := t.Context()
	if _, err := tags.Add(ctx, call(), &apism.AddTagsInput{ResourceArn: job, Tags: numbered(0, 50)}); err != nil {
		t.Fatal(err)
	}
	for _, limit := range []int64{7, 10, 49, 50} {
		var got []string
		token := ""
		for range 20 {
			out, err := tags.List(ctx, call(), &apism.ListTagsInput{ResourceArn: job, MaxResults: &limit, NextToken: token})
			if err != nil {
				t.Fatal(err)
			}
			if len(out.Tags) > int(limit) || len(out.Tags) == 0 {
				t.Errorf("a page of %d at limit %d", len(out.Tags), limit)
			}
			got = append(got, texts(out.Tags)...)
			if token = out.NextToken; token == "" {
				break
			}
		}
		if want := texts(numbered(0, 50)); !slices.Equal(got, want) {
			t.Errorf("limit %d: %q", limit, got)
		}
	}
	// a page goes on behind its last key, whatever became of it
	limit := int64(10)
	first, err := tags.List(ctx, call(), &apism.ListTagsInput{ResourceArn: job, MaxResults: &limit})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tags.Delete(ctx, call(), &apism.DeleteTagsInput{ResourceArn: job, TagKeys: []string{"k009", "k010"}}); err != nil {
		t.Fatal(err)
	}
	second, err := tags.List(ctx, call(), &apism.ListTagsInput{ResourceArn: job, MaxResults: &limit, NextToken: first.NextToken})
	if err != nil || second.Tags[0].Key != "k011" {
		t.Errorf("%v %v", second, err)
	}
	// and one without MaxResults holds all that a resource can have
	if out, err := tags.List(ctx, call(), &apism.ListTagsInput{ResourceArn: job}); err != nil || len(out.Tags) != 48 || out.NextToken != "" {
		t.Errorf("%v %v", out, err)
	}
}

// What a resource costs is told apart by its tags: those of now for what runs,
// those of then for what is over.
func TestUsageHasTheTags(t *testing.T) {
	t.Parallel()
	tags, job := bench(t)
	begin := time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)
	rec := &resource.Record{Key: resource.Key{Account: "123456789012", Region: "us-west-2", Kind: "TrainingJob", Name: "job"}, UID: strings.Repeat("a", 26)}
	open := func(n int) {
		t.Helper()
		err := tags.store.Update(t.Context(), func(tx store.Tx) error {
			return meter.Open(tx, meter.Of(rec, "training", meter.InstanceSecond, n, 1, begin.Add(time.Duration(n)*time.Hour)))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	want := func(what string, want ...map[string]string) {
		t.Helper()
		us, err := tags.store.ListUsage(t.Context(), resource.UsageQuery{Account: "123456789012"})
		if err != nil {
			t.Fatal(err)
		}
		var got []map[string]string
		for _, u := range us {
			got = append(got, u.Tags)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	add := func(list ...string) {
		t.Helper()
		if _, err := tags.Add(t.Context(), call(), &apism.AddTagsInput{ResourceArn: job, Tags: pairs(list...)}); err != nil {
			t.Fatal(err)
		}
	}
	add("team=blue", "stage=test")
	open(1)
	want("opened", map[string]string{"team": "blue", "stage": "test"})
	add("team=red")
	want("tagged", map[string]string{"team": "red", "stage": "test"})
	err := tags.store.Update(t.Context(), func(tx store.Tx) error {
		return meter.Close(tx, meter.ID(rec.UID, "training", 1), begin.Add(90*time.Minute))
	})
	if err != nil {
		t.Fatal(err)
	}
	open(2)
	if _, err := tags.Delete(t.Context(), call(), &apism.DeleteTagsInput{ResourceArn: job, TagKeys: []string{"team"}}); err != nil {
		t.Fatal(err)
	}
	want("untagged", map[string]string{"team": "red", "stage": "test"}, map[string]string{"stage": "test"})
	// Another resource of the same name has its own.
	rec.UID = strings.Repeat("b", 26)
	open(3)
	want("another", map[string]string{"team": "red", "stage": "test"}, map[string]string{"stage": "test"}, nil)
}
