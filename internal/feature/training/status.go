package training

import (
	"encoding/json"
	"fmt"
	"time"

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
	End     *time.Time `json:"end,omitempty"`
	Message string     `json:"message,omitempty"`
}

// status is what we keep beside the request.
type status struct {
	V           int          `json:"v"`
	Secondary   string       `json:"secondary"`
	Transitions []transition `json:"transitions"`
	Failure     string       `json:"failure,omitempty"`
	Artifact    string       `json:"artifact,omitempty"`
	Started     *time.Time   `json:"started,omitempty"` // TrainingStartTime: first Downloading
	Ended       *time.Time   `json:"ended,omitempty"`
	StopAsked   *time.Time   `json:"stopAsked,omitempty"`
	Launched    bool         `json:"launched,omitempty"` // the driver accepted the task
	StepsSeen   int          `json:"stepsSeen,omitempty"`
	Notes       int          `json:"notes,omitempty"`     // lines of ours in the log stream
	Said        string       `json:"said,omitempty"`      // the newest of them
	Stream      string       `json:"stream"`              // log stream name
	Note        string       `json:"note,omitempty"`      // where the runtime differs from the asked image, or a clamped size
	Cleaned     bool         `json:"cleaned,omitempty"`   // the task was removed from the driver
	Suspended   float64      `json:"suspended,omitempty"` // seconds the machine slept, not billed
}

func readStatus(r *resource.Record) (status, error) {
	var st status
	if err := json.Unmarshal(r.Status, &st); err != nil {
		return st, fmt.Errorf("training job %s: status: %w", r.Name, err)
	}
	return st, nil
}

func (st *status) write(r *resource.Record) error {
	b, err := json.Marshal(st)
	if err != nil {
		return fmt.Errorf("training job %s: status: %w", r.Name, err)
	}
	r.Status = b
	return nil
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
