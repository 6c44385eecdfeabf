// Package segment keeps logs in append-only files of its own: a catalogue of
// groups and streams, and per stream a row of segments. It must never answer an
// append before the bytes are with the kernel, nor a create or delete before
// they are on disk, nor show a line that a crash tore.
//
// A record is a batch of events together with the offset of the task's output
// that they reach to, so that a crash keeps or loses both. Its length and
// checksum (seeded with the stream's secret number, for lines are written by
// strangers) tell where a torn tail begins; that is cut when the stream is first
// touched. A segment's head says how the stream stood when it was begun, so the
// last segment alone tells all about a stream. Full segments are rewritten in
// compressed blocks with an index.
//
// The catalogue holds per stream its name, number and what a listing shows. It
// is a hint about streams that were being written at a crash, and they are
// marked in it as such; the segments decide.
//
// The syncer forces what was appended to disk within half a second, and sleeps
// when nothing is.
//
// Locks are taken in this order: Store.mu, stream.mu, catalog.mu, and those of
// files and syncer, which call nobody.
//
// Start at Open, then append.go and read.go; record.go is the format.
package segment
