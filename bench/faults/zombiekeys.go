package faults

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cartwheel/bench/check"

	"github.com/redis/go-redis/v9"
)

func (s *stage) prefix() string { return fmt.Sprintf("zombies:%x:%d:", s.Seed, s.told) }

func (s *stage) key(fate string, i int) string { return fmt.Sprintf("%s%s:%d", s.prefix(), fate, i) }

// write writes all keys, while all nodes are there.
func (s *stage) write(ctx context.Context) error {
	if err := s.atRest(ctx); err != nil {
		return err
	}
	return s.pipeline(ctx, s.nodes[1], func(p redis.Pipeliner) {
		for _, fate := range fates {
			for i := range zombieKeys {
				key := s.key(fate, i)
				life := time.Duration(0)
				if fate == runsOut {
					life = knownLife
				}
				p.Set(ctx, key, "first", life)
				if dies(fate) {
					s.dead = append(s.dead, key)
				} else {
					s.alive[key] = "first"
				}
			}
		}
	})
}

// writeAgain overwrites what is to die: those who keep hints have a value to bring back.
func (s *stage) writeAgain(ctx context.Context) error {
	return s.pipeline(ctx, s.nodes[1], func(p redis.Pipeliner) {
		for i := range zombieKeys {
			p.Set(ctx, s.key(deleted, i), "second", 0)
			p.Set(ctx, s.key(cutShort, i), "second", 0)
		}
	})
}

// die deletes keys, and lets them expire, by way of two roles, each for a half of the keys. When it returns
// nothing of them is alive by any clock, and several rounds have passed.
func (s *stage) die(roles ...int) step {
	return func(ctx context.Context) error {
		for n, role := range roles {
			shortened := map[string][]*redis.BoolCmd{}
			err := s.pipeline(ctx, s.nodes[role], func(p redis.Pipeliner) {
				for i := n; i < zombieKeys; i += len(roles) {
					p.Del(ctx, s.key(deleted, i))
					key := s.key(cutShort, i)
					shortened[key] = append(shortened[key], p.PExpire(ctx, key, time.Millisecond))
					p.Del(ctx, s.key(livesAgain, i))
					p.Set(ctx, s.key(livesAgain, i), "again", 0)
					s.alive[s.key(livesAgain, i)] = "again"
				}
			})
			if err != nil {
				return err
			}
			for key, tries := range shortened {
				s.spare(key, tries)
			}
		}
		sleep(ctx, max(awayFor, knownLife))
		return ctx.Err()
	}
}

// spare leaves out a key that may not have been shortened: where no owner of it could be reached, it was
// not there to be shortened.
func (s *stage) spare(key string, tries []*redis.BoolCmd) {
	done := slices.ContainsFunc(tries, func(try *redis.BoolCmd) bool { return try.Val() })
	if done {
		return
	}
	s.dead = slices.DeleteFunc(s.dead, func(dead string) bool { return dead == key })
	if len(tries) == 1 { // else one of them may have done it without saying so
		s.alive[key] = "first"
	}
}

// pipelineTries is how often a pipeline is sent in which some command found too few replicas: who is up
// may yet have to be found out.
const pipelineTries = 20

// pipeline sends commands to one node until all have been done.
func (s *stage) pipeline(ctx context.Context, node int, add func(p redis.Pipeliner)) (err error) {
	client := newClient(s.cluster.Node(node).Addr)
	defer client.Close()
	for range pipelineTries {
		if _, err = client.Pipelined(ctx, func(p redis.Pipeliner) error { add(p); return nil }); err == nil || !sleep(ctx, awayFor/2) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("writing at node %d: %w", node, err)
	}
	return nil
}

func (s *stage) atRest(ctx context.Context) error {
	return waitSettled(ctx, processes{s.cluster}, zombieWithin)
}

// purged waits until no owner has anything of what is dead. Where somebody who stood in for all owners has
// deleted what it had not seen, two values stand side by side until a client decides: plain reads show the delete.
func (s *stage) purged(ctx context.Context) error {
	if err := s.atRest(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, zombieWithin)
	defer cancel()
	client := newClient(s.cluster.Node(s.nodes[2]).Addr)
	defer client.Close()
	for _, key := range s.dead {
		for {
			o := explainKey(ctx, client, s.nodes[2], key, s.began)
			if o.Outcome == check.Acknowledged && !slices.ContainsFunc(o.Copies, remembers) {
				break
			}
			if !sleep(ctx, settledEvery) {
				return fmt.Errorf("%s is not purged: %v %s; %s", key, o.Copies, o.Error, s.heldBack(context.WithoutCancel(ctx)))
			}
		}
	}
	return nil
}

