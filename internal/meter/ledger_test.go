package meter

import (
	"maps"
	"testing"

	"clary/internal/resource"
	"clary/internal/store"
)

// deed is a transaction in which one record is.
type deed struct {
	store.Tx
	rec    *resource.Record
	tags   map[string]string
	opened resource.Usage
}

func (d *deed) Get(k resource.Key) (*resource.Record, error) {
	if k != d.rec.Key {
		return nil, store.ErrNotFound
	}
	return d.rec, nil
}

func (d *deed) Tags(arn string) (map[string]string, error) {
	if arn != d.rec.Arn {
		return nil, nil
	}
	return d.tags, nil
}

func (d *deed) OpenUsage(u resource.Usage) error {
	d.opened = u
	return nil
}

// An interval has the tags of its own resource: not of another one that has
// its name by now, and not of one of another name or region.
func TestOpenTakesTheResourcesTags(t *testing.T) {
	t.Parallel()
	red := map[string]string{"team": "red"}
	for what, c := range map[string]struct {
		change func(*resource.Usage)
		want   map[string]string
	}{
		"its own":        {func(*resource.Usage) {}, red},
		"made anew":      {func(u *resource.Usage) { u.UID = "earlier" }, nil},
		"another name":   {func(u *resource.Usage) { u.Name = "other" }, nil},
		"another region": {func(u *resource.Usage) { u.Region = "mars" }, nil},
		"given":          {func(u *resource.Usage) { u.Tags = map[string]string{"team": "blue"} }, map[string]string{"team": "blue"}},
	} {
		d := &deed{rec: &resource.Record{Key: resource.Key{Account: "1", Region: "us-east-1", Kind: "TrainingJob", Name: "a"}, UID: "now", Arn: "arn"}, tags: red}
		u := Of(d.rec, "training", InstanceSecond, 1, 1, at("2026-10-01T10:00:00Z"))
		c.change(&u)
		if err := Open(d, u); err != nil || !maps.Equal(d.opened.Tags, c.want) || d.opened.ID != u.ID {
			t.Errorf("%s: %+v, %v; want the tags %v", what, d.opened, err, c.want)
		}
	}
}
