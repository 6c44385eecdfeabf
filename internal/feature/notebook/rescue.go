package notebook

import (
	"fmt"
	"strings"
	"time"

	"clary/internal/compute"
	"clary/internal/stage/agent"
)

// A deleted instance's volume is destroyed when what was worth keeping on it is
// in the account's bucket, or when there was nothing. A task of its own looks
// for that; this file decides, keep.go does.

// rescue is how that stands.
type rescue struct {
	At    time.Time `json:"at"`             // begun; the folder in the bucket is named by it
	Done  bool      `json:"done,omitzero"`  // nothing on the volume is wanted any more
	Tries int       `json:"tries,omitzero"` // that came to nothing
	Next  time.Time `json:"next,omitzero"`  // not before
	Why   string    `json:"why,omitzero"`   // the last one did
}

// noRescue is a tag that has the volume destroyed with all that is on it, when
// it is "off".
const noRescue = "clary:rescue"

const (
	rescueBound = time.Hour // of one try
	rescueFirst = time.Minute
	rescueMost  = time.Hour // between two tries
)

// erase takes the next step to the end of a deleted notebook.
func (d *decision) erase(o observed) {
	switch r := d.st.Rescue; {
	case !d.st.Made, r != nil && r.Done:
		d.raze(o)
	case o.unwanted:
		d.st.Rescue = &rescue{At: o.now, Done: true}
		d.st.tell("Nothing of the volume is rescued, as the tag " + noRescue + " says.")
		d.after = 0
	case r == nil:
		d.st.Rescue = &rescue{At: o.now}
		d.st.run(o.uid, o.now)
		d.after = 0
	default:
		own := *r
		d.st.Rescue = &own
		d.shelter(o)
	}
}

// raze is rid of the rescue's task, then of the volume.
func (d *decision) raze(o observed) {
	if o.task == nil {
		d.st.Task = ""
		d.effect = effectDelete
		return
	}
	if d.away(d.st.Task, o.task, o.taskRead); d.effect == effectRemove {
		d.st.Task, d.st.Launched = "", false
	}
}

// shelter brings what is worth keeping into the bucket.
func (d *decision) shelter(o observed) {
	r := d.st.Rescue
	switch wait := r.Next.Sub(o.now); {
	case o.task == nil && d.st.Launched:
		d.missed(o, "what it had on this machine is gone")
	case o.task == nil && wait > 0 && wait <= rescueMost:
		d.after = wait
	case o.task == nil:
		d.effect, d.after = effectShelter, 0
		d.st.Launched = true
	case o.task.Phase == compute.Ended || o.task.Phase == compute.Lost:
		d.missed(o, o.about.ended(o.task))
	default:
		d.st.Launched = true
		d.found(o)
	}
}

// found acts on what the task says that it found.
func (d *decision) found(o observed) {
	lived := o.task.Heartbeat.Sub(o.task.Created) - o.task.Suspended
	switch f := o.found; {
	case f != nil && f.Failure != "":
		d.missed(o, f.Failure)
	case f != nil && f.Ready && len(f.Files) == 0:
		if len(f.Notes) > 0 {
			d.st.tell("Nothing of what lies on the volume is kept" + because(cut(strings.Join(f.Notes, "; "), maxReason/2)))
		}
		d.st.Rescue.Done = true
		d.after = 0
	case f != nil && f.Ready && unfit(f.Files) != "":
		d.missed(o, unfit(f.Files))
	case f != nil && f.Ready:
		d.effect, d.after = effectKeep, 0
		d.st.Rescue.Done = true
	case lived > rescueBound:
		d.missed(o, "it took longer than an hour")
	case o.now.Sub(o.task.Created) < 10*time.Second:
		d.after = 100 * time.Millisecond
	default:
		d.after = time.Second
	}
}

// maxFiles is how many files of a rescue are kept.
const maxFiles = 1000

// unfit says why files cannot be kept; "" if they can. Whoever reads a volume
// may have been led astray by what lies there.
func unfit(files []agent.File) string {
	if len(files) > maxFiles {
		return fmt.Sprintf("%d files are too many", len(files))
	}
	total, names := int64(0), make(map[string]bool, len(files))
	for _, f := range files {
		if !keepable(f.Name) || names[f.Name] {
			return fmt.Sprintf("a file cannot be named %q", f.Name)
		}
		names[f.Name] = true
		// More than its disk holds cannot be.
		if f.Bytes < 0 || f.Bytes > diskBytes || total+f.Bytes > diskBytes {
			return fmt.Sprintf("%s is too large", f.Name)
		}
		total += f.Bytes
	}
	return ""
}

// keepable says whether a file's name may stand in a key, and in a path of the
// task.
func keepable(name string) bool {
	ok := func(c rune) bool {
		return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.ContainsRune("._-", c)
	}
	return name != "" && len(name) <= 100 && name != manifestName && !strings.HasPrefix(name, ".") && strings.IndexFunc(name, func(c rune) bool { return !ok(c) }) < 0
}

// missed settles a try that came to nothing. The volume stays, and is not
// billed.
func (d *decision) missed(o observed, why string) {
	r := d.st.Rescue
	r.Tries++
	wait := rescueMost
	if r.Tries < 7 {
		wait = rescueFirst << (r.Tries - 1)
	}
	r.Next, r.Why = o.now.Add(wait), cut(why, maxReason/2)
	d.st.tell(r.reason())
	d.st.Clear = d.st.Task // which may have begun, whatever was answered
	d.st.run(o.uid, o.now)
	d.after = 0
}

// reason is the FailureReason of a notebook that cannot be deleted yet.
func (r *rescue) reason() string {
	return fmt.Sprintf("What lies on the volume could not be rescued (try %d)%s. It is tried again; the volume, which costs nothing any more, is destroyed after that. "+
		"To have it destroyed without, set the tag %s of the notebook instance to off", r.Tries, because(r.Why), noRescue)
}

// ended words how a rescue's task ended.
func (a about) ended(t *compute.TaskStatus) string {
	e := t.Exit
	switch {
	case t.Phase == compute.Lost || e == nil:
		return "the machine was restarted, or the process was killed"
	case e.Reason == compute.ReasonMemory:
		return "it ran out of memory"
	case e.Reason == compute.ReasonDisk:
		return "no space was left on the disk beside the volume"
	}
	return "it ended before it was ready" + because(e.Result.Failure)
}

// folder is where in the bucket a rescue lies.
func (r *rescue) folder(name, uid string) string {
	return fmt.Sprintf("clary-rescue/%s/%s-%s/", name, r.At.UTC().Format("20060102T150405Z"), uid)
}

// manifest is what is said of a rescue beside its files.
func (r *rescue) manifest(name, arn string, found *agent.Rescue) agent.Manifest {
	return agent.Manifest{Instance: name, Arn: arn, At: r.At.UTC(), Files: found.Files, Notes: found.Notes}
}
