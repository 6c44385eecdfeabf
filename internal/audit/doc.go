// Package audit records every call that changes something, or tried to, as
// CloudTrail does: who, what, when, from where, and how it ended. The record
// stands in the same transaction as the change where that is in the store, so
// that neither is there without the other. Each account and region has a chain
// of records, in which each holds the hash of the one before it: a Chain finds
// what was altered, left out, put in between or listed as something else. That
// the end was cut off, or all made anew from some record on, shows only beside a
// head that was kept elsewhere. It never records secrets, nor
// calls that move data (objects, log lines, metrics), as CloudTrail by default.
// Start reading at Recorder.Begin.
package audit
