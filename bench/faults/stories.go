package faults

import (
	"context"
	"os"
	"slices"
	"strconv"
	"strings"
)

// absence is how nodes are away in a story.
type absence int

const (
	someNodes absence = iota
	wholeHalf
	forgetfulDisk
)

// story is one way in which dead keys might come back. Its roles are s.nodes, in their random order.
type story struct {
	name    string
	absence absence
	cuts    bool // it needs a network
	tell    func(s *stage, ctx context.Context) error
}

// ways in which two nodes come back.
var orders = map[string]func(s *stage, ctx context.Context, a, b int) error{
	"the first back first":  func(s *stage, ctx context.Context, a, b int) error { return s.oneByOne(ctx, a, b) },
	"the second back first": func(s *stage, ctx context.Context, a, b int) error { return s.oneByOne(ctx, b, a) },
	"both back at once":     func(s *stage, ctx context.Context, a, b int) error { return s.back(ctx, a, b) },
}

func stories() []story {
	all := []story{
		{"an owner that is killed", someNodes, false, func(s *stage, ctx context.Context) error {
			return steps(ctx, s.write, s.kill(0), s.die(1, 2), s.backAll(0))
		}},
		{"an owner that is stopped", someNodes, false, func(s *stage, ctx context.Context) error {
			return steps(ctx, s.write, s.stop(0), s.die(1, 2), s.cont(0))
		}},
		{"an owner that is cut off", someNodes, true, func(s *stage, ctx context.Context) error {
			return steps(ctx, s.write, s.cut(1), s.die(1, 2), s.heal)
		}},
		{"two halves, each of which deletes", wholeHalf, true, func(s *stage, ctx context.Context) error {
			return steps(ctx, s.write, s.cut(2), s.die(0, 3), s.heal)
		}},
		{"a node whose disk is wiped", forgetfulDisk, false, func(s *stage, ctx context.Context) error {
			return steps(ctx, s.write, s.wipe, s.die(1, 2), s.replaceIt)
		}},
		{"a node whose disk is wiped later", forgetfulDisk, false, func(s *stage, ctx context.Context) error {
			return steps(ctx, s.write, s.die(1, 2), s.purged, s.wipe, s.replaceIt)
		}},
		{"an old copy of a directory", forgetfulDisk, false, func(s *stage, ctx context.Context) error {
			return steps(ctx, s.write, s.copyDir(0), s.die(1, 2), s.purged, s.putBack(0))
		}},
		{"old copies of two directories", forgetfulDisk, false, func(s *stage, ctx context.Context) error {
			return steps(ctx, s.write, s.copyDir(0), s.copyDir(1), s.die(1, 2), s.purged, s.putBack(0, 1))
		}},
		{"an old copy of a directory with hints", forgetfulDisk, false, func(s *stage, ctx context.Context) error {
			return steps(ctx, s.write, s.kill(0), s.writeAgain, s.copyDir(1), s.backAll(0), s.die(1, 2), s.purged, s.putBack(1))
		}},
		{"a copy that is a week old", forgetfulDisk, false, func(s *stage, ctx context.Context) error {
			return steps(ctx, s.write, s.copyDir(0), s.die(1, 2), s.purged, s.week, s.putBack(0))
		}},
	}
	for name, back := range orders {
		returns := func(s *stage) func(ctx context.Context) error {
			return func(ctx context.Context) error { return back(s, ctx, s.nodes[0], s.nodes[1]) }
		}
		all = append(all,
			story{"an owner and then a holder of its hints, " + name, someNodes, false, func(s *stage, ctx context.Context) error {
				return steps(ctx, s.write, s.kill(0), s.writeAgain, s.kill(1), s.die(2, 3), returns(s))
			}},
			story{"half of the ring, killed, " + name, wholeHalf, false, func(s *stage, ctx context.Context) error {
				return steps(ctx, s.write, s.kill(0), s.kill(1), s.die(2, 3), returns(s))
			}},
			story{"half of the ring, cut off and killed, " + name, wholeHalf, true, func(s *stage, ctx context.Context) error {
				return steps(ctx, s.write, s.cut(2), s.die(0, 3), s.kill(0), s.kill(1), s.heal, returns(s))
			}},
		)
	}
	slices.SortFunc(all, func(a, b story) int { return strings.Compare(a.name, b.name) }) // the seed chooses, not the map
	return all
}

