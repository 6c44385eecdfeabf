// Package browser is what the rooms that browsers speak to have in common:
// secrets of which only a hash is kept, records that end by themselves, and the
// question whose page a request came from. It must never decide what a session
// may do: that is asked anew, each time, of keys and policies. Start at Put.
package browser
