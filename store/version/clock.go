package version

import "slices"

// Clock is a vector clock: for each incarnation the highest HLC seen. It is sorted by incarnation,
// which appears once, and no HLC in it is zero. An entry stands for that write of the incarnation
// and all its earlier ones.
type Clock []Dot

// At is the highest HLC seen of the incarnation, zero where there is none.
func (c Clock) At(incarnation Incarnation) HLC {
	if i, found := c.search(incarnation); found {
		return c[i].HLC
	}
	return 0
}

// Covers says whether the write was seen.
func (c Clock) Covers(d Dot) bool { return d.HLC <= c.At(d.Incarnation) }

// Descends says whether c has seen all that other has; so does a clock from itself.
func (c Clock) Descends(other Clock) bool {
	if len(c) < len(other) {
		return false
	}
	i := 0
	for _, d := range other {
		for i < len(c) && c[i].Incarnation < d.Incarnation {
			i++
		}
		if i == len(c) || c[i].Incarnation != d.Incarnation || c[i].HLC < d.HLC {
			return false
		}
	}
	return true
}

// Equal says whether both have seen the same.
func (c Clock) Equal(other Clock) bool { return slices.Equal(c, other) }

// MaxHLC is the highest HLC in the clock, zero where it is empty.
func (c Clock) MaxHLC() HLC {
	var highest HLC
	for i := range c {
		highest = max(highest, c[i].HLC)
	}
	return highest
}

// Join is the pointwise maximum of both, in memory of its own.
func Join(a, b Clock) Clock {
	return append(make(Clock, 0, len(a)+len(b)), a...).join(b)
}

// join is Join in c's own memory where it suffices. other may be c itself.
func (c Clock) join(other Clock) Clock {
	missing := 0
	i := 0
	for _, d := range other {
		for i < len(c) && c[i].Incarnation < d.Incarnation {
			i++
		}
		if i < len(c) && c[i].Incarnation == d.Incarnation {
			c[i].HLC = max(c[i].HLC, d.HLC)
		} else {
			missing++
		}
	}
	if missing == 0 {
		return c
	}

	// Merge the missing entries in from the end, so that nothing is overwritten before it has moved.
	i = len(c) - 1
	c = slices.Grow(c, missing)[:len(c)+missing]
	to := len(c) - 1
	for j := len(other) - 1; j >= 0; to-- {
		switch {
		case i < 0 || c[i].Incarnation < other[j].Incarnation:
			c[to] = other[j]
			j--
		case c[i].Incarnation == other[j].Incarnation:
			c[to] = c[i]
			i--
			j--
		default:
			c[to] = c[i]
			i--
		}
	}
	return c
}

// add joins one dot into c, in c's own memory where it suffices.
func (c Clock) add(d Dot) Clock {
	i, found := c.search(d.Incarnation)
	if !found {
		return slices.Insert(c, i, d)
	}
	c[i].HLC = max(c[i].HLC, d.HLC)
	return c
}

// search finds the incarnation's place in the order. By hand, since it is asked for every sibling of
// every put, merge and encoding.
func (c Clock) search(incarnation Incarnation) (index int, found bool) {
	low, high := 0, len(c)
	for low < high {
		middle := int(uint(low+high) / 2)
		if c[middle].Incarnation < incarnation {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low, low < len(c) && c[low].Incarnation == incarnation
}
