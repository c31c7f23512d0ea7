package faults

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"cartwheel/bench/check"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"
)

// explainWithin bounds the wait for all owners to answer. What was cut off may yet lose a connection, and
// be down for a moment, when the nodes have come to rest.
const explainWithin = 30 * time.Second

// explain asks for each key of a history what its owners hold. That repairs nothing. The keys are spread over
// the nodes that run, each of which asks all owners.
func explain(ctx context.Context, s system, h *check.History, began time.Time) error {
	keys, nodes := keysOf(h), running(s)
	if len(nodes) == 0 {
		return fmt.Errorf("nobody to ask")
	}
	limited, cancel := context.WithTimeout(ctx, explainWithin)
	defer cancel()
	found := make([][]check.Operation, len(nodes))
	group, ctx := errgroup.WithContext(limited)
	for n, node := range nodes {
		group.Go(func() error {
			client := newClient(s.Addrs()[node])
			defer client.Close()
			for at := n; at < len(keys); at += len(nodes) {
				o := explainKey(ctx, client, node, keys[at], began)
				for unanswered(&o) > h.Lost && sleep(ctx, settledEvery) {
					o = explainKey(ctx, client, node, keys[at], began)
				}
				found[n] = append(found[n], o)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	h.Explained = append(h.Explained, slices.Concat(found...)...)
	return nil
}

func explainKey(ctx context.Context, client *redis.Client, node int, key string, began time.Time) check.Operation {
	o := check.Operation{Worker: -1, Node: node, Command: check.VExplain, Key: key, Call: time.Since(began), Outcome: check.Acknowledged}
	reply, err := client.Do(ctx, "VEXPLAIN", key).Result()
	if err == nil {
		o.Copies, err = readCopies(reply)
	}
	if err != nil {
		o.Outcome, o.Error, o.Kind = check.Unknown, err.Error(), errorKind(err)
	}
	o.Return = time.Since(began)
	return o
}

// unanswered counts the owners that have not answered.
func unanswered(o *check.Operation) (owners int) {
	for _, c := range o.Copies {
		if c.Error != "" {
			owners++
		}
	}
	return owners
}

// running are the nodes that run, and are members.
func running(s system) (nodes []int) {
	for i := range s.Addrs() {
		if s.Node(i).Running() && !s.Node(i).Lost() {
			nodes = append(nodes, i)
		}
	}
	return nodes
}

// readCopies takes the replicas out of the reply to VEXPLAIN.
func readCopies(reply any) (copies []check.Copy, err error) {
	replicas, ok := field(reply, "replicas").([]any)
	if !ok || len(replicas) == 0 {
		return nil, fmt.Errorf("VEXPLAIN answers %v", reply)
	}
	for _, replica := range replicas {
		c := check.Copy{Clock: check.Clock{}}
		c.Owner, _ = field(replica, "node").(string)
		if failed, has := field(replica, "error").(string); has {
			c.Error = failed
			copies = append(copies, c)
			continue
		}
		clock, hasClock := field(replica, "clock").([]any)
		siblings, hasSiblings := field(replica, "siblings").([]any)
		if c.Owner == "" || !hasClock || !hasSiblings {
			return nil, fmt.Errorf("VEXPLAIN answers %v", replica)
		}
		for _, entry := range clock {
			d, err := readDot(entry)
			if err != nil {
				return nil, err
			}
			c.Clock[d.Incarnation] = d.HLC
		}
		for _, sibling := range siblings {
			d, err := readDot(field(sibling, "dot"))
			if err != nil {
				return nil, err
			}
			c.Siblings = append(c.Siblings, d)
		}
		copies = append(copies, c)
	}
	return copies, nil
}

// field is what stands behind a name in a map, which RESP2 writes as an array.
func field(reply any, name string) any {
	pairs, _ := reply.([]any)
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i] == name {
			return pairs[i+1]
		}
	}
	return nil
}

// readDot reads INCARNATION@MILLISECONDS.COUNTER.
func readDot(reply any) (d check.Dot, err error) {
	text, _ := reply.(string)
	incarnation, hlc, _ := strings.Cut(text, "@")
	ms, counter, _ := strings.Cut(hlc, ".")
	parts := []uint64{0, 0, 0}
	for i, part := range []struct {
		text       string
		base, bits int
	}{{incarnation, 16, 64}, {ms, 10, 48}, {counter, 10, 16}} {
		if parts[i], err = strconv.ParseUint(part.text, part.base, part.bits); err != nil {
			return d, fmt.Errorf("VEXPLAIN shows the dot %q: %w", text, err)
		}
	}
	return check.Dot{Incarnation: parts[0], HLC: parts[1]<<16 | parts[2]}, nil
}
