// Package limit holds a task to its memory, processors and processes by
// control groups, version 1 or 2, where this process may make any. It must
// never touch a group that it did not make. Start reading at New.
package limit
