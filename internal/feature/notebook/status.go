package notebook

import (
	"fmt"
	"strings"
	"time"

	"clary/internal/budget"
	"clary/internal/compute"
	"clary/internal/meter"
	"clary/internal/resource"
	"clary/internal/stage/agent"
)

// Kind is the record kind of notebook instances.
const Kind resource.Kind = "NotebookInstance"

// The values of NotebookInstanceStatus that we use, kept in Record.Phase.
const (
	phasePending   = "Pending"
	phaseInService = "InService"
	phaseStopping  = "Stopping"
	phaseStopped   = "Stopped"
	phaseFailed    = "Failed"
	phaseDeleting  = "Deleting"
	phaseUpdating  = "Updating"
)

// status is what we keep beside the request.
type status struct {
	V int `json:"v"`
	// Task is the run that serves the notebook, or shall; "" while there is
	// none. Whoever dials into a notebook reads it here.
	Task     compute.TaskID `json:"task,omitzero"`
	Runs     int            `json:"runs,omitzero"`     // tasks so far, Task among them
	Launched bool           `json:"launched,omitzero"` // the driver accepted Task
	Clear    compute.TaskID `json:"clear,omitzero"`    // an earlier task that may still be there
	Asked    time.Time      `json:"asked,omitzero"`    // since when this run, or this update, is wanted
	Ready    *ready         `json:"ready,omitzero"`    // JupyterLab of Task answered
	Open     bool           `json:"open,omitzero"`     // browsers may have sessions

	Bill  *bill      `json:"bill,omitzero"`  // the open compute interval
	Bills int        `json:"bills,omitzero"` // compute intervals so far
	Down  *time.Time `json:"down,omitzero"`  // when the program of the open interval ended, as it is billed
	// Until is when a stop was accepted that ends the open interval, if nobody
	// could tell then whether its program still lived.
	Until *meter.Moment `json:"until,omitzero"`

	Volume  int64 `json:"volume"`        // GB, as it is billed
	Volumes int   `json:"volumes"`       // intervals of the volume so far
	Made    bool  `json:"made,omitzero"` // the driver has it in that size

	// Agent: Task was given an order, and its first process tells how it goes.
	Agent   bool        `json:"agent,omitzero"`
	Step    agent.Phase `json:"step,omitzero"`    // how far Task has come, as it last said
	Repos   []repo      `json:"repos,omitzero"`   // cloned, or ordered of Task
	Created bool        `json:"created,omitzero"` // OnCreate is over for good
	Told    int         `json:"told,omitzero"`    // how often Task was told so

	Idle   *idle `json:"idle,omitzero"`   // how Task is used
	Halted *halt `json:"halted,omitzero"` // the last run was stopped for want of use
	// Halt is a budget's stop of the last run. It is on record before what is
	// open is saved.
	Halt    *budget.Halt `json:"halt,omitzero"`
	Rescue  *rescue      `json:"rescue,omitzero"`
	Crashes []time.Time  `json:"crashes,omitzero"` // the latest
	Failure string       `json:"failure,omitzero"`
	Expires time.Time    `json:"expires,omitzero"` // of the role's session that the task has
	Notes   int          `json:"notes,omitzero"`   // lines of ours in the log stream
	Said    string       `json:"said,omitzero"`    // the newest of them
}

func readStatus(r *resource.Record) (status, error) {
	var st status
	if err := unmarshal(r.Status, &st); err != nil {
		return st, fmt.Errorf("notebook instance %s: status: %w", r.Name, err)
	}
	return st, nil
}

func (st *status) write(r *resource.Record, spec *request) error {
	b, err := marshal(st)
	if err != nil {
		return fmt.Errorf("notebook instance %s: status: %w", r.Name, err)
	}
	r.Status, r.Brief = b, brief(r.UID, spec)
	return nil
}

// brief is what a list shows beside a record's columns. None of its words has
// a space.
func brief(uid string, spec *request) string {
	words := append([]string{uid, spec.InstanceType, spec.LifecycleConfigName, spec.DefaultCodeRepository}, spec.AdditionalCodeRepositories...)
	return strings.TrimRight(strings.Join(words, " "), " ")
}

type briefly struct {
	uid, instanceType, lifecycle, code string
	more                               []string
}

func readBrief(s string) (b briefly) {
	words := strings.Split(s, " ")
	for i, to := range []*string{&b.uid, &b.instanceType, &b.lifecycle, &b.code} {
		if i < len(words) {
			*to = words[i]
		}
	}
	if len(words) > 4 {
		b.more = words[4:]
	}
	return b
}

// run names the next task.
func (st *status) run(uid string, now time.Time) {
	st.Runs++
	st.Task = taskID(uid, st.Runs)
	st.Launched, st.Ready, st.Asked = false, nil, now
	st.Agent, st.Step, st.Told, st.Idle = false, "", 0, nil
}

// tell has a line written into the notebook's log, once.
func (st *status) tell(line string) {
	if line != "" && line != st.Said {
		st.Said = line
		st.Notes++
	}
}

func taskID(uid string, n int) compute.TaskID {
	return compute.TaskID(fmt.Sprintf("%s-%d", uid, n))
}

// resting phases are those in which nothing runs and nothing is under way.
func resting(phase string) bool { return phase == phaseStopped || phase == phaseFailed }
