package compat

import (
	"errors"
	"flag"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"cartwheel/bench/proc"
)

// allCommands are all the generators whose commands are compared.
var allCommands = slices.Concat(stringCommands, numberCommands, bitCommands, keyCommands, expiryCommands, keyspaceCommands)

// comparedCommands are the commands on keys and strings that Cartwheel has, those beyond Redis left out.
const comparedCommands = `
	DEL UNLINK EXISTS TYPE EXPIRE PEXPIRE EXPIREAT PEXPIREAT TTL PTTL EXPIRETIME PEXPIRETIME PERSIST RENAME RENAMENX
	COPY MOVE SCAN KEYS RANDOMKEY TOUCH OBJECT DUMP RESTORE
	GET SET GETEX GETDEL GETSET GETRANGE SUBSTR SETRANGE APPEND STRLEN INCR DECR INCRBY DECRBY INCRBYFLOAT MGET MSET
	MSETNX SETNX SETEX PSETEX LCS GETBIT SETBIT BITCOUNT BITPOS BITOP BITFIELD BITFIELD_RO
	DBSIZE FLUSHDB FLUSHALL SELECT PING ECHO`

var steps = flag.Int("compat.steps", 300, "commands sent of each kind, a protocol, in the comparison with redis-server")

const longestConversation = 24

// Both servers refuse strings beyond this; it is the least that Redis can be set to.
const bulkMax = "1mb"

// comparison is the two servers, and the key that they differ in.
type comparison struct {
	redis, subject *proc.Server
	protocol       string
}

// TestSameReplies holds conversations with redis-server and Cartwheel at once, for each command
// and then for all of them together, and wants the same bytes from both.
//
// A failure prints the shortest conversation found, to be typed into two redis-cli, and its seed.
func TestSameReplies(t *testing.T) {
	setFlag(t, "rapid.nofailfile", "true")
	setFlag(t, "rapid.shrinktime", "5s")
	c := comparison{redis: startRedis(t, settings{}), subject: startSubject(t, settings{})}
	for _, addr := range []string{c.redis.Addr, c.subject.Addr} {
		connect(t, addr).want(t, "+OK\r\n", "CONFIG", "SET", "proto-max-bulk-len", bulkMax)
	}
	for _, c.protocol = range []string{"2", "3"} {
		t.Run("RESP"+c.protocol, func(t *testing.T) {
			c.compareEach(t, stringCommands, setting)
			c.compareEach(t, numberCommands, numberSetting)
			c.compareEach(t, bitCommands, setting)
			c.compareEach(t, keyCommands, setting)
			c.compareEach(t, expiryCommands, setting)
			c.compareEach(t, keyspaceCommands, setting)
			t.Run("together", func(t *testing.T) {
				c.compare(t, allCommands, setting, 10**steps)
			})
		})
	}
}

func TestEveryDataCommandIsCompared(t *testing.T) {
	for _, name := range strings.Fields(comparedCommands) {
		generated := func(g generator) bool { return g.name == name }
		if !slices.ContainsFunc(allCommands, generated) {
			t.Errorf("no generator of %s", name)
		}
	}
}

// compareEach compares one command after the other, so that one that differs hides no other.
func (c comparison) compareEach(t *testing.T, commands, setting []generator) {
	for _, command := range commands {
		t.Run(command.name, func(t *testing.T) {
			c.compare(t, []generator{command}, setting, *steps)
		})
	}
}

func (c comparison) compare(t *testing.T, commands, setting []generator, count int) {
	setFlag(t, "rapid.checks", strconv.Itoa(max(1, 4*count/longestConversation)))
	if flag.Lookup("rapid.seed").Value.String() == "0" {
		setFlag(t, "rapid.seed", strconv.FormatUint(random(t).Uint64(), 10))
	}
	conversations := conversations(commands, setting, longestConversation)
	rapid.Check(t, func(t *rapid.T) {
		talk := conversations.Draw(t, "conversation")
		p, err := newPair(c.redis.Addr, c.subject.Addr, c.protocol)
		if err != nil {
			t.Fatalf("starting over: %v", err)
		}
		defer p.close()
		played, err := talk.run(p)
		if err == nil {
			err = p.sameContents()
		}
		if err != nil {
			t.Fatalf("HELLO %s, FLUSHALL, CONFIG SET proto-max-bulk-len %s, then\n%s%v", c.protocol, bulkMax, played, err)
		}
	})
}

// sameContents compares what is under every key of the databases that conversations use.
func (p *pair) sameContents() error {
	for _, db := range []string{"0", "1", "15"} {
		questions := [][]string{{"SELECT", db}}
		for _, key := range slices.Compact(slices.Sorted(slices.Values(allKeys))) {
			questions = append(questions, []string{"GET", key}, []string{"PEXPIRETIME", key})
		}
		if err := p.samePipelined(questions); err != nil {
			return errors.Join(errors.New("the replies were the same, but not what is stored in database "+db), err)
		}
	}
	return nil
}

// samePipelined sends all the commands at once and compares the replies one by one.
func (p *pair) samePipelined(commands [][]string) error {
	var pipeline []byte
	for _, args := range commands {
		pipeline = append(pipeline, encode(args...)...)
	}
	for _, c := range []*conn{p.redis, p.subject} {
		if _, err := c.Write(pipeline); err != nil {
			return err
		}
	}
	for _, args := range commands {
		redis, err := p.redis.receive()
		if err != nil {
			return err
		}
		subject, err := p.subject.receive()
		if err != nil {
			return &mismatch{args, redis.String(), err.Error()}
		}
		if err := compare(args, redis, subject); err != nil {
			return err
		}
	}
	return nil
}

// setFlag sets one of rapid's flags for the length of a test.
func setFlag(t *testing.T, name, value string) {
	t.Helper()
	old := flag.Lookup(name).Value.String()
	if err := flag.Set(name, value); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = flag.Set(name, old) })
}
