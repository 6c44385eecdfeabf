package endpoint

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	api "clary/internal/api/sagemaker"
	"clary/internal/compute"
	"clary/internal/meter"
	"clary/internal/stage/plan"
)

// maxReason is the model's limit of FailureReason, in bytes here.
const maxReason = 1024

const msgNoCapacity = "Unable to provision requested ML compute capacity due to InsufficientInstanceCapacity error. Please retry using a different ML instance type or after some time."

// unhealthy is AWS's word for a container that does not come to answer.
func (v *variant) unhealthy(i int) string {
	return fmt.Sprintf("The %s container for production variant %s did not pass the ping health check. Please check CloudWatch logs for this endpoint.", v.container(i), v.Name)
}

// undelivered is AWS's word for a model that could not be fetched.
func (v *variant) undelivered(i int) string {
	return fmt.Sprintf("Failed to download model data for container %q from URL: %q. Please ensure that there is an object located at the URL and that the role passed to CreateModel has permissions to download the object.",
		v.container(i), source(&v.Containers[i]))
}

// source is where a container's model lies.
func source(c *api.ContainerDefinition) string {
	if d := c.ModelDataSource; c.ModelDataUrl == "" && d != nil && d.S3DataSource != nil {
		return d.S3DataSource.S3Uri
	}
	return c.ModelDataUrl
}

// ending words how a container's task ended, nil: nobody knows.
func (v *variant) ending(i int, t *compute.TaskStatus) string {
	if t == nil {
		return "What the instance had on this machine is gone."
	}
	if t.Phase == compute.Lost || t.Exit == nil {
		return "The process that watched over the instance is gone: the machine was restarted, or the process was killed."
	}
	e := t.Exit
	served := slices.ContainsFunc(t.Steps, func(s compute.Step) bool { return s.Name == plan.StepTraining })
	switch {
	case e.Reason == compute.ReasonMemory:
		text := v.unhealthy(i) + " It ran out of memory and was killed"
		if larger := meter.Larger(v.InstanceType); larger != "" {
			text += "; " + larger + " has more than " + v.InstanceType
		}
		return text + "."
	case e.Reason == compute.ReasonDisk:
		return v.unhealthy(i) + " No space left on device: it wrote more than the volume of its instance holds. VolumeSizeInGB of the production variant makes it larger."
	case e.Reason == compute.ReasonFailed:
		return v.unhealthy(i) + " It could not be run" + because(e.Result.Failure) + "."
	case !served && e.Result.Class == "ClientError":
		const from = "model data from URL"
		if text := strings.Replace(e.Result.Failure, from, fmt.Sprintf("model data for container %q from URL", v.container(i)), 1); text != e.Result.Failure {
			return cut(text)
		}
		return fit(v.unhealthy(i), e.Result.Failure)
	}
	how := fmt.Sprintf(" It exited with code %d", e.Result.ExitCode)
	if e.Result.Signal != "" {
		how = " It was ended by signal: " + e.Result.Signal
	}
	if e.Result.Failure == "" || e.Result.ExitCode == 0 { // then it says just that
		return v.unhealthy(i) + how + "."
	}
	return fit(v.unhealthy(i)+how+".", e.Result.Failure)
}

// fit adds what was said at the end, of which the last is worth the most, as
// far as there is room.
func fit(text, said string) string {
	said = strings.TrimSpace(said)
	if said == "" {
		return text
	}
	room := maxReason - len(text) - 1
	if len(said) > room {
		const more = "… "
		said = said[len(said)-max(room-len(more), 0):]
		for said != "" && !utf8.RuneStart(said[0]) {
			said = said[1:]
		}
		if _, whole, ok := strings.Cut(said, "\n"); ok {
			said = whole // no line in two
		}
		said = more + said
	}
	return cut(text + " " + said)
}

func because(cause string) string {
	if cause = strings.TrimRight(cause, ". \n"); cause == "" {
		return ""
	}
	return ": " + cause
}

// cut shortens a text to what FailureReason and a variant's StatusMessage hold,
// at a character's border.
func cut(s string) string {
	n := maxReason
	if s = strings.ToValidUTF8(s, "\ufffd"); len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