// steps does one after the other.
func steps(ctx context.Context, all ...func(ctx context.Context) error) error {
	for _, step := range all {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

type step = func(ctx context.Context) error

func (s *stage) kill(role int) step {
	return func(context.Context) error { return s.cluster.Node(s.nodes[role]).Kill9() }
}

func (s *stage) stop(role int) step {
	return func(context.Context) error { return s.cluster.Node(s.nodes[role]).Stop() }
}

func (s *stage) cont(role int) step {
	return func(context.Context) error { return s.cluster.Node(s.nodes[role]).Cont() }
}

func (s *stage) backAll(role int) step {
	return func(ctx context.Context) error { return s.back(ctx, s.nodes[role]) }
}

// cut keeps the first so many roles and the others apart.
func (s *stage) cut(first int) step {
	return func(ctx context.Context) error {
		for _, a := range s.nodes[:first] {
			for _, b := range s.nodes[first:] {
				if err := s.network.Cut(ctx, a, b); err != nil {
					return err
				}
				if err := s.network.Cut(ctx, b, a); err != nil {
					return err
				}
			}
		}
		return nil
	}
}

func (s *stage) heal(ctx context.Context) error { return s.network.Heal(ctx) }

// back starts nodes, all at once.
func (s *stage) back(ctx context.Context, nodes ...int) error {
	n := &nemesis{system: processes{s.cluster}, random: s.random, out: s.Out}
	return n.start(ctx, nodes)
}

// oneByOne gives who comes first the time to spread what it has.
func (s *stage) oneByOne(ctx context.Context, first, second int) error {
	if err := s.back(ctx, first); err != nil {
		return err
	}
	sleep(ctx, awayFor)
	return s.back(ctx, second)
}

// wipe kills the first role and removes all it had.
func (s *stage) wipe(ctx context.Context) error {
	victim := s.cluster.Node(s.nodes[0])
	view, err := s.cluster.Node(s.nodes[1]).View(ctx)
	if err != nil {
		return err
	}
	for _, m := range view.Members {
		if m.Peer == victim.PeerAddr {
			s.replace[victim.Index] = m.ID
		}
	}
	if err := victim.Kill9(); err != nil {
		return err
	}
	if err := os.RemoveAll(victim.Dir); err != nil {
		return err
	}
	return os.MkdirAll(victim.Dir, 0o700)
}

// replaceIt has an empty node take the place of the one that was wiped, at its address.
func (s *stage) replaceIt(ctx context.Context) error {
	victim := s.nodes[0]
	if err := s.cluster.WaitReady(ctx); err != nil {
		return err
	}
	err := s.back(ctx, victim)
	s.replace[victim] = ""
	return err
}

func (s *stage) copyAt(i int) string { return s.copies + strconv.Itoa(i) }

// copyDir copies a node's directory, as a backup of a stopped node.
func (s *stage) copyDir(role int) step {
	return func(ctx context.Context) error {
		n := s.cluster.Node(s.nodes[role])
		if err := n.Terminate(ctx); err != nil {
			return err
		}
		if err := os.RemoveAll(s.copyAt(n.Index)); err != nil {
			return err
		}
		if err := os.CopyFS(s.copyAt(n.Index), os.DirFS(n.Dir)); err != nil {
			return err
		}
		return s.back(ctx, n.Index)
	}
}

// putBack replaces directories of nodes by their copies.
func (s *stage) putBack(roles ...int) step {
	return func(ctx context.Context) error {
		var nodes []int
		for _, role := range roles {
			n := s.cluster.Node(s.nodes[role])
			if err := n.Kill9(); err != nil {
				return err
			}
			if err := os.RemoveAll(n.Dir); err != nil {
				return err
			}
			if err := os.CopyFS(n.Dir, os.DirFS(s.copyAt(n.Index))); err != nil {
				return err
			}
			nodes = append(nodes, n.Index)
		}
		if err := s.back(ctx, nodes...); err != nil || len(roles) > 1 {
			return err // of several that have forgotten the same, each can only ask another
		}
		return s.askAlone(ctx, nodes[0])
	}
}

// week lets a week pass, for all nodes at once.
func (s *stage) week(ctx context.Context) error {
	for i := range zombieNodes {
		if err := s.cluster.Node(i).Terminate(ctx); err != nil {
			return err
		}
	}
	s.offset += aWeek
	return s.back(ctx, s.nodes...)
}
