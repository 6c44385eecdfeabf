// Package forgotten finds what costs and nobody uses: notebook instances in
// service that are idle, endpoints that nobody asks, volumes of notebook
// instances that were stopped long ago. It reads records, ledger and metrics
// and keeps nothing. It must never stop anything: it says what does. Start at
// Finder.Find.
package forgotten
