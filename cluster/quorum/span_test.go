package quorum

import (
	"testing"

	"cartwheel/store/version"
)

func TestWhatIsRunTwiceCountsAsWrittenWithinItsSpan(t *testing.T) {
	for _, c := range []struct {
		span              Span
		dot, latest, want version.HLC
		late              bool
	}{
		{Span{}, 7, 9, 7, false},
		{Span{Before: 10}, 7, 3, 7, false},
		{Span{Before: 10}, 12, 3, 10, false},
		{Span{Before: 10}, 12, 9, 10, false},
		{Span{Before: 10}, 12, 10, 10, true},
		{Span{After: 10, Before: 20}, 25, 10, 20, false},
		{Span{After: 10, Before: 20}, 25, 21, 20, true},
	} {
		if got, late := c.span.Written(c.dot, c.latest); got != c.want || late != c.late {
			t.Errorf("%+v: %v, late: %v", c, got, late)
		}
	}
}
