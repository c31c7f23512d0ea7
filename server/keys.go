package server

import (
	"errors"

	"cartwheel/server/redisvalue"
	"cartwheel/store/version"
)

var keyHandlers = map[string]handler{
	"del":             {write: del, each: true, blind: always, lone: loneKey, finish: replyCount},
	"unlink":          {write: del, each: true, blind: always, lone: loneKey, finish: replyCount},
	"exists":          {read: exists, each: true, finish: replyCount},
	"touch":           {read: exists, each: true, finish: replyCount},
	"type":            {read: typeOf},
	"rename":          {slow: rename},
	"renamenx":        {slow: rename},
	"copy":            {slow: copyKey},
	"move":            {slow: move},
	"object|encoding": {read: objectEncoding},
	"object|freq":     {read: objectFreq},
	"object|idletime": {read: objectIdletime},
	"object|refcount": {read: objectRefcount},
	"object|help":     {local: objectHelp},
}

func del(c *call, v *view) {
	if v.exists() || v.lost {
		c.count++
	}
	v.remove()
}

func exists(c *call, v *view) {
	c.looked(v.exists())
	if v.exists() {
		c.count++
	}
}

func typeOf(c *call, v *view) {
	if v.exists() {
		c.w.Simple("string")
	} else {
		c.w.Simple("none")
	}
}

// loneKey is the command for one of its keys.
func loneKey(c *call, key int) [][]byte { return [][]byte{c.args[0], c.args[key]} }

// readKey reads one key for a slow command. The view is the call's, and its
// value stays valid.
func (c *call) readKey(db uint8, key []byte) (view, error) {
	var o version.Object
	seq, _, err := c.srv.keys.Read(db, key, c.need, &o, nil)
	if err != nil {
		return view{}, err
	}
	c.depend(seq)
	var v view
	v.look(c, &o)
	return v, nil
}

// rename is RENAME and RENAMENX. The new key is written before the old one is
// deleted: whoever looks in between finds both, never neither.
func rename(c *call) {
	onlyNew := c.cmd.Name == "renamenx"
	from, to := c.args[1], c.args[2]
	outcome, err := c.transfer(c.db, from, c.db, to, !onlyNew, true)
	switch {
	case err != nil:
		c.w.Error(wireText(err))
	case outcome == transferNoSource:
		c.w.Error(errNoSuchKey)
	case !onlyNew:
		c.w.OK()
	case outcome == transferDone:
		c.w.Int(1)
	default:
		c.w.Int(0)
	}
}

// move is MOVE key db.
func move(c *call) {
	db, ok := c.database(c.args[2])
	if !ok {
		return
	}
	if db == c.db {
		c.w.Error("ERR source and destination objects are the same")
		return
	}
	c.transferReply(c.transfer(c.db, c.args[1], db, c.args[1], false, true))
}

func (c *call) transferReply(outcome transferOutcome, err error) {
	switch {
	case err != nil:
		c.w.Error(wireText(err))
	case outcome == transferDone:
		c.w.Int(1)
	default:
		c.w.Int(0)
	}
}

// copyKey is COPY source destination [DB n] [REPLACE].
func copyKey(c *call) {
	db, replace := c.db, false
	for i := 3; i < len(c.args); i++ {
		switch {
		case is(c.args[i], "replace"):
			replace = true
		case is(c.args[i], "db") && i+1 < len(c.args):
			i++
			var ok bool
			if db, ok = c.database(c.args[i]); !ok {
				return
			}
		default:
			c.w.Error(errSyntax)
			return
		}
	}
	if db == c.db && string(c.args[1]) == string(c.args[2]) {
		c.w.Error("ERR source and destination objects are the same")
		return
	}
	c.transferReply(c.transfer(c.db, c.args[1], db, c.args[2], replace, false))
}

type transferOutcome uint8

const (
	transferDone transferOutcome = iota
	transferNoSource
	transferTargetExists
)

// transfer copies the value and expiry of one key to another and, where it
// moves, deletes the first, in this order:
//
//  1. Read the source.
//  2. Write the target, unless it exists and is not to be replaced.
//  3. Delete the source if it is still as it was read. If it has been written
//     since, that write must not be lost: begin again, and overwrite what step
//     2 wrote. If it has been deleted since, that has come after the transfer.
func (c *call) transfer(fromDB uint8, from []byte, toDB uint8, to []byte, replace, moves bool) (transferOutcome, error) {
	same := fromDB == toDB && string(from) == string(to)
	for try := range transferTries {
		source, err := c.readKey(fromDB, from)
		if err != nil {
			return 0, err
		}
		if !source.exists() {
			if try > 0 {
				return transferDone, nil
			}
			return transferNoSource, nil
		}
		if same {
			if replace {
				return transferDone, nil
			}
			return transferTargetExists, nil
		}
		written, err := c.setInner(toDB, to, source.value(), source.expireAtMS(), !replace)
		if err != nil {
			return 0, err
		}
		if !written {
			return transferTargetExists, nil
		}
		if !moves {
			return transferDone, nil
		}
		unchanged, err := c.removeIfInner(fromDB, from, source.o.Clock)
		if err != nil {
			return 0, errHalfway
		}
		if unchanged {
			return transferDone, nil
		}
		replace = true
	}
	return 0, errTransfer
}

const transferTries = 100

var errHalfway = errors.New("TIMEOUT the new key is written, and it is not known whether the source is deleted")

var errTransfer = errors.New("TIMEOUT the source key is written too often: the new key has a copy of it, and the source is still there")

// embeddedBytesMax is up to where Redis keeps a string beside its header.
const embeddedBytesMax = 44

func objectEncoding(c *call, v *view) {
	switch {
	case !v.exists():
		c.w.Null()
	case redisvalue.IsCanonicalInt(v.value()):
		c.w.BulkString("int")
	case len(v.value()) <= embeddedBytesMax:
		c.w.BulkString("embstr")
	default:
		c.w.BulkString("raw")
	}
}

func objectFreq(c *call, v *view) {
	if !v.exists() {
		c.w.Null()
		return
	}
	c.w.Error("ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that " +
		"when switching between policies at runtime LRU and LFU data will take some time to adjust.")
}

// objectIdletime counts from the last write or touch: reads are not kept track
// of.
func objectIdletime(c *call, v *view) {
	if !v.exists() {
		c.w.Null()
		return
	}
	c.w.Int(max(0, c.nowMS-v.win.Dot.HLC.Milliseconds()) / 1000)
}

// objectRefcount: values are not shared.
func objectRefcount(c *call, v *view) {
	if !v.exists() {
		c.w.Null()
		return
	}
	c.w.Int(1)
}

func objectHelp(c *call) {
	c.help("OBJECT", []string{
		"ENCODING <key>",
		"    Return the kind of internal representation used in order to store the value",
		"    associated with a <key>.",
		"FREQ <key>",
		"    Return the access frequency index of the <key>. The returned integer is",
		"    proportional to the logarithm of the recent access frequency of the key.",
		"IDLETIME <key>",
		"    Return the idle time of the <key>, that is the approximated number of",
		"    seconds elapsed since the last access to the key.",
		"REFCOUNT <key>",
		"    Return the number of references of the value associated with the specified",
		"    <key>.",
	})
}
