package cluster

import (
	"cartwheel/cluster/repair"
	"cartwheel/cluster/ring"
	"cartwheel/store"
)

// Store is what this node holds, for who judges a cluster by all its disks.
func (c *Coordinator) Store() *store.Store { return c.store }

// Document is the ring that this node goes by; nil while it knows none.
func (c *Coordinator) Document() *ring.Document { return c.agreement.Current() }

// Remains is what is held here for others: hints, repairs owed, partitions that have
// moved away.
func (c *Coordinator) Remains() (repair.Remains, error) {
	r := c.repairing.Load()
	if r == nil {
		return repair.Remains{}, nil
	}
	return r.Remains()
}

// Repaired counts the objects that were mended here so far, by reads, exchanges, hints
// and transfers.
func (c *Coordinator) Repaired() uint64 {
	n := c.stats.readRepairs.Load()
	if r := c.repairing.Load(); r != nil {
		f := r.Figures()
		n += f.Repaired + f.HintsReplayed
	}
	return n
}
