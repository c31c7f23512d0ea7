package main

import (
	"context"
	"fmt"
	"time"
)

// The method is that of measure.go: pairs of runs whose order alternates, each behind a rest of all
// servers of both sides. Only the rest is allowed to be less deep, since nodes never cease to gossip.
const clusterRestCPUShare = 0.15 // of one core, all servers together

// sides are both sides of the comparison. Those not measured are idle.
type sides struct{ redis, subject *side }

// measure runs all rounds of a row. It blocks for about twice the duration a round.
func (s *sides) measure(ctx context.Context, r clusterRow, subjectName string, count int, d time.Duration) (rounds []round, _ error) {
	redis, subject := r.loads(subjectName)
	warm, err := s.run(ctx, s.redis, redis, d/2)
	if err != nil {
		return nil, fmt.Errorf("warming up: %w", err)
	}
	if _, err := s.run(ctx, s.subject, subject, d/2); err != nil {
		return nil, fmt.Errorf("warming up: %w", err)
	}
	if r.tail {
		redis.rate = warm.PerSecond / float64(redis.pipeline) / 2
		subject.rate = redis.rate
	}
	for n := range count {
		one := round{First: nameRedis}
		runRedis := func() (err error) {
			one.Redis, err = s.run(ctx, s.redis, redis, d)
			return err
		}
		runSubject := func() (err error) {
			one.Subject, err = s.run(ctx, s.subject, subject, d)
			return err
		}
		order := []func() error{runRedis, runSubject}
		if n%2 == 1 {
			one.First = "subject"
			order = []func() error{runSubject, runRedis}
		}
		for _, run := range order {
			if err := run(); err != nil {
				return nil, fmt.Errorf("round %d: %w", n+1, err)
			}
		}
		one.Ratio = one.Subject.PerSecond / one.Redis.PerSecond
		if r.tail {
			one.Ratio = one.Redis.P999MS / one.Subject.P999MS
		}
		rounds = append(rounds, one)
	}
	return rounds, nil
}

// run is one run, behind a rest.
func (s *sides) run(ctx context.Context, on *side, load clusterLoad, d time.Duration) (throughput, error) {
	window := restAfterReads
	if load.command == "set" {
		window = restAfterWrites
	}
	if err := s.rest(ctx, window); err != nil {
		return throughput{}, err
	}
	found, err := runClusterLoad(ctx, on.addrs, load, d)
	if err != nil {
		return throughput{}, fmt.Errorf("%w\n%s", err, on.log())
	}
	return found, nil
}

// rest blocks until all servers have used next to no processor time for the window, or for restMax.
func (s *sides) rest(ctx context.Context, window time.Duration) error {
	return restUntil(ctx, window, clusterRestCPUShare, func() (used time.Duration, _ error) {
		for _, one := range []*side{s.redis, s.subject} {
			for _, process := range one.processes {
				cpu, err := process.CPU()
				if err != nil {
					return 0, err
				}
				used += cpu
			}
		}
		return used, nil
	})
}
