// Soak runs a server for minutes under jobs, S3 traffic and lists, and kills
// it and its supervisors at random. Every job must come to the end it was made
// for, be billed once and lose no line; and what the server holds (memory,
// descriptors, goroutines, disk) must not grow. A run that killed nothing, or in
// which no job outlived its server, has failed. It knows the server from outside
// only. Start at main.
//
//	go run ./test/soak -for 10m -bin bin/clary
package main
