package compat

import (
	"bytes"
	"fmt"
	"strings"
)

// pair is one connection to redis-server and one to Cartwheel, used in step.
type pair struct {
	redis, subject *conn
}

// mismatch is a command that the two servers answered differently.
type mismatch struct {
	args           []string
	redis, subject string
}

func (m *mismatch) Error() string {
	return fmt.Sprintf("typed      %s\nredis      %s\ncartwheel  %s", typed(m.args), shorten(m.redis), shorten(m.subject))
}

// newPair connects to both servers, empties them and switches to the protocol given.
func newPair(redis, subject string, protocol string) (*pair, error) {
	r, err := dial(redis)
	if err != nil {
		return nil, err
	}
	s, err := dial(subject)
	if err != nil {
		_ = r.Close()
		return nil, err
	}
	p := &pair{redis: r, subject: s}
	for _, args := range [][]string{{"HELLO", protocol}, {"FLUSHALL"}} {
		if _, _, err := p.both(args...); err != nil {
			p.close()
			return nil, err
		}
	}
	return p, nil
}

func (p *pair) close() {
	_ = p.redis.Close()
	_ = p.subject.Close()
}

// both sends a command to both servers and returns both replies. An error is a mismatch too when
// only Cartwheel is to blame.
func (p *pair) both(args ...string) (redis, subject reply, err error) {
	if err := p.redis.send(args...); err != nil {
		return reply{}, reply{}, fmt.Errorf("sending to redis: %w", err)
	}
	sendErr := p.subject.send(args...)
	redis, err = p.redis.receive()
	if err != nil {
		return reply{}, reply{}, fmt.Errorf("redis answers %s: %w", typed(args), err)
	}
	if sendErr != nil {
		return redis, reply{}, &mismatch{args, redis.String(), "cannot be sent: " + sendErr.Error()}
	}
	subject, err = p.subject.receive()
	if err != nil {
		return redis, subject, &mismatch{args, redis.String(), fmt.Sprintf("%q, then %v", subject.raw, err)}
	}
	return redis, subject, nil
}

// same sends a command to both servers and wants the same bytes from both, or an accepted difference.
func (p *pair) same(args ...string) error {
	redis, subject, err := p.both(args...)
	if err != nil {
		return err
	}
	return compare(args, redis, subject)
}

func compare(args []string, redis, subject reply) error {
	if bytes.Equal(redis.raw, subject.raw) || accepted(args, redis, subject) {
		return nil
	}
	return &mismatch{args, redis.String(), subject.String()}
}

// typed is the command as one types it into redis-cli.
func typed(args []string) string {
	words := make([]string, len(args))
	for i, arg := range args {
		words[i] = quoted(arg)
	}
	return strings.Join(words, " ")
}

const plainBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+.:*{}[]()?^#@/"

// quoted is one argument in redis-cli's quoting, which is also that of inline commands.
func quoted(arg string) string {
	if arg != "" && strings.Trim(arg, plainBytes) == "" {
		return arg
	}
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(arg) {
		switch c := arg[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c > '~':
			fmt.Fprintf(&b, `\x%02x`, c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// shorten keeps a report readable where a reply is long.
func shorten(s string) string {
	const most = 600
	if len(s) <= most {
		return s
	}
	return fmt.Sprintf("%s ... %d bytes in all ... %s", s[:most/2], len(s), s[len(s)-most/2:])
}
