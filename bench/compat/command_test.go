package compat

import (
	"math"
	"strconv"
	"strings"

	"pgregory.net/rapid"
)

// command is one step of a conversation.
type command struct {
	args  []string
	timed timedArg
	// play is what the step does where that is not to send args and want the same reply; how is
	// what a transcript says of it.
	play func(p *pair, args []string) error
	how  string
	// sound commands are not mangled.
	sound bool
}

// timedArg names the argument that is a relative time to live, if index is not 0. Two equal times
// given one after the other end a moment apart, and whether that is "greater" to EXPIRE GT depends on
// the clock: so each is made different from every other in its sequence, by gap a position.
type timedArg struct {
	index int
	gap   int64
}

func send(args ...string) command { return command{args: args} }

func (c command) run(p *pair) error {
	if c.play != nil {
		return c.play(p, c.args)
	}
	return p.same(c.args...)
}

// conversation is a sequence of commands.
type conversation []command

// GoString is what rapid prints of a conversation it drew; the transcript is printed by the test itself.
func (c conversation) GoString() string { return strconv.Itoa(len(c)) + " commands" }

// String is the transcript: lines to type into redis-cli, with what is not typed after a #.
func (c conversation) String() string {
	var b strings.Builder
	for _, step := range c {
		b.WriteString("    " + typed(step.args))
		if step.how != "" {
			b.WriteString("   # " + step.how)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// run plays the conversation up to the first mismatch and returns what was played until then.
func (c conversation) run(p *pair) (played conversation, err error) {
	for i, step := range c {
		if err := step.run(p); err != nil {
			return c[:i+1], err
		}
	}
	return c, nil
}

// generator draws commands of one name.
type generator struct {
	name string
	draw func(*rapid.T) command
}

// commandOf draws from one of the generators and perhaps mangles what it drew.
func commandOf(generators []generator) *rapid.Generator[command] {
	return rapid.Custom(func(t *rapid.T) command {
		c := rapid.SampledFrom(generators).Draw(t, "command").draw(t)
		c.args[0] = inAnyCase(t, c.args[0])
		if !c.sound {
			c.args = mangle(t, c.args)
		}
		return c
	})
}

// conversations draws sequences in which every second command is of the subject generators and the
// others come from setting, to give them something to work on.
func conversations(subject, setting []generator, longest int) *rapid.Generator[conversation] {
	step := rapid.OneOf(commandOf(subject), commandOf(setting))
	return rapid.Custom(func(t *rapid.T) conversation {
		steps := conversation(rapid.SliceOfN(step, 1, longest).Draw(t, "steps"))
		for i := range steps {
			steps[i].args = steps[i].timed.distinct(steps[i].args, int64(i))
		}
		return steps
	})
}

func (a timedArg) distinct(args []string, position int64) []string {
	if a.index == 0 || a.index >= len(args) {
		return args
	}
	ttl, err := strconv.ParseInt(args[a.index], 10, 64)
	if err != nil || ttl <= 0 || ttl > math.MaxInt64-1_000_000_000 {
		return args
	}
	args[a.index] = strconv.FormatInt(ttl+position*a.gap, 10)
	return args
}
