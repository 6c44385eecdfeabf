package job

import (
	"testing"
	"time"
)

func TestHolds(t *testing.T) {
	t.Parallel()
	var h Holds
	if d := h.look(sdkV2, "u", "me"); d != holdFirst {
		t.Errorf("first look is held %v", d)
	}
	if d := h.look(sdkV2, "u", "me"); d != holdSilent {
		t.Errorf("a silent caller's second look is held %v", d)
	}
	h.read("u", "me")
	if d := h.look(sdkV2, "u", "me"); d != 0 {
		t.Errorf("a caller that reads the log is held %v", d)
	}
	if d := h.look(sdkV2, "u", "you"); d != holdFirst {
		t.Errorf("another caller's first look is held %v", d)
	}
	h.read("u", "reader")
	if d := h.look(sdkV2, "u", "reader"); d != 0 {
		t.Errorf("a caller that read the log first is held %v", d)
	}
	for i, want := range []time.Duration{0, holdFirst, holdSilent} {
		if d := h.look(sdkV3, "u", "v3"); d != want {
			t.Errorf("look %d of version 3 is held %v, not %v", i, d, want)
		}
	}
	h.Longest = time.Minute
	for i, want := range []time.Duration{0, time.Minute, time.Minute} {
		if d := h.look(sdkV3, "u", "v3 asked to"); d != want {
			t.Errorf("look %d of version 3, held as asked, is held %v, not %v", i, d, want)
		}
	}
	h.Forget("u")
	if len(h.m) != 0 {
		t.Error("a job that is over is remembered")
	}
}

// TestSDKOf has the user agents as the SDKs send them.
func TestSDKOf(t *testing.T) {
	t.Parallel()
	for ua, want := range map[string]sdk{
		"Boto3/1.44.5 md/Botocore#1.44.5 ua/2.1 os/linux lang/python#3.11.2 cfg/retry-mode#standard Botocore/1.44.5 lib/AWS-SageMakerCore#2.27.0": sdkV3,
		"AWS-SageMaker-Python-SDK/2.257.7 Python/3.11.2 Linux/6.18 Boto3/1.44.5":                                                                  sdkV2,
		"Boto3/1.44.5 md/Botocore#1.44.5 ua/2.1 os/linux lang/python#3.11.2 Botocore/1.44.5 lib/AWS-SageMaker-Python-SDK#2.257.7":                 sdkV2,
		"Boto3/1.44.5 md/Botocore#1.44.5 ua/2.1 os/linux lang/python#3.11.2 Botocore/1.44.5":                                                      sdkNone,
		"aws-cli/1.44.5 Python/3.11.2 Linux/6.18 botocore/1.44.5":                                                                                 sdkNone,
		"": sdkNone,
	} {
		if got := sdkOf(ua); got != want {
			t.Errorf("%q is %d, not %d", ua, got, want)
		}
	}
}
