package rescue

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestCut: the smallest files go first, and never more than there is room for.
func TestCut(t *testing.T) {
	t.Parallel()
	for range 300 {
		var h histogram
		list := make([]int64, 1+rand.IntN(60))
		var sum int64
		for i := range list {
			list[i] = rand.Int64N(1 << rand.IntN(50))
			h.add(list[i])
			sum += list[i]
		}
		most := rand.Int64N(sum + 2)
		fits := h.cut(most)
		var taken, smallestOut, largestIn int64 = 0, 1 << 62, 0
		for _, n := range list {
			if fits(n) {
				taken += n
				largestIn = max(largestIn, n)
			} else {
				smallestOut = min(smallestOut, n)
			}
		}
		slices.Sort(list)
		if taken > most || largestIn > smallestOut+smallestOut/16+1 || most >= sum && taken != sum {
			t.Fatalf("of %d at most %d: %d, largest in %d, smallest out %d: %d", sum, most, taken, largestIn, smallestOut, list)
		}
	}
}
