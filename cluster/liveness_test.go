package cluster

import (
	"testing"
	"testing/synctest"
	"time"
)

// Two nodes know how the other is by one ping an interval, whoever sends it; each sends some, lest one that does not
// get through be noticed late; and where one is silent, the other pings each time.
func TestTwoNodesPingInTurn(t *testing.T) {
	const seconds = 100
	for _, lag := range []time.Duration{0, pingInterval / 10, pingInterval / 2, pingInterval * 9 / 10} {
		for _, silent := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				c := &Coordinator{started: time.Now()}
				a, b := &peer{c: c}, &peer{c: c} // each as the other sees it
				var byA, byB int
				time.Sleep(time.Second)
				for range seconds {
					if b.toBePinged() {
						a.toldNS.Store(int64(c.uptime()))
						byA++
					}
					time.Sleep(lag)
					if !silent && a.toBePinged() {
						b.toldNS.Store(int64(c.uptime()))
						byB++
					}
					time.Sleep(pingInterval - lag)
				}
				switch {
				case silent && byA != seconds:
					t.Errorf("lag %v: %d pings of a silent node in %d s", lag, byA, seconds)
				case !silent && (byA+byB > seconds+4 || byA < seconds*2/5 || byB < seconds*2/5):
					t.Errorf("lag %v: %d and %d pings in %d s", lag, byA, byB, seconds)
				}
			})
		}
	}
}
