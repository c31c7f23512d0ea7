package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"cartwheel/cluster/wire"
)

// A call is a request that someone waits for.
type call struct {
	ended  chan struct{}
	status uint8
	reply  []byte
	err    error
}

func (w *call) end(reply *wire.Reply) {
	w.status, w.err = reply.Status, reply.Err
	if w.err == nil {
		w.reply = append([]byte(nil), reply.Payload...)
	}
	close(w.ended)
}

// wait returns when the call has ended, or nobody wants to know any more. A deadline is
// the link's to see to: it is a request's timeout.
func (w *call) wait(ctx context.Context) error {
	select {
	case <-w.ended:
		return w.err
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.Canceled) {
			return ctx.Err()
		}
	}
	<-w.ended
	return w.err
}

var (
	errDown    = errors.New("the node is down")
	errRings   = errors.New("the nodes do not agree on the ring yet")
	errUnknown = errors.New("too few replicas have answered in time")
)

// A refusal is a peer's reason for not doing what it was asked.
type refusal struct{ why string }

func (r *refusal) Error() string { return "refused by the peer: " + r.why }

// callTries is how often a call is made while the nodes learn each other's ring.
const callTries = 5

// call asks a peer and waits for its reply, or until ctx is cancelled. Where the
// nodes have different rings, the one that is behind learns the other's, and the call
// is repeated.
func (c *Coordinator) call(ctx context.Context, p *peer, lane wire.Lane, op wire.Op, epoch uint64, payload ...[]byte) ([]byte, error) {
	timeout := requestTimeout
	if deadline, ok := ctx.Deadline(); ok {
		timeout = time.Until(deadline)
	}
	for range callTries {
		w := &call{ended: make(chan struct{})}
		if err := p.sendOn(lane, op, epoch, timeout, w, payload...); err != nil {
			return nil, err
		}
		p.link.Flush()
		if err := w.wait(ctx); err != nil {
			return nil, err
		}
		switch w.status {
		case statusBehind:
			if p.deaf() {
				return nil, errRings
			}
			if err := c.teach(p, timeout); err != nil {
				return nil, err
			}
		case statusEpoch: // deliver has learnt it
			if c.deaf() {
				return nil, errRings
			}
		case statusRefused:
			return nil, &refusal{string(w.reply)}
		default:
			return w.reply, nil
		}
		epoch = c.view.Load().epoch
	}
	return nil, errRings
}

// teach sends the present ring to a peer and waits until it has it.
func (c *Coordinator) teach(p *peer, timeout time.Duration) error {
	v := c.view.Load()
	w := &call{ended: make(chan struct{})}
	if err := p.sendOn(wire.Bulk, opDocument, v.epoch, timeout, w, v.text); err != nil {
		return err
	}
	p.link.Flush()
	<-w.ended
	p.taught(w.err, w.status)
	return w.err
}

// askAll asks all peers of some kind at once, and returns what those reply that do.
func (c *Coordinator) askAll(v *view, of func(*peer) bool, op wire.Op, payload []byte) map[*peer][]byte {
	lane := wire.Small
	if op == opWeigh { // its replies may be long
		lane = wire.Bulk
	}
	replies := make(map[*peer][]byte, len(v.peers))
	var mu sync.Mutex
	var asking sync.WaitGroup
	for _, p := range v.peers {
		if !of(p) {
			continue
		}
		asking.Go(func() {
			reply, err := c.call(context.Background(), p, lane, op, v.epoch, payload)
			if err != nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			replies[p] = reply
		})
	}
	asking.Wait()
	return replies
}

// How long a flush goes on asking a live node that does not take it.
const (
	flushTimeout = 5 * time.Second
	flushPause   = 20 * time.Millisecond
)

// spreadMarks has all live peers raise their flush marks to this node's.
func (c *Coordinator) spreadMarks(v *view) error {
	marks := appendMarks(nil, c.store.FlushMarks())
	var mu sync.Mutex
	var failed error
	var asking sync.WaitGroup
	for _, p := range v.peers {
		asking.Go(func() {
			for end := c.uptime() + flushTimeout; reachable(p); c.pause(flushPause) {
				if c.uptime() > end {
					mu.Lock()
					failed = errUnknown
					mu.Unlock()
					return
				}
				_, err := c.call(context.Background(), p, wire.Small, opFlush, v.epoch, marks)
				if err == nil {
					return
				}
				var no *refusal
				if errors.As(err, &no) {
					mu.Lock()
					failed = fmt.Errorf("%w: node %s: %w", errUnknown, p.id, err) // the mark is here, and maybe elsewhere
					mu.Unlock()
					return
				}
			}
		})
	}
	asking.Wait()
	return failed
}
