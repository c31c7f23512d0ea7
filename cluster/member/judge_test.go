package member

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

var dawn = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func ms(n int) time.Time { return dawn.Add(time.Duration(n) * time.Millisecond) }

func newJudge() *judge { return &judge{suspectAfter: 200 * time.Millisecond, suspectTimeouts: 3} }

func TestWhoIsUp(t *testing.T) {
	linked := func(j *judge) { j.linked(true, ms(0)) }
	asked := func(j *judge, from, to int) { // and not answered
		for at := from; at <= to; at += 20 {
			j.observe(true, 0, ms(at))
		}
	}
	for _, c := range []struct {
		name  string
		steps func(j *judge)
		up    bool
	}{
		{"nothing known", func(*judge) {}, false},
		{"gossip alone", func(j *judge) { j.gossiped(true, ms(0)) }, false},
		{"a link", linked, true},
		{"a link that broke", func(j *judge) { linked(j); j.linked(false, ms(1)) }, false},
		{"idle for long", func(j *judge) { linked(j); j.observe(false, 0, ms(5000)) }, true},
		{"asked a moment ago", func(j *judge) { linked(j); asked(j, 0, 180) }, true},
		{"asked for 200 ms", func(j *judge) { linked(j); asked(j, 0, 200) }, false},
		{"asked for 200 ms in which this process stood still", func(j *judge) { linked(j); asked(j, 0, 40); asked(j, 240, 420) }, true},
		{"asked for 200 ms since this process stood still", func(j *judge) { linked(j); asked(j, 0, 40); asked(j, 240, 440) }, false},
		{"asked and answering others", func(j *judge) { linked(j); j.observe(true, 1, ms(150)); j.observe(true, 1, ms(300)) }, true},
		{"asked first after an idle time", func(j *judge) { linked(j); j.observe(false, 0, ms(1000)); j.observe(true, 0, ms(1010)) }, true},
		{"answered after all", func(j *judge) { linked(j); asked(j, 0, 200); j.answered(ms(201)) }, true},
		{"two timeouts", func(j *judge) { linked(j); j.timedOut(2, ms(1)) }, true},
		{"three timeouts", func(j *judge) { linked(j); j.timedOut(2, ms(1)); j.timedOut(1, ms(2)) }, false},
		{"an answer between timeouts", func(j *judge) { linked(j); j.timedOut(2, ms(1)); j.answered(ms(2)); j.timedOut(2, ms(3)) }, true},
		{"an answer after timeouts", func(j *judge) { linked(j); j.timedOut(3, ms(1)); j.answered(ms(2)) }, true},
		{"overdue, whatever gossip says", func(j *judge) { linked(j); j.timedOut(3, ms(1)); j.gossiped(true, ms(2)) }, false},
		{"a new link after timeouts", func(j *judge) { linked(j); j.timedOut(3, ms(1)); j.linked(false, ms(2)); j.linked(true, ms(3)) }, true},
		{"dead by gossip", func(j *judge) { linked(j); j.gossiped(false, ms(1)) }, false},
		{"dead by gossip and answering", func(j *judge) { linked(j); j.answered(ms(1)); j.gossiped(false, ms(2)) }, true},
		{"dead by gossip, answered long ago", func(j *judge) { linked(j); j.answered(ms(1)); j.gossiped(false, ms(500)) }, false},
		{"dead by gossip, then answering", func(j *judge) { linked(j); j.gossiped(false, ms(1)); j.answered(ms(2)) }, true},
		{"dead by gossip, then alive", func(j *judge) { linked(j); j.gossiped(false, ms(1)); j.gossiped(true, ms(2)) }, true},
		{"dead by gossip, and a new link", func(j *judge) { j.gossiped(false, ms(1)); j.linked(true, ms(2)) }, false},
	} {
		j := newJudge()
		if c.steps(j); j.up() != c.up {
			t.Errorf("%s: up is %v", c.name, j.up())
		}
	}
}

func TestAPeerThatIsLateCanBeReachedForAWhile(t *testing.T) {
	j := newJudge()
	at := 0
	asked := func(to int, want bool) {
		t.Helper()
		for ; at <= to; at += 20 {
			j.observe(true, j.answers, ms(at))
		}
		if j.reachable() != want {
			t.Errorf("after %d ms it can be reached: %t", to, j.reachable())
		}
	}
	asked(100, false) // there is no link
	j.linked(true, ms(at))
	asked(500, true)
	if j.up() {
		t.Error("it is up, and has not answered")
	}
	asked(2200, true)
	j.gossiped(false, ms(at))
	asked(2280, true)
	asked(2400, false)
	j.timedOut(3, ms(at))
	asked(2500, false)
	j.answered(ms(at))
	asked(4600, true)
	at += 3000 // in which this process stood still
	asked(9500, true)
	asked(9700, false)
	j.linked(false, ms(at))
	j.linked(true, ms(at))
	asked(9800, true)
}

func TestAFlappingPeerIsSteadyLater(t *testing.T) {
	j := newJudge()
	j.linked(true, ms(0))
	if j.steady(ms(999)) || !j.steady(ms(1000)) {
		t.Fatal("the first time it takes a second")
	}
	at, waited := 1000, time.Duration(0)
	for range 6 {
		j.linked(false, ms(at))
		if j.steady(ms(at)) {
			t.Fatal("steady while down")
		}
		j.linked(true, ms(at+1))
		at += 2
	}
	for ; !j.steady(ms(at)); at += 1000 {
		waited += time.Second
	}
	if waited < 20*time.Second || waited > 31*time.Second {
		t.Errorf("after 6 flaps it took %v", waited)
	}
	at += int((5 * steadyMax).Milliseconds())
	j.linked(false, ms(at))
	j.linked(true, ms(at+1))
	if !j.steady(ms(at + 2101)) {
		t.Error("a long calm is not counted")
	}
}

// Whatever happens, a peer without a link is down, and one that has just answered
// over a link is up.
func TestALinkAndAnAnswerDecide(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		j, at, answers := newJudge(), 0, uint64(0)
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			at += rapid.IntRange(0, 300).Draw(t, "ms")
			switch rapid.IntRange(0, 4).Draw(t, "event") {
			case 0:
				j.linked(rapid.Bool().Draw(t, "link"), ms(at))
			case 1:
				answers++
				j.answered(ms(at))
				if j.up() != j.link {
					t.Fatal("an answer over a link, and the peer is down")
				}
			case 2:
				j.timedOut(rapid.IntRange(1, 3).Draw(t, "n"), ms(at))
			case 3:
				j.gossiped(rapid.Bool().Draw(t, "alive"), ms(at))
			case 4:
				j.observe(rapid.Bool().Draw(t, "pending"), answers, ms(at))
			}
			if j.up() && !j.link {
				t.Fatal("up without a link")
			}
			if j.up() && !j.reachable() {
				t.Fatal("up, and cannot be reached")
			}
			if !j.up() && j.link && !j.asking() {
				t.Fatal("down for ever: nobody asks it")
			}
			if j.up() == j.upSince.IsZero() {
				t.Fatal("it is not known since when it is up")
			}
		}
	})
}
