package jail

import (
	"errors"
	"io"
	"testing"

	"clary/internal/stage/plan"
)

// An end that has gone may have left words of ours unread; what it said before
// it went is heard all the same.
func TestLastWordsAreHeard(t *testing.T) {
	t.Parallel()
	a, b, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	here, err := NewPackets(a)
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	there, err := NewPackets(b)
	if err != nil {
		t.Fatal(err)
	}
	if err := here.Send(Order{Go: true}); err != nil {
		t.Fatal(err)
	}
	for _, w := range []Word{{Step: "Uploading"}, {End: &plan.Result{Artifact: "s3://b/k"}}} {
		if err := there.Send(w); err != nil {
			t.Fatal(err)
		}
	}
	if err := there.Close(); err != nil { // with an order unread
		t.Fatal(err)
	}
	var step, end Word
	if err := here.Receive(&step, nil); err != nil || step.Step != "Uploading" {
		t.Errorf("first came %+v, %v", step, err)
	}
	if err := here.Receive(&end, nil); err != nil || end.End == nil || end.End.Artifact != "s3://b/k" {
		t.Errorf("then came %+v, %v", end, err)
	}
	if err := here.Receive(&end, nil); !errors.Is(err, io.EOF) {
		t.Errorf("at the end came %v", err)
	}
}