// heldBack is what the nodes say of what is not purged.
func (s *stage) heldBack(ctx context.Context) (said string) {
	for i, n := range s.cluster.Nodes() {
		client := newClient(n.Addr)
		text, err := client.Info(ctx, "cartwheel").Result()
		if err != nil {
			text = err.Error()
		}
		for line := range strings.Lines(text) {
			if strings.Contains(line, "purge_") || strings.Contains(line, "anew") || err != nil {
				said += fmt.Sprintf("node %d %s, ", i, strings.TrimSpace(line))
			}
		}
		_ = client.Close() // nothing is on the way
	}
	return said
}

// askAlone asks one node for what is dead, as soon as it answers, and has it answer alone where it is an owner.
func (s *stage) askAlone(ctx context.Context, node int) error {
	client := newClient(s.cluster.Node(node).Addr)
	defer client.Close()
	replies, err := client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, key := range s.dead {
			p.Do(ctx, "VGET", key, "R", "1")
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading at node %d: %w", node, err)
	}
	for i, reply := range replies {
		var o check.Operation
		if err := readVersions(&o, reply.(*redis.Cmd).Val()); err != nil || len(o.Values) > 0 {
			s.trouble("put back", fmt.Sprintf("the first read of %s at node %d shows %q, %v", s.dead[i], node, o.Values, err))
		}
	}
	return nil
}

// remembers tells whether an owner has anything of a key, or does not say.
func remembers(c check.Copy) bool {
	return c.Error != "" || len(c.Siblings) == 1 || len(c.Siblings) == 0 && len(c.Clock) > 0
}

// judge notes which keys live that should not, and the other way round: by every node, and by what each
// owner holds.
func (s *stage) judge(ctx context.Context, when string) {
	if err := s.atRest(ctx); err != nil {
		s.trouble(when, err.Error())
		return
	}
	for i, n := range s.cluster.Nodes() {
		client := newClient(n.Addr)
		s.judgeAt(ctx, when, i, client)
		if err := client.Close(); err != nil {
			s.trouble(when, err.Error())
		}
	}
}

func (s *stage) judgeAt(ctx context.Context, when string, node int, client *redis.Client) {
	for _, key := range s.dead {
		if value, err := client.Get(ctx, key).Result(); !errors.Is(err, redis.Nil) {
			s.trouble(when, fmt.Sprintf("%s is %q, %v at node %d: it was dead", key, value, err, node))
		}
	}
	for key, want := range s.alive {
		if value, err := client.Get(ctx, key).Result(); value != want {
			s.trouble(when, fmt.Sprintf("%s is %q, %v at node %d: it was %q", key, value, err, node, want))
		}
	}
	var found []string
	for cursor := uint64(0); ; {
		page, next, err := client.Scan(ctx, cursor, s.prefix()+"*", 1000).Result()
		if err != nil {
			s.trouble(when, err.Error())
			return
		}
		if found, cursor = append(found, page...), next; next == 0 {
			break
		}
	}
	for _, key := range found {
		if slices.Contains(s.dead, key) {
			s.trouble(when, fmt.Sprintf("SCAN at node %d shows %s, which was dead", node, key))
		}
	}
	if len(found) < len(s.alive) {
		s.trouble(when, fmt.Sprintf("SCAN at node %d shows %d keys of %d", node, len(found), len(s.alive)))
	}
	for _, key := range s.dead {
		o := explainKey(ctx, client, node, key, s.began)
		for unanswered(&o) > 0 && sleep(ctx, settledEvery) { // a connection may be lost yet, which is found out
			o = explainKey(ctx, client, node, key, s.began)
		}
		if o.Outcome != check.Acknowledged || slices.ContainsFunc(o.Copies, remembers) {
			s.trouble(when, fmt.Sprintf("%s was purged, and is held again: %v %s", key, o.Copies, o.Error))
		}
	}
}

func (s *stage) trouble(when string, what string) {
	s.troubles = append(s.troubles, strings.Join([]string{when, what}, ": "))
}
