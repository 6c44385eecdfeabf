package job

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"clary/internal/budget"
	"clary/internal/meter"
	"clary/internal/resource"
)

// The values of a job's status, kept in Record.Phase.
const (
	phaseInProgress = "InProgress"
	phaseCompleted  = "Completed"
	phaseFailed     = "Failed"
	phaseStopping   = "Stopping"
	phaseStopped    = "Stopped"
	phaseDeleting   = "Deleting"
)

// The values of SecondaryStatus that we use. Training means that the program
// runs, whatever the job's kind.
const (
	secStarting    = "Starting"
	secPending     = "Pending"
	secDownloading = "Downloading"
	secTraining    = "Training"
	secUploading   = "Uploading"
	secStopping    = "Stopping"
	secStopped     = "Stopped"
	secMaxRuntime  = "MaxRuntimeExceeded"
	secCompleted   = "Completed"
	secFailed      = "Failed"
)

// saysPreparing is what Family.Says has for Starting once the job is looked at.
const saysPreparing = "Preparing"

// Transition is one entry of SecondaryStatusTransitions.
type Transition struct {
	Status  string     `json:"status"`
	Start   time.Time  `json:"start"`
	End     *time.Time `json:"end,omitzero"`
	Message string     `json:"message,omitzero"`
}

// Status is what we keep beside the request.
type Status struct {
	V           int           `json:"v"`
	Secondary   string        `json:"secondary"`
	Transitions []Transition  `json:"transitions"`
	Failure     string        `json:"failure,omitzero"`
	Artifact    string        `json:"artifact,omitzero"`
	ExitMessage string        `json:"exitMessage,omitzero"`
	Started     *time.Time    `json:"started,omitzero"` // when the first host downloads
	Ended       *time.Time    `json:"ended,omitzero"`
	StopAsked   *time.Time    `json:"stopAsked,omitzero"`
	Launched    bool          `json:"launched,omitzero"`  // the driver accepted all tasks
	StepsSeen   int           `json:"stepsSeen,omitzero"` // of steps
	Broken      bool          `json:"broken,omitzero"`    // a task failed before anyone asked to stop, and the others have to end
	Cause       int           `json:"cause,omitzero"`     // which, if Broken
	Notes       int           `json:"notes,omitzero"`     // lines of ours in the log stream
	Said        string        `json:"said,omitzero"`      // the newest of them
	Note        string        `json:"note,omitzero"`      // where the runtime differs from the asked image, or a clamped size
	Cleaned     bool          `json:"cleaned,omitzero"`   // the tasks were removed from the driver
	Suspended   float64       `json:"suspended,omitzero"` // seconds the machine slept, not billed
	Line        *meter.Anchor `json:"line,omitzero"`      // a moment of the interval that is billed
	Halt        *budget.Halt  `json:"halt,omitzero"`      // a budget stopped it
	Billed      *time.Time    `json:"billed,omitzero"`    // to here alone, since it took longer to come to rest than a budget pays for
}

// ReadStatus reads a record's.
func ReadStatus(r *resource.Record) (Status, error) {
	var st Status
	if err := json.Unmarshal(r.Status, &st); err != nil {
		return st, fmt.Errorf("job %s: status: %w", r.Name, err)
	}
	return st, nil
}

func (st *Status) write(r *resource.Record) error {
	b, err := json.Marshal(st)
	if err != nil {
		return fmt.Errorf("job %s: status: %w", r.Name, err)
	}
	r.Status, r.Brief = b, st.brief()
	return nil
}

// Seconds is the job's billable time in whole seconds, at least one, as
// Describe counts it; 0 for a job that was never billed, or is not over.
func (st *Status) Seconds() int64 {
	if st.Started == nil || st.Ended == nil {
		return 0
	}
	return int64(max(1, math.Ceil(st.billedTo().Sub(*st.Started).Seconds())))
}

// billedTo is where the interval of a job that is over ends: the time that the
// machine slept is left out of it.
func (st *Status) billedTo() time.Time {
	if st.Billed != nil {
		return *st.Billed
	}
	return st.Ended.Add(-time.Duration(st.Suspended * float64(time.Second)))
}

// brief is what a list shows beside a record's columns: the secondary status,
// and when the job ended in milliseconds, if it did.
func (st *Status) brief() string {
	if st.Ended == nil {
		return st.Secondary
	}
	return st.Secondary + " " + strconv.FormatInt(st.Ended.UnixMilli(), 10)
}

// readBrief reads what brief wrote; ok is false for a record without one.
func readBrief(s string) (secondary string, ended time.Time, ok bool) {
	secondary, ms, over := strings.Cut(s, " ")
	if over {
		n, err := strconv.ParseInt(ms, 10, 64)
		if err != nil {
			return "", time.Time{}, false
		}
		ended = time.UnixMilli(n)
	}
	return secondary, ended, secondary != ""
}

// enter closes the open transition and appends a new one. It never rewrites an
// entry: clients print each once.
func (st *Status) enter(sec, message string, at time.Time) {
	if n := len(st.Transitions); n > 0 {
		last := &st.Transitions[n-1]
		if last.Status == sec && last.Message == message {
			return
		}
		if at.Before(last.Start) {
			at = last.Start
		}
		if last.End == nil {
			last.End = &at
		}
	}
	st.Secondary = sec
	st.Transitions = append(st.Transitions, Transition{Status: sec, Start: at, Message: message})
}

// tell has a line written into the job's log, once.
func (st *Status) tell(line string) {
	if line != "" && line != st.Said {
		st.Said = line
		st.Notes++
	}
}

// finish closes the last transition: a job at its end has no open entry.
func (st *Status) finish(at time.Time) {
	if n := len(st.Transitions); n > 0 {
		last := &st.Transitions[n-1]
		if last.End == nil {
			if at.Before(last.Start) {
				at = last.Start
			}
			last.End = &at
		}
	}
}

// Terminal says that a job is over.
func Terminal(phase string) bool {
	return phase == phaseCompleted || phase == phaseFailed || phase == phaseStopped
}
