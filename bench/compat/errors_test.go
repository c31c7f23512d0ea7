package compat

import (
	"strings"
	"testing"
)

// saidTheSame are commands, one a line as typed without quotes, that need the same reply from a fresh server.
const saidTheSame = `
CLIENT NOPE
CLIENT
CLIENT KILL
CLIENT KILL ADDR
CLIENT KILL ID abc
CLIENT KILL TYPE nope
CLIENT KILL 1.2.3.4:5
CLIENT REPLY
CLIENT REPLY NOPE
CLIENT NO-EVICT
CLIENT NO-EVICT maybe
CLIENT NO-EVICT on
CLIENT NO-EVICT off
CLIENT PAUSE
CLIENT PAUSE abc
CLIENT PAUSE -1
CLIENT PAUSE 0 NOPE
CLIENT UNPAUSE
CLIENT UNBLOCK 0
CLIENT UNBLOCK abc
CLIENT UNBLOCK 0 NOPE
CLIENT LIST TYPE nope
CLIENT LIST ID x
CLIENT LIST NOPE
CLIENT GETNAME
CLIENT SETNAME me
CLIENT GETNAME
CLIENT ID x
CLIENT INFO x
CLIENT SETINFO LIB-NAME x
CLIENT MAINT_NOTIFICATIONS ON
CONFIG
CONFIG GET
CONFIG GET nosuchsetting
CONFIG GET databases
CONFIG GET notify-keyspace-events
CONFIG GET maxmemory-policy
CONFIG NOPE
CONFIG SET nope 1
CONFIG SET nope
CONFIG SET maxmemory-policy nope
CONFIG REWRITE
CONFIG RESETSTAT
CONFIG RESETSTAT x
OBJECT
OBJECT NOPE
OBJECT ENCODING
OBJECT HELP
MEMORY USAGE nokey
MEMORY USAGE nokey SAMPLES
MEMORY USAGE nokey SAMPLES -1
MEMORY NOPE
LATENCY NOPE
LATENCY RESET
SLOWLOG GET -2
SLOWLOG GET x
SLOWLOG GET 0
SLOWLOG LEN x
SLOWLOG RESET
SLOWLOG NOPE
TIME x
WAIT 0 0
WAIT 0 -1
WAIT x 0
WAIT
ROLE
ROLE x
SELECT 16
SELECT -1
SELECT a
SELECT
COMMAND NOPE
COMMAND COUNT x
COMMAND GETKEYS GET
COMMAND GETKEYS
COMMAND GETKEYS SET a b
COMMAND GETKEYS PING
COMMAND GETKEYS NOSUCH
COMMAND GETKEYS MSET a b c d
COMMAND GETKEYS BITOP AND d a b
COMMAND GETKEYS COPY a b
COMMAND LIST FILTERBY x y
COMMAND INFO nosuch
COMMAND DOCS nosuch
HELLO 4
HELLO 1
HELLO abc
HELLO 3 SETNAME
HELLO 3 NOPE
HELLO 3 AUTH a
AUTH
AUTH a
AUTH a b
AUTH default b
AUTH a b c
CLUSTER NODES
CLUSTER SLOTS
CLUSTER INFO
FLUSHALL x
FLUSHDB ASYNC x
DBSIZE x
RANDOMKEY x
SHUTDOWN NOPE
SHUTDOWN ABORT
PING a b
ECHO
QUIT x
RESET x
DEBUG
RENAME a b
COPY a a
MOVE a 0
LASTSAVE x
SAVE x
BGSAVE NOPE
INFO nosuchsection`

// TestErrorsAndAnswersOfServerCommands compares what is said about the server, the connection and mistakes.
func TestErrorsAndAnswersOfServerCommands(t *testing.T) {
	redis, subject := startRedis(t, settings{}), startSubject(t, settings{})
	for _, protocol := range []string{"2", "3"} {
		for line := range strings.Lines(strings.TrimSpace(saidTheSame)) {
			args := strings.Fields(line)
			t.Run("RESP"+protocol+" "+strings.Join(args, " "), func(t *testing.T) {
				p, err := newPair(redis.Addr, subject.Addr, protocol)
				if err != nil {
					t.Fatal(err)
				}
				defer p.close()
				if err := p.same(args...); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// TestArityOfEveryCommandIsRedis calls every command that both servers have with too few arguments.
func TestArityOfEveryCommandIsRedis(t *testing.T) {
	redis, subject := startRedis(t, settings{}), startSubject(t, settings{})
	p, err := newPair(redis.Addr, subject.Addr, "2")
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	for _, name := range strings.Fields(comparedCommands) {
		info, infoSubject, err := p.both("COMMAND", "INFO", name)
		if err != nil {
			t.Fatal(err)
		}
		theirs, ours := info.items[0], infoSubject.items
		if len(ours) != 1 || len(ours[0].items) < 6 {
			t.Errorf("COMMAND INFO %s: %s", name, infoSubject)
			continue
		}
		for i, field := range []string{"name", "arity", "", "first key", "last key", "step"} {
			if field != "" && ours[0].items[i].text != theirs.items[i].text {
				t.Errorf("COMMAND INFO %s: %s %s, redis has %s", name, field, ours[0].items[i].text, theirs.items[i].text)
			}
		}
		if theirs.items[1].text == "1" || theirs.items[1].text == "-1" {
			continue
		}
		if err := p.same(name); err != nil {
			t.Error(err)
		}
	}
}
