package training

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"clary/internal/api"
	"clary/internal/compute"
	"clary/internal/resource"
)

// Kind is the record kind of training jobs.
const Kind resource.Kind = "TrainingJob"

// The values of TrainingJobStatus, kept in Record.Phase.
const (
	phaseInProgress = "InProgress"
	phaseCompleted  = "Completed"
	phaseFailed     = "Failed"
	phaseStopping   = "Stopping"
	phaseStopped    = "Stopped"
	phaseDeleting   = "Deleting"
)

// The values of SecondaryStatus that we use.
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

// transition is one entry of SecondaryStatusTransitions.
type transition struct {
	Status  string     `json:"status"`
	Start   time.Time  `json:"start"`
	End     *time.Time `json:"end,omitzero"`
	Message string     `json:"message,omitzero"`
}

// status is what we keep beside the request.
type status struct {
	V           int          `json:"v"`
	Secondary   string       `json:"secondary"`
	Transitions []transition `json:"transitions"`
	Failure     string       `json:"failure,omitzero"`
	Artifact    string       `json:"artifact,omitzero"`
	Started     *time.Time   `json:"started,omitzero"` // TrainingStartTime: first Downloading
	Ended       *time.Time   `json:"ended,omitzero"`
	StopAsked   *time.Time   `json:"stopAsked,omitzero"`
	Launched    bool         `json:"launched,omitzero"` // the driver accepted the task
	StepsSeen   int          `json:"stepsSeen,omitzero"`
	Notes       int          `json:"notes,omitzero"`     // lines of ours in the log stream
	Said        string       `json:"said,omitzero"`      // the newest of them
	Stream      string       `json:"stream"`             // log stream name
	Note        string       `json:"note,omitzero"`      // where the runtime differs from the asked image, or a clamped size
	Cleaned     bool         `json:"cleaned,omitzero"`   // the task was removed from the driver
	Suspended   float64      `json:"suspended,omitzero"` // seconds the machine slept, not billed
}

func readStatus(r *resource.Record) (status, error) {
	var st status
	if err := unmarshal(r.Status, &st); err != nil {
		return st, fmt.Errorf("training job %s: status: %w", r.Name, err)
	}
	return st, nil
}

func (st *status) write(r *resource.Record) error {
	b, err := marshal(st)
	if err != nil {
		return fmt.Errorf("training job %s: status: %w", r.Name, err)
	}
	r.Status, r.Brief = b, st.brief()
	return nil
}

// brief is what a list shows beside a record's columns: the secondary status,
// and when the job ended in milliseconds, if it did.
func (st *status) brief() string {
	if st.Ended == nil {
		return st.Secondary
	}
	return st.Secondary + " " + strconv.FormatInt(st.Ended.UnixMilli(), 10)
}

// readBrief reads what brief wrote; ok is false for a record without one.
func readBrief(s string) (secondary string, ended api.Time, ok bool) {
	secondary, ms, over := strings.Cut(s, " ")
	if over {
		n, err := strconv.ParseInt(ms, 10, 64)
		if err != nil {
			return "", api.Time{}, false
		}
		ended = api.At(time.UnixMilli(n))
	}
	return secondary, ended, secondary != ""
}

// enter closes the open transition and appends a new one. It never rewrites an
// entry: clients print each once.
func (st *status) enter(sec, message string, at time.Time) {
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
	st.Transitions = append(st.Transitions, transition{Status: sec, Start: at, Message: message})
}

// tell has a line written into the job's log, once.
func (st *status) tell(line string) {
	if line != "" && line != st.Said {
		st.Said = line
		st.Notes++
	}
}

// finish closes the last transition: a job at its end has no open entry.
func (st *status) finish(at time.Time) {
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

func terminal(phase string) bool {
	return phase == phaseCompleted || phase == phaseFailed || phase == phaseStopped
}

// taskID is that of the job's only instance.
func taskID(uid string) compute.TaskID { return compute.TaskID(uid + "-1") }
