// Package sqlite keeps the store in one SQLite database. It must never answer
// a write before it is on disk, nor let two writers lose each other's work.
// Start at Open; write.go holds the one writer, read.go the readers, record.go
// the records, cache.go those that were asked for lately. list.go chooses how a
// listing goes, names.go finds parts of names. What every request needs goes
// past database/sql, see native.go.
//
// Other rooms keep narrow tables of their own here. Such a table has
//
//   - its contract in internal/store (objects.go, metrics.go), which speaks of
//     its own rows and not of SQL;
//   - a file of its own here with the schema as a constant, which gets a line
//     at the end of the list in migrate.go, and a type that satisfies the
//     contract over the two helpers
//     s.update(ctx, func(*tx) error) and s.read(ctx, func(*tx) error);
//   - a method of Store that hands it out: func (s *Store) Metrics() store.Metrics.
//
// In update, fn runs in the write transaction together with others that wait
// at the same time, behind a savepoint of its own: its error undoes its own
// statements alone, and update returns once all is on disk. In read, fn sees
// one snapshot. Both may run fn more than once, and fn must not call the Store
// again. tx prepares each statement once per connection, so statements are
// constant texts.
//
// One process at a time has the database open; who opens it holds the folder.
// Leases therefore live in memory: they end with the process that took them.
package sqlite
