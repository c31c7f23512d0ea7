package server

import (
	"sync"
	"sync/atomic"

	"cartwheel/cluster/quorum"
)

// An executor runs the commands that other nodes forward, for package cluster.
// They run as if a client had sent them, but never go on to a third node.
type executor struct {
	srv   *Server
	shard *shard

	mu    sync.Mutex
	ended []*execution // guarded by mu: they wait for a commit
}

// An execution is a session of one forwarded command.
type execution struct {
	session
	x       *executor
	respond func(reply []byte, err error)
	signals atomic.Int32 // that the call can be advanced, and one while someone drives it
}

// Executor returns what runs the commands that other nodes forward.
func (s *Server) Executor() quorum.Executor { return &s.executor }

// Execute begins to run, and does not wait for, a command whose memory stays unchanged until respond is
// called, which Settle may do, from any goroutine.
func (x *executor) Execute(f *quorum.Forwarded, respond func(reply []byte, err error)) {
	e := &execution{x: x, respond: respond}
	s := &e.session
	s.srv, s.shard, s.authed, s.forwarded = x.srv, x.shard, true, true
	s.addr, s.laddr = "peer", "peer"
	s.ctx, s.cancel = x.srv.ctx, func() {}
	s.db, s.need = f.DB, f.Need
	s.out.RESP3 = f.RESP3
	c := x.srv.newCall(s)
	s.call = c
	c.args, c.db, c.need, c.w = f.Args, f.DB, f.Need, &c.own
	c.own.RESP3 = f.RESP3
	c.nowMS, c.began = x.srv.keys.NowMS(), x.srv.uptime()
	s.tell = e.signal
	e.signals.Store(1)
	if f.DB >= databases || len(f.Args) == 0 {
		c.own.Error(errDBIndex)
		e.end()
		return
	}
	if refusal := c.findAny(); refusal != "" {
		c.own.Error(refusal)
		e.end()
		return
	}
	if c.h.slow != nil || len(f.Args) > loopArgsMax {
		if !x.srv.begin() {
			c.own.Error("NOREPLICAS This node is stopping")
			e.end()
			return
		}
		go func() {
			defer x.srv.serving.Done()
			c.wake = make(chan struct{}, 1)
			e.run()
			c.wake = nil
			e.end()
			x.Settle()
		}()
		return
	}
	if e.run() {
		e.end()
		return
	}
	e.drive()
}

// signal says that the call can be advanced. Whoever drives it does so, or else
// the caller.
func (e *execution) signal() {
	e.doneMu.Lock()
	e.done = e.done[:0]
	e.doneMu.Unlock()
	if e.signals.Add(1) == 1 {
		e.signals.Add(1)
		e.drive()
	}
}

// drive advances the call for each signal that there is.
func (e *execution) drive() {
	for e.signals.Add(-1) > 0 {
		if e.call.advance() {
			e.end()
			return
		}
	}
}

// run runs the call, and reports whether it has ended.
func (e *execution) run() (ended bool) {
	c := e.call
	defer func() {
		if fault := recover(); fault != nil {
			e.fault(c, fault)
			c.own.Buf, c.spoiled, ended = c.own.Buf[:0], true, true
			c.own.Error("ERR the command failed")
		}
	}()
	if c.h.local != nil {
		c.own.Error(errForwarded.Error())
		return true
	}
	if c.wake != nil {
		c.runBlocking()
		return true
	}
	c.run()
	return !c.isPending()
}

func (e *execution) end() {
	e.record(e.call, e.srv.uptime())
	e.x.mu.Lock()
	defer e.x.mu.Unlock()
	e.x.ended = append(e.x.ended, e)
}

// Ended says whether there is something to settle.
func (x *executor) Ended() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.ended) > 0
}

// Settle commits what the commands that have ended have changed, once for all,
// and responds.
func (x *executor) Settle() {
	x.mu.Lock()
	ended := x.ended
	x.ended = nil
	x.mu.Unlock()
	seq := uint64(0)
	for _, e := range ended {
		seq = max(seq, e.seq)
	}
	var err error
	if seq > x.srv.keys.Committed() {
		err = x.srv.keys.Commit(seq)
	}
	for _, e := range ended {
		c := e.call
		e.respond(c.own.Buf, err)
		if !c.spoiled {
			x.srv.free(c)
		}
	}
}
