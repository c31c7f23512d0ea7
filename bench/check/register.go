package check

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Access is a read or a write of a register, which begins empty: "". All written values differ, and
// none is empty. Return is forever where it is not known when the operation ended.
type Access struct {
	Write        bool
	Value        string
	Call, Return time.Duration
}

// cluster is one value's write and the reads of it. It must take effect as a whole somewhere between
// the end of its first access and the beginning of its last, or around that.
type cluster struct {
	value      string
	firstEnd   time.Duration // the least Return
	lastBegin  time.Duration // the greatest Call
	writeBegin time.Duration
}

// forward tells whether the value must have been the register's all the time from firstEnd to lastBegin.
func (c *cluster) forward() bool { return c.firstEnd < c.lastBegin }

// Linearizable tells why the accesses are not those of one atomic register, or nil. It decides exactly,
// in the time that sorting takes: P. Gibbons and E. Korach, Testing Shared Memories, SIAM Journal on
// Computing 26 (1997), section 4. A history with unique values is linearizable if and only if no read ends
// before the write of its value begins, no two forward zones overlap, and no backward zone lies within a
// forward one.
func Linearizable(accesses []Access) error {
	clusters, err := clustersOf(accesses)
	if err != nil {
		return err
	}
	var forward []*cluster
	for _, c := range clusters {
		if c.forward() {
			forward = append(forward, c)
		}
	}
	slices.SortFunc(forward, func(a, b *cluster) int { return int(a.firstEnd - b.firstEnd) })
	for i := 1; i < len(forward); i++ {
		if a, b := forward[i-1], forward[i]; b.firstEnd < a.lastBegin {
			return fmt.Errorf("%q was there from %v to %v at least, and %q from %v to %v", a.value, a.firstEnd, a.lastBegin, b.value, b.firstEnd, b.lastBegin)
		}
	}
	for _, c := range clusters {
		if c.forward() {
			continue
		}
		// The only forward zone that can enclose it is the last that begins before it.
		n, _ := slices.BinarySearchFunc(forward, c.lastBegin, func(f *cluster, begin time.Duration) int { return int(f.firstEnd - begin) })
		if n > 0 && c.firstEnd < forward[n-1].lastBegin {
			f := forward[n-1]
			return fmt.Errorf("%q was there from %v to %v at least, and %q between", f.value, f.firstEnd, f.lastBegin, c.value)
		}
	}
	return nil
}

var errSameValue = errors.New("two writes of one value cannot be judged")

func clustersOf(accesses []Access) (map[string]*cluster, error) {
	// The register is as if written empty before everything.
	clusters := map[string]*cluster{"": {firstEnd: -1, lastBegin: -1, writeBegin: -1}}
	for _, a := range accesses {
		if !a.Write {
			continue
		}
		if clusters[a.Value] != nil {
			return nil, fmt.Errorf("%w: %q", errSameValue, a.Value)
		}
		clusters[a.Value] = &cluster{value: a.Value, firstEnd: a.Return, lastBegin: a.Call, writeBegin: a.Call}
	}
	for _, a := range accesses {
		if a.Write {
			continue
		}
		c := clusters[a.Value]
		if c == nil {
			return nil, fmt.Errorf("%q was read at %v, and never written", a.Value, a.Return)
		}
		if a.Return < c.writeBegin {
			return nil, fmt.Errorf("%q was read at %v, before it was written at %v", a.Value, a.Return, c.writeBegin)
		}
		c.firstEnd, c.lastBegin = min(c.firstEnd, a.Return), max(c.lastBegin, a.Call)
	}
	return clusters, nil
}
