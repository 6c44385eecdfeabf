// Package cli is the client side of the verbs: it parses flags, speaks to the
// server by the public API, and prints. It holds no truth and reads no record;
// of the data folder it knows only the files by which a client is set up: root
// key, certificates, proxy token and the running server's address. It must
// never write to the user's own AWS files. Start at New.
package cli
