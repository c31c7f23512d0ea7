package quorum

import (
	"errors"
	"testing"
)

func TestTwoMajoritiesMeet(t *testing.T) {
	for n := 1; n <= 9; n++ {
		if m := Majority(n); 2*m <= n || m > n {
			t.Errorf("majority of %d is %d", n, m)
		}
	}
}

func TestExplicitNumbersMeanThoseNumbers(t *testing.T) {
	for _, c := range []struct {
		asked, owners, want int
		err                 error
	}{
		{0, 1, 1, nil}, {0, 3, 2, nil}, {1, 3, 1, nil}, {3, 3, 3, nil}, {2, 1, 0, ErrNoReplicas},
	} {
		r, err := Need{R: c.asked}.Reads(c.owners)
		if r != c.want || !errors.Is(err, c.err) {
			t.Errorf("R %d of %d owners: %d, %v", c.asked, c.owners, r, err)
		}
		w, err := Need{W: c.asked}.Writes(c.owners)
		if w != c.want || !errors.Is(err, c.err) {
			t.Errorf("W %d of %d owners: %d, %v", c.asked, c.owners, w, err)
		}
	}
}
