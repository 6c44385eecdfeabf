package sqlite

import (
	"context"
	"fmt"
)

// migration is one step of the schema. A step that was released never changes.
type migration struct {
	name string
	ddl  string
}

// migrations lists the steps in order; a new one goes to the end.
func migrations() []migration {
	return []migration{
		{"records", recordSchema},
		{"objects", objectSchema},
		{"names", nameSchema},
		{"metrics", metricSchema},
		{"lists", listSchema},
		{"lag", lagSchema},
		{"name blocks", blockSchema},
		{"versions", versionSchema},
		{"samples", sampleSchema},
		{"events", eventSchema},
		{"usage changes", usageSchema},
		{"event times", eventTimeSchema},
		{"usage tags", usageTagSchema},
	}
}

// migrate takes the database from its user_version to the newest, each step in
// a transaction. A database of a newer Clary is refused: there is no way back.
func migrate(w *conn) error {
	var have int
	if err := w.c.QueryRowContext(context.Background(), `PRAGMA user_version`).Scan(&have); err != nil {
		return err
	}
	steps := migrations()
	if have > len(steps) {
		return fmt.Errorf("schema %d is of a newer version, this one knows %d", have, len(steps))
	}
	for i, m := range steps[have:] {
		n := have + i + 1
		err := w.exec(fmt.Sprintf("BEGIN IMMEDIATE; %s; PRAGMA user_version = %d; COMMIT", m.ddl, n))
		if err != nil {
			_ = w.exec(`ROLLBACK`)
			return fmt.Errorf("schema %d (%s): %w", n, m.name, err)
		}
	}
	return nil
}
