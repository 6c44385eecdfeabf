package jail

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMakeImage copies what is data and leaves the holes.
func TestMakeImage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	f, err := os.Create(from)
	if err != nil {
		t.Fatal(err)
	}
	const size = 8 << 20
	for _, at := range []int64{0, 4096, 3 << 20, size - 4096} {
		if _, err := f.WriteAt([]byte(fmt.Sprintf("at %d", at)), at); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	if err := MakeImage(from, to, size); err != nil {
		t.Fatal(err)
	}
	a, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(to)
	if err != nil {
		t.Fatal(err)
	}
	if string(a) != string(b) {
		t.Error("the copy differs")
	}
	var st unix.Stat_t
	if err := unix.Stat(to, &st); err != nil || st.Blocks*512 > size/8 {
		t.Errorf("%d bytes on disk, %v", st.Blocks*512, err)
	}
	if err := MakeImage(from, to, 1<<62); err == nil {
		t.Error("an image larger than the disk was made")
	}
}
