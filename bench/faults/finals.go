package faults

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"cartwheel/bench/check"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"
)

const (
	finalsEvery    = 200 * time.Millisecond
	finalsPipeline = 100
)

// readFinals reads every key of a history on every node. What the nodes do not say alike is read
// again, until they do or time is over: an unknown write may be on one owner only until a read comes by
// there, as reads ask a quorum and not everybody.
func readFinals(ctx context.Context, s system, w workload, h *check.History, began time.Time, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	agreed := map[string][]check.Operation{}
	keys := keysOf(h)
	all := slices.Clone(keys)
	for len(keys) > 0 {
		answers, err := ask(ctx, s, w, keys, began)
		if err != nil {
			return err
		}
		var left []string
		for _, key := range keys {
			agreed[key] = answers[key]
			if !alike(answers[key]) {
				left = append(left, key)
			}
		}
		if keys = left; len(keys) > 0 && !sleep(ctx, finalsEvery) {
			break
		}
	}
	for _, key := range all {
		h.Finals = append(h.Finals, agreed[key]...)
	}
	return nil
}

func keysOf(h *check.History) []string {
	var keys []string
	seen := map[string]bool{}
	for i := range h.Operations {
		if key := h.Operations[i].Key; !seen[key] {
			seen[key] = true
			keys = append(keys, key)
		}
	}
	return keys
}

// ask reads the keys once on each node, all nodes at the same time. Answers are in the order of the nodes.
func ask(ctx context.Context, s system, w workload, keys []string, began time.Time) (map[string][]check.Operation, error) {
	byNode := make([][]check.Operation, len(s.Addrs()))
	group := new(errgroup.Group)
	for i, addr := range s.Addrs() {
		if s.Node(i).Lost() {
			continue
		}
		group.Go(func() error {
			client := newClient(addr)
			defer client.Close()
			for some := range slices.Chunk(keys, finalsPipeline) {
				byNode[i] = append(byNode[i], askSome(ctx, client, i, w, some, began)...)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	answers := map[string][]check.Operation{}
	for _, operations := range byNode {
		for _, o := range operations {
			answers[o.Key] = append(answers[o.Key], o)
		}
	}
	return answers, nil
}

func askSome(ctx context.Context, client *redis.Client, node int, w workload, keys []string, began time.Time) (operations []check.Operation) {
	args := func(key string) []any {
		command := []any{string(w.final), key}
		if w.strict {
			command = append(command, strictly)
		}
		return command
	}
	read := readValue
	if w.final == check.VGet {
		read = readVersions
	}
	call := time.Since(began)
	replies, _ := client.Pipelined(ctx, func(p redis.Pipeliner) error { // each reply has its own error
		for _, key := range keys {
			p.Do(ctx, args(key)...)
		}
		return nil
	})
	end := time.Since(began)
	for n, key := range keys {
		o := check.Operation{Worker: -1, Node: node, Command: w.final, Key: key, Call: call, Return: end, Strict: w.strict}
		reply, err := replies[n].(*redis.Cmd).Result()
		if err == nil || errors.Is(err, redis.Nil) {
			err = read(&o, reply)
		}
		o.Outcome = check.Acknowledged
		if err != nil {
			o.Outcome, o.Error, o.Kind = outcomeOf(err), err.Error(), errorKind(err)
		}
		operations = append(operations, o)
	}
	return operations
}

// alike tells whether all nodes have answered, and the same.
func alike(answers []check.Operation) bool {
	sorted := func(o *check.Operation) string {
		return strings.Join(slices.Sorted(slices.Values(o.Values)), "\x00")
	}
	for i := range answers {
		o := &answers[i]
		if o.Outcome != check.Acknowledged || len(o.Values) != len(answers[0].Values) || sorted(o) != sorted(&answers[0]) {
			return false
		}
	}
	return true
}
