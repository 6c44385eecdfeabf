package main

// notes say what is known of a figure's cause, and how it is known. They hold
// whether this run met the goal or not.
var notes = map[string]string{ //nolint:gochecknoglobals // a table
	"describe1":  "A CPU profile of the server at c16 (2026-11-25) gives SQLite 17 % of its time, decoding the status from JSON 10 %, encoding the answer 10 %, the signature 9 %, garbage collection 9 %. A cache of decoded records could save the first two at most.",
	"describe16": "Client and server share two cores; the server's time goes where the row above says.",
	"create1":    "Not profiled. Reconciling the created jobs to Failed runs meanwhile, on the same cores and disk; how much of the figure that is was not measured.",
	"create16":   "As the row above.",
	"job":        "Not profiled. The bare sandbox, measured in turn with it, is a little over half of it; what is left is the server, stage and the log together.",
	"python":     "As the row above; Python's own start is the floor.",
	"ingest":     "The store alone, called in process. The fsync that follows within half a second is waited for by neither figure.",
	"start":      "Varies with the machine's load: 64 to 72 ms in a run on the quiet machine the same day.",
	"memory":     "PSS shares pages among processes that map the same file: another server of the same binary on the machine lowers it. Alone, in a look of its own, 24 MiB were pages of the binary and 14 MiB anonymous memory.",
	"list":       "Not profiled, and without a floor here.",
}
