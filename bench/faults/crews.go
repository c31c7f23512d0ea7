package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
)

// crews are steady clients of nodes: of each as long as it is there, and nobody has anything to do with it.
// Whatever goes wrong for one of them is a trouble.
type crews struct {
	seed  uint64
	nodes map[int]*crew
	said  []string
}

// crew is the clients of one node.
type crew struct {
	load steady
	made int
	end  context.CancelFunc
	work sync.WaitGroup
}

func newCrews(seed uint64) *crews { return &crews{seed: seed, nodes: map[int]*crew{}} }

// start puts clients on a node, unless it has them.
func (c *crews) start(node int, addr string) {
	if c.nodes[node] != nil {
		return
	}
	ctx, end := context.WithCancel(context.Background())
	one := &crew{end: end, made: steadyClients}
	for n := range steadyClients {
		random := rand.New(rand.NewPCG(c.seed, uint64(node*steadyClients+n)))
		one.work.Go(func() { one.load.client(ctx, addr, random) })
	}
	c.nodes[node] = one
}

// stop ends the clients of a node, who finish what they are at.
func (c *crews) stop(node int) {
	one := c.nodes[node]
	if one == nil {
		return
	}
	one.end()
	one.work.Wait()
	delete(c.nodes, node)
	for _, failed := range one.load.errors {
		c.said = append(c.said, fmt.Sprintf("a client of node %d, which nothing was done to: %s", node, failed))
	}
	if again := int(one.load.connect.Load()) - one.made; again > 0 {
		c.said = append(c.said, fmt.Sprintf("clients of node %d, which nothing was done to, lost %d connections", node, again))
	}
}

func (c *crews) stopAll() {
	for node := range c.nodes {
		c.stop(node)
	}
}

// errors ends all, and returns what went wrong.
func (c *crews) errors() []string {
	c.stopAll()
	return c.said
}
