// Package meter turns the usage ledger into money. Intervals are opened and
// closed in the transaction that changes the status which causes them (Open,
// Close); a Bill is a pure fold of intervals and a Book of prices, and no
// other room computes an amount. It must never take a missing price for zero,
// and never read a clock.
//
// The prices that come with Clary (data/prices.csv: us-east-1, US dollars) are
// second-hand readings of September 2026, made for "what this would have cost
// on AWS": compare them with AWS's own offer file before you rely on them.
// Column basis says what a row rests on: P1 a public reading of the offer file
// of 2026-09-27 that found one price for all components, within a cent; P2
// component prices of the bulk file of 2026-09-24; P3 hosting prices
// cross-checked elsewhere; "as hosting" a transform price taken from hosting.
// What has no row is unpriced. An operator's own file of the same columns
// replaces any of it.
//
// Start at Bill in bill.go; prices.go reads price files, instances.go knows
// the sizes of instance types.
package meter
