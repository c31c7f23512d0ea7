package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"cartwheel/bench/check"
	"cartwheel/bench/local"
)

// zombieKinds are the fates of a story's keys.
const (
	staysAlive = "stays"   // nobody touches it
	livesAgain = "again"   // deleted, and then written anew
	deleted    = "deleted" // by DEL
	cutShort   = "short"   // it was to live for ever, and is given a short life
	runsOut    = "out"     // all knew from the beginning when it ends
)

var fates = []string{staysAlive, livesAgain, deleted, cutShort, runsOut}

// dies says whether nothing is left of such a key.
func dies(fate string) bool { return fate == deleted || fate == cutShort || fate == runsOut }

const (
	zombieNodes = 5
	zombieKeys  = 40 // of each fate, in one story

	// zombieHaste has nodes purge as early as their predicate allows.
	zombieHaste = 200 * time.Millisecond
	// knownLife is that of keys that run out: longer than a story takes to have somebody away.
	knownLife = 3 * time.Second
	// awayFor is several rounds that could forget too much.
	awayFor = 5 * zombieHaste

	zombieWithin = 60 * time.Second // to come to rest, and to purge
	aWeek        = 7 * 24 * time.Hour
)

// Zombies deletes keys, and lets some expire, while some nodes are away, in all ways and with their return in
// all orders; has what is dead purged as early as that may be; and looks for anything that comes back, or
// that has gone with it and should not.
func Zombies(ctx context.Context, o Options) (_ *Report, err error) {
	n, networkErr := newNetwork(ctx, zombieNodes)
	if networkErr != nil && (!errors.Is(networkErr, errNoNetwork) || os.Getenv("CI_FORBID_SKIP") == "1") {
		return nil, networkErr
	}
	if n != nil {
		defer func() { err = errors.Join(err, n.Close()) }()
	}
	dir, err := os.MkdirTemp(o.Dir, "cartwheel-zombies-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s := &stage{Options: o, network: n, copies: dir + "/copies", random: rand.New(rand.NewPCG(o.Seed, 0x20b1e)), began: time.Now()}
	args := []string{"--debug-haste", zombieHaste.String(), "--partitions", "64", "--memory", "64MB"}
	options := local.Options{Nodes: zombieNodes, Dir: dir, Args: append(args, o.nodeArgs()...), ArgsOf: s.argsOf}
	if n != nil {
		options.Host, options.Wrap = n.Host, n.Wrap
		options.Args = append(options.Args, "--no-protected-mode")
	}
	if s.cluster, err = local.Start(ctx, options); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.cluster.Close()) }()
	report, err := s.tellAll(ctx)
	if err != nil {
		fmt.Fprintln(o.Out, s.cluster.Log())
		return nil, err
	}
	if networkErr != nil {
		report.Missing = append(report.Missing, networkErr.Error())
	}
	if report.Broken() > 0 {
		fmt.Fprintln(o.Out, s.cluster.Log())
	}
	return report, nil
}

// stage is where stories are told, one after the other, each with keys of its own.
type stage struct {
	Options
	cluster *local.Cluster
	network *network // nil: none
	copies  string   // where copies of directories are put
	random  *rand.Rand
	began   time.Time
	offset  time.Duration // of all clocks
	replace [zombieNodes]string

	told     int
	nodes    []int // in the roles of the story
	dead     []string
	alive    map[string]string // the living keys, and their values
	troubles []string
}

func (s *stage) argsOf(i int) (args []string) {
	if s.offset != 0 {
		args = append(args, skewFlag+"="+s.offset.String())
	}
	if s.replace[i] != "" {
		args = append(args, "--replace", s.replace[i])
	}
	return args
}

// tellAll tells the stories until the time is over, each at least once; where there is little time, only
// some of them.
func (s *stage) tellAll(ctx context.Context) (*Report, error) {
	report := &Report{Seed: s.Seed, Nodes: zombieNodes}
	for len(s.troubles) == 0 {
		for _, st := range s.chosen() {
			if s.network == nil && st.cuts {
				continue
			}
			f := check.Fault{Kind: "zombies of " + st.name, Begin: time.Since(s.began)}
			fmt.Fprintf(s.Out, "%6.1fs %s\n", f.Begin.Seconds(), st.name)
			if err := s.tell(ctx, st); err != nil {
				return nil, fmt.Errorf("%s: %w", st.name, err)
			}
			f.End, f.Nodes = time.Since(s.began), s.nodes
			report.Faults, report.Episodes = append(report.Faults, f), report.Episodes+1
		}
		if s.Short || time.Since(s.began) > s.Duration {
			break
		}
	}
	report.Trouble = s.troubles
	return report, nil
}

// chosen are the stories in a random order; in a short run one of some nodes that are away, one of half of the
// ring, and one of a disk that has forgotten.
func (s *stage) chosen() []story {
	all := stories()
	s.random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	if !s.Short {
		return all
	}
	seen := map[absence]bool{}
	return slices.DeleteFunc(all, func(st story) bool {
		if seen[st.absence] || s.network == nil && st.cuts {
			return true
		}
		seen[st.absence] = true
		return false
	})
}

// tell tells one story: keys are written, some nodes are away while keys die, all come back, what is dead is
// purged everywhere, and stays away, also when all nodes are killed and started.
func (s *stage) tell(ctx context.Context, st story) error {
	ctx, cancel := context.WithTimeout(ctx, 3*zombieWithin)
	defer cancel()
	s.told++
	s.nodes = s.random.Perm(zombieNodes)
	s.dead, s.alive = nil, map[string]string{}
	if err := st.tell(s, ctx); err != nil {
		return err
	}
	if err := s.purged(ctx); err != nil {
		s.trouble(st.name, err.Error())
	}
	s.judge(ctx, st.name)
	if s.Short || s.random.IntN(2) == 0 {
		return nil
	}
	if err := s.killAndStartAll(ctx); err != nil {
		return err
	}
	s.judge(ctx, st.name+", then all were killed and started")
	return nil
}

func (s *stage) killAndStartAll(ctx context.Context) error {
	for i := range zombieNodes {
		if err := s.cluster.Node(i).Kill9(); err != nil {
			return err
		}
	}
	return s.back(ctx, s.nodes...)
}
