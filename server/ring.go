package server

import (
	"encoding/json"
	"strconv"
	"strings"

	"cartwheel/cluster/ring"
)

// RING is for operators: it shows what a change of the ring would move, makes it,
// and shows how far it has come. `cartwheel cluster` speaks it. Its replies are
// JSON.
var ringHandlers = map[string]handler{
	"ring": {slow: ringCommand},
}

const ringHelp = `APPLY LEAVE|REMOVE|WEIGHT|ZONE <node> [<value>] [EPOCH <epoch>] [FORCE]
    Make a change of the ring, if it still is of that epoch, and return its plan.
PLAN LEAVE|REMOVE|REPLACE|WEIGHT|ZONE <node> [<value>]
    Return what a change of the ring would move, and what speaks against it.
    <node> is a node id, the beginning of one, or an address.
STATUS
    Return how far the moves under way have come.`

func ringCommand(c *call) {
	args := c.args[2:]
	switch {
	case is(c.args[1], "plan"):
		c.planRing(args)
	case is(c.args[1], "apply"):
		c.applyRing(args)
	case is(c.args[1], "status") && len(args) == 0:
		progress, err := c.srv.keys.RingProgress()
		c.replyJSON(progress, err)
	case is(c.args[1], "help") && len(args) == 0:
		c.help("RING", strings.Split(ringHelp, "\n"))
	default:
		c.w.Error(errRing)
	}
}

const errRing = "ERR unknown subcommand or wrong number of arguments for 'ring' command. Try RING HELP."

func (c *call) planRing(args [][]byte) {
	change, err := ring.ParseChange(wordsOf(args))
	if err != nil {
		c.w.Error("ERR " + err.Error())
		return
	}
	plan, err := c.srv.keys.PlanRing(change)
	c.replyJSON(plan, err)
}

// applyRing is RING APPLY verb node [value] [EPOCH epoch] [FORCE].
func (c *call) applyRing(args [][]byte) {
	change, rest, err := cutChange(args)
	if err != nil {
		c.w.Error("ERR " + err.Error())
		return
	}
	epoch, force := uint64(0), false
	for ; len(rest) > 0; rest = rest[1:] {
		switch {
		case is(rest[0], "force"):
			force = true
		case is(rest[0], "epoch") && len(rest) > 1:
			rest = rest[1:]
			if epoch, err = strconv.ParseUint(string(rest[0]), 10, 64); err != nil || epoch == 0 {
				c.w.Error("ERR an epoch is a number from 1 on")
				return
			}
		default:
			c.w.Error(errSyntax)
			return
		}
	}
	plan, err := c.srv.keys.ApplyRing(change, epoch, force)
	c.replyJSON(plan, err)
}

// cutChange reads the change that args begin with.
func cutChange(args [][]byte) (change ring.Change, rest [][]byte, err error) {
	err = ring.ErrChange
	for n := 2; n <= min(3, len(args)); n++ { // without a value, and with one
		if change, err = ring.ParseChange(wordsOf(args[:n])); err == nil {
			return change, args[n:], nil
		}
	}
	return change, nil, err
}

func wordsOf(args [][]byte) (words []string) {
	for _, arg := range args {
		words = append(words, string(arg))
	}
	return words
}

func (c *call) replyJSON(value any, err error) {
	if err != nil {
		c.w.Error(wireText(err))
		return
	}
	text, err := json.Marshal(value)
	if err != nil {
		c.w.Error("ERR " + err.Error())
		return
	}
	c.w.Bulk(text)
}
