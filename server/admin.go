package server

import (
	"math"
	"strconv"
	"sync/atomic"
	"time"

	"cartwheel/server/redisvalue"
)

var serverHandlers = map[string]handler{
	"time":         {local: timeOfDay},
	"dbsize":       {slow: dbSize},
	"flushdb":      {slow: flushDB},
	"flushall":     {slow: flushAll},
	"shutdown":     {local: shutdown},
	"save":         {slow: save},
	"bgsave":       {slow: bgSave},
	"lastsave":     {local: func(c *call) { c.w.Int(c.srv.saves.lastS.Load()) }},
	"role":         {local: role},
	"wait":         {slow: wait},
	"swapdb":       {local: swapDB},
	"debug":        {slow: debugSleep},
	"lolwut":       {local: lolwut},
	"memory|usage": {begin: beginMemoryUsage, read: memoryUsage},
	"memory|help":  help(memoryHelp),
	"info":         {slow: info},
}

func timeOfDay(c *call) {
	now := time.Now()
	c.w.Array(2)
	c.w.BulkString(strconv.FormatInt(now.Unix(), 10))
	c.w.BulkString(strconv.Itoa(now.Nanosecond() / int(time.Microsecond)))
}

// dbSize waits until the counts are right: after an unclean stop that takes a
// scan.
func dbSize(c *call) {
	_, ready := c.size()
	select {
	case <-ready:
	case <-c.s.ctx.Done():
		c.w.Error(errEnding.Error())
		return
	}
	keys, _ := c.size()
	c.w.Int(keys)
}

// size counts the keys that this port shows; at the cluster port, clients add
// the nodes up.
func (c *call) size() (keys int64, ready <-chan struct{}) {
	if c.s.atClusterPort() {
		return c.srv.keys.SizeOwned(c.db)
	}
	keys, _, _, ready = c.srv.keys.Size(c.db)
	return keys, ready
}

func flushDB(c *call) { c.flush([]uint8{c.db}) }

func flushAll(c *call) {
	all := make([]uint8, databases)
	for db := range all {
		all[db] = uint8(db)
	}
	c.flush(all)
}

// flush sets a mark, which takes the same time with ASYNC and with SYNC.
func (c *call) flush(dbs []uint8) {
	if len(c.args) > 2 || len(c.args) == 2 && !is(c.args[1], "async") && !is(c.args[1], "sync") {
		c.w.Error(errSyntax)
		return
	}
	if err := c.srv.keys.Flush(dbs); err != nil {
		c.w.Error(wireText(err))
		return
	}
	c.w.OK()
}

// shutdown asks for the server's end and has no reply: the connection closes.
// There are no snapshots: SAVE and NOSAVE both leave everything on the disk.
func shutdown(c *call) {
	abort, save, noSave := false, false, false
	for _, arg := range c.args[1:] {
		switch {
		case is(arg, "abort"):
			abort = true
		case is(arg, "save"):
			save = true
		case is(arg, "nosave"):
			noSave = true
		case is(arg, "now"), is(arg, "force"):
		default:
			c.w.Error(errSyntax)
			return
		}
	}
	switch {
	case abort && len(c.args) > 2, save && noSave:
		c.w.Error(errSyntax)
	case abort:
		c.w.Error("ERR No shutdown in progress.")
	default:
		c.srv.log.Info().Uint64("client", c.s.id).Str("addr", c.s.addr).Msg("a client asks for a shutdown")
		c.s.closing = true
		c.srv.requestShutdown()
	}
}

// saves is what is known of SAVE and BGSAVE, which sync what is written. Its
// fields may be used from anywhere.
type saves struct {
	lastS   atomic.Int64 // Unix time
	running atomic.Bool  // BGSAVE
	failed  atomic.Bool
}

func (s *Server) save() error {
	err := s.keys.Sync()
	s.saves.failed.Store(err != nil)
	if err == nil {
		s.saves.lastS.Store(time.Now().Unix())
	}
	return err
}

func save(c *call) {
	if err := c.srv.save(); err != nil {
		c.w.Error(wireText(err))
		return
	}
	c.w.OK()
}

func bgSave(c *call) {
	srv := c.srv
	schedule := len(c.args) == 2 && is(c.args[1], "schedule")
	if len(c.args) > 1 && !schedule {
		c.w.Error(errSyntax)
		return
	}
	if !srv.saves.running.CompareAndSwap(false, true) {
		c.w.Error("ERR Background save already in progress")
		return
	}
	srv.serving.Go(func() {
		defer srv.saves.running.Store(false)
		if err := srv.save(); err != nil {
			srv.log.Error().Err(err).Msg("BGSAVE failed")
		}
	})
	c.w.Simple("Background saving started")
}

func role(c *call) {
	c.w.Array(3)
	c.w.BulkString("master")
	c.w.Int(0)
	c.w.Array(0)
}

// wait waits for replicas that follow this server, of which there are none: a
// write is at its replicas when it is acknowledged.
func wait(c *call) {
	replicas, ok := c.integer(c.args[1])
	if !ok {
		return
	}
	timeout, ok := c.timeout(c.args[2])
	if !ok {
		return
	}
	if replicas > 0 && c.s.block(timeout) {
		c.w.Error("UNBLOCKED client unblocked via CLIENT UNBLOCK")
		return
	}
	c.w.Int(0)
}

func swapDB(c *call) {
	for i, which := range []string{"first", "second"} {
		if _, ok := redisvalue.ParseInt(c.args[1+i]); !ok {
			c.w.Error("ERR invalid " + which + " DB index")
			return
		}
	}
	for _, arg := range c.args[1:] {
		if db, _ := redisvalue.ParseInt(arg); db < 0 || db >= databases {
			c.w.Error(errDBIndex)
			return
		}
	}
	c.w.Error("ERR SWAPDB is not supported: the number of its database is a part of where a key is stored, " +
		"so every key of both would have to move")
}

// debugSleep makes its own connection wait, not the server.
func debugSleep(c *call) {
	if is(c.args[1], "help") {
		c.help("DEBUG", []string{"SLEEP <seconds>", "    Stop this connection for <seconds>. Decimals allowed."})
		return
	}
	if !is(c.args[1], "sleep") || len(c.args) != 3 {
		c.w.Error("ERR unknown subcommand or wrong number of arguments for '" + string(c.args[1][:min(len(c.args[1]), 128)]) +
			"'. DEBUG has only SLEEP <seconds>.")
		return
	}
	s, err := strconv.ParseFloat(string(c.args[2]), 64)
	if err != nil || math.IsNaN(s) {
		c.w.Error(errNotFloat)
		return
	}
	const secondsMax = 1e9 // a Duration holds it
	if d := time.Duration(min(s, secondsMax) * float64(time.Second)); d > 0 {
		c.s.await(d, nil)
	}
	c.w.OK()
}
