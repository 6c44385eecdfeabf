package compute

// Sized are the limits of an instance of vcpu processors and memoryGiB, divided
// by the operator's scale. Memory is what the machine has at most; clamped says
// that it has less than that.
func (c Capacity) Sized(vcpu, memoryGiB int, scale float64) (r Resources, clamped bool) {
	r = Resources{VCPU: max(1, int(float64(vcpu)/scale)), MemoryBytes: int64(float64(memoryGiB) / scale * (1 << 30)), PIDs: 4096}
	if m := c.MemoryBytes; m > 0 && r.MemoryBytes > m {
		r.MemoryBytes, clamped = m, true
	}
	return r, clamped
}
