package compute

import "testing"

func TestSized(t *testing.T) {
	t.Parallel()
	small := Capacity{MemoryBytes: 8 << 30}
	for name, tc := range map[string]struct {
		c            Capacity
		vcpu, memory int
		scale        float64
		wantCPU      int
		wantBytes    int64
		clamped      bool
	}{
		"fits":                {small, 2, 4, 1, 2, 4 << 30, false},
		"exactly":             {small, 2, 8, 1, 2, 8 << 30, false},
		"more than there is":  {small, 4, 16, 1, 4, 8 << 30, true},
		"scaled to fit":       {small, 4, 16, 4, 1, 4 << 30, false},
		"never no processor":  {small, 1, 1, 8, 1, 1 << 27, false},
		"nobody knows memory": {Capacity{}, 4, 16, 1, 4, 16 << 30, false},
	} {
		r, clamped := tc.c.Sized(tc.vcpu, tc.memory, tc.scale)
		if r.VCPU != tc.wantCPU || r.MemoryBytes != tc.wantBytes || clamped != tc.clamped || r.PIDs == 0 {
			t.Errorf("%s: %+v, clamped %t", name, r, clamped)
		}
	}
}
