package cluster

import (
	"testing"
	"time"

	"cartwheel/store/version"
)

// A node that has just taken a new incarnation hands out contexts which name it, and its clients may
// go to another node before that has been told.
func TestAContextOfAnIncarnationThatIsNotKnownYetIsTakenWhileItIsYoung(t *testing.T) {
	w := newWorldOf(t, 3, 3, quiet)
	c := w.nodes[0]
	nowMS := c.store.NowMS()
	at := func(age time.Duration) version.HLC {
		return version.MakeHLC(nowMS-age.Milliseconds(), 0)
	}
	const unknown = version.Incarnation(12345)
	for age, want := range map[time.Duration]bool{0: true, youngLife / 2: true, 2 * youngLife: false, -time.Minute: false} {
		if got := c.Knows(version.Clock{{Incarnation: unknown, HLC: at(age)}}, nowMS); got != want {
			t.Errorf("an unknown incarnation whose last dot is %v old: %v", age, got)
		}
	}
	c.lives.saw(version.Clock{{Incarnation: unknown, HLC: at(2 * youngLife)}})
	if !c.Knows(version.Clock{{Incarnation: unknown, HLC: at(2 * youngLife)}}, nowMS) {
		t.Error("one that is known is refused")
	}
}
