// Package console is the web page that reports: what runs, what it costs, what
// failed, and where nothing is yet, the code that would fill it. It asks the
// same operations as every client, as the principal that signed in, through
// Calls; it has no other way to read, and changes nothing but what its user
// could stop with an SDK too. Start reading at New and at the list of pages in
// routes; what is of one kind of jobs alone is a jobKind, in a file of its own.
package console
