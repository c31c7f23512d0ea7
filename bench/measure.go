package main

import (
	"context"
	"fmt"
	"time"

	"cartwheel/bench/proc"
)

// How a row is measured:
//
//  1. Each server gets a short run that warms it up and, without --requests, says how many requests
//     last --seconds there. Both then run for about the same time.
//  2. Each round is a run on one server and then a run on the other; who is first alternates.
//  3. Before each run both servers have come to rest, so that what one has put off (an fsync, a
//     rewrite of the append-only file, a compaction) does not slow the other down.
const (
	warmUpBatches = 200 // requests on each connection, times the pipeline

	restAfterReads  = 200 * time.Millisecond
	restAfterWrites = 1100 * time.Millisecond // longer than everysec's second
	restCPUShare    = 0.05                    // of one core, at most, counts as rest
	restMax         = 20 * time.Second        // after that the run begins all the same
)

// amount is how much load a run is.
type amount struct {
	duration time.Duration // about; used where requests is 0
	requests int
}

// measure runs all rounds of a row. It blocks for about twice the amount a round.
func (p *pair) measure(ctx context.Context, r row, count int, a amount) ([]round, error) {
	redisRequests, err := p.warmUp(ctx, p.redis, r, a)
	if err != nil {
		return nil, err
	}
	subjectRequests, err := p.warmUp(ctx, p.subject, r, a)
	if err != nil {
		return nil, err
	}
	var rounds []round
	for n := range count {
		one := round{First: nameRedis}
		runRedis := func() (err error) {
			one.Redis, err = p.run(ctx, p.redis, r, redisRequests)
			return err
		}
		runSubject := func() (err error) {
			one.Subject, err = p.run(ctx, p.subject, r, subjectRequests)
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
		rounds = append(rounds, one)
	}
	return rounds, nil
}

// warmUp returns the number of requests that a run on this server is to have.
func (p *pair) warmUp(ctx context.Context, server *proc.Server, r row, a amount) (int, error) {
	requests := warmUpBatches * loadConnections * r.pipeline
	if a.requests > 0 {
		requests = min(requests, a.requests)
	}
	found, err := p.run(ctx, server, r, requests)
	if err != nil {
		return 0, fmt.Errorf("warming up: %w", err)
	}
	if a.requests > 0 {
		return a.requests, nil
	}
	return requestsFor(found.PerSecond, a.duration, r.pipeline), nil
}

// run is one run, behind a rest.
func (p *pair) run(ctx context.Context, server *proc.Server, r row, requests int) (throughput, error) {
	window := restAfterReads
	if r.command == "set" {
		window = restAfterWrites
	}
	if err := p.rest(ctx, window); err != nil {
		return throughput{}, err
	}
	found, err := runLoad(ctx, server.Port, r, requests)
	if err != nil {
		return throughput{}, fmt.Errorf("%w\n%s", err, server.Log())
	}
	return found, nil
}

// rest blocks until both servers have used next to no processor time for the window, or for restMax.
func (p *pair) rest(ctx context.Context, window time.Duration) error {
	return restUntil(ctx, window, restCPUShare, p.cpu)
}

// restUntil blocks until the processor time that cpu tells has grown by no more than that share of the
// window within it, or for restMax.
func restUntil(ctx context.Context, window time.Duration, share float64, cpu func() (time.Duration, error)) error {
	for began := time.Now(); time.Since(began) < restMax; {
		before, err := cpu()
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(window):
		}
		after, err := cpu()
		if err != nil {
			return err
		}
		if float64(after-before) <= share*float64(window) {
			return nil
		}
	}
	return nil
}

// cpu is the processor time that both have used.
func (p *pair) cpu() (time.Duration, error) {
	redis, err := p.redis.CPU()
	if err != nil {
		return 0, err
	}
	subject, err := p.subject.CPU()
	return redis + subject, err
}
