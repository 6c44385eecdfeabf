// Package relay is what a task's supervisor serves on the listeners that init
// hands out: the way to the server's task socket, the credentials endpoint,
// and the proxy to the outside. It decides by the address that is dialled,
// never by a name. Start reading at Guard.
package relay
