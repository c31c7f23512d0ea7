package cluster

import "cartwheel/cluster/quorum"

// settleAside is settle for who must not block, where there are pollers.
func (c *Coordinator) settleAside() {
	switch x := c.executor.Load(); {
	case x == nil || !(*x).Ended():
	case c.pollers.Load() == nil:
		(*x).Settle()
	case c.settling.CompareAndSwap(false, true):
		c.running.Go(func() { c.settleAll(*x) })
	}
}

// settleAll settles until nothing has ended. It is called by who has set settling.
func (c *Coordinator) settleAll(x quorum.Executor) {
	for {
		for x.Ended() {
			x.Settle()
		}
		c.settling.Store(false)
		if !x.Ended() || !c.settling.CompareAndSwap(false, true) {
			return // or somebody else goes on
		}
	}
}

// settle lets the executor respond to what has ended.
func (c *Coordinator) settle() {
	if x := c.executor.Load(); x != nil {
		(*x).Settle()
	}
}
