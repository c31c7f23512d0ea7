package cluster

// park ends a write that has too few to answer it; not at once: a connection that broke is soon made
// anew, and a node that has just joined soon connected.
func (op *operation) park() (notify func()) {
	now := op.c.uptime()
	op.parkedUntil = now + hurryTick<<op.parks
	op.parks++
	if op.parkedUntil-op.began > parkedMax || !op.c.young.park(op) {
		return op.tell(wireError(errUnknown))
	}
	op.parked = true
	op.round++ // what still comes of the last does not matter
	op.refs++
	return nil
}

// parkedMax is how long after its beginning a write may still be sent again.
const parkedMax = requestTimeout / 2

// again sends a parked write to those there are now: all of it once more, which changes nothing where it is.
func (op *operation) again() {
	op.mu.Lock()
	op.parked = false
	v := op.c.view.Load()
	op.begin(v, v.partition(op.key))
	op.retally()
	notify := func() (notify func()) {
		switch {
		case v.left:
			return op.tell(wireError(errUnknown))
		case !op.inReach():
			return op.park()
		}
		return op.sendAll()
	}()
	op.unref()
	if notify != nil {
		notify()
	}
}
