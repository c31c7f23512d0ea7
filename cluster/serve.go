package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cartwheel/cluster/ring"
	"cartwheel/cluster/wire"
)

// serveTimeout bounds what is done for a peer's request that may take long.
const serveTimeout = 30 * time.Second

// serve answers a request that is not one of the hot path.
func (c *Coordinator) serve(from ring.NodeID, op wire.Op, payload []byte) (status uint8, reply []byte) {
	ctx, cancel := context.WithTimeout(c.serving, serveTimeout)
	defer cancel()
	reply, err := c.answer(ctx, from, op, payload)
	if err != nil {
		return statusRefused, []byte(err.Error())
	}
	return statusOK, reply
}

func (c *Coordinator) answer(ctx context.Context, from ring.NodeID, op wire.Op, payload []byte) ([]byte, error) {
	v := c.view.Load()
	switch op {
	case opPing:
		p := v.byID[from]
		if p != nil {
			if err := c.takeStatus(p, payload); err != nil {
				return nil, err
			}
			p.toldNS.Store(int64(c.uptime()))
		}
		return c.appendStatus(nil, p, false), nil
	case opAgree:
		return c.agreement.Handle(from, payload), nil
	case opJoin:
		return c.admit(ctx, payload)
	case opRepair:
		r := c.repairing.Load()
		if r == nil {
			return nil, errors.New("this node is only starting")
		}
		return r.Handle(from, payload)
	case opScan:
		return c.servePage(v, payload)
	case opSize:
		if len(payload) != 1 || payload[0] >= databases {
			return nil, errMessage
		}
		return appendCounts(nil, c.sizeLed(v, payload[0])), nil
	case opRandom:
		if len(payload) != 1 || payload[0] >= databases {
			return nil, errMessage
		}
		return c.randomOf(v, payload[0])
	case opWeigh:
		return c.weigh(v)
	case opFlush:
		marks, ok := parseMarks(payload)
		if !ok {
			return nil, errMessage
		}
		return nil, c.store.RaiseMarks(marks)
	}
	return nil, fmt.Errorf("an unknown request: %d", op)
}
