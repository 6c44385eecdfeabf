//go:build !linux

package sqlite

// onFullDisk needs mounts of its own, which only Linux gives to everybody.
func onFullDisk() {}
