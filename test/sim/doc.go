// Package sim runs the server's core, the store, the loop, jobs of all kinds on
// one instance and on several, notebook instances, and endpoints, on a real
// database and in virtual time, with a fake driver, and kills it again and again:
// before and after transactions and effects. Whatever happens, what was answered
// is there, every task runs at most once and comes to its end, each second and
// each log line counts once, and no task or volume stays behind; an endpoint's
// traffic goes to tasks that answered, and none is stopped that has some. A host
// alone may be given up for want of room for its peers, before its job is one.
// The package does not look into a feature's own state to judge it, since the
// contracts and the fake world's truth are enough, but for what was first on a
// job's record: that its owner asked for its end, or that one of its tasks went.
//
// SIM_N sets the number of seeds (200), SIM_SEED runs a single one. Start at
// TestSeeds in sim_test.go.
package sim
