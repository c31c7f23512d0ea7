package wire

// An inFlight holds the requests of a lane that have been sent and not been
// answered, by id and, in a timing wheel, by deadline. Adding, taking and
// sweeping cost the same however many there are. Its owner's lock guards it.
type inFlight struct {
	slots []slot
	free  int32 // the first of the slots not in use, linked by next; none is -1
	count int
	bytes int // of their frames
	// wheel has for each tick, modulo wheelTicks, the slots that are due in
	// it, or a whole number of rounds later, linked by next and prev.
	wheel     [wheelTicks]int32
	sweptTick int64 // all before it, and it, have been swept
}

// A slot is one request in flight, or free.
type slot struct {
	token      any
	deadlineMS int64
	bytes      int
	next, prev int32
	tick       uint16 // its place in the wheel
	used       bool
	op         Op
	generation uint32 // high half of the id of the request that uses it
}

const (
	tickMS     = 10
	wheelTicks = 1024
	noSlot     = int32(-1)
)

func newInFlight() *inFlight {
	f := &inFlight{free: noSlot}
	for i := range f.wheel {
		f.wheel[i] = noSlot
	}
	return f
}

// add puts a request in and returns its id, which is unlike the ids of all
// requests before it until 2^32 have used the same slot.
func (f *inFlight) add(token any, op Op, bytes int, deadlineMS int64) (id uint64) {
	i := f.free
	if i == noSlot {
		f.slots = append(f.slots, slot{})
		i = int32(len(f.slots) - 1)
	} else {
		f.free = f.slots[i].next
	}
	s := &f.slots[i]
	s.token, s.op, s.bytes, s.deadlineMS, s.used = token, op, bytes, deadlineMS, true
	s.generation++
	f.count++
	f.bytes += bytes
	f.link(i, s)
	return uint64(s.generation)<<32 | uint64(i)
}

// link puts a slot into the wheel: in the first tick that begins after its
// deadline, but in none that has been swept already.
func (f *inFlight) link(i int32, s *slot) {
	s.tick = uint16(max(s.deadlineMS/tickMS+1, f.sweptTick+1) % wheelTicks)
	first := f.wheel[s.tick]
	s.prev, s.next = noSlot, first
	if first != noSlot {
		f.slots[first].prev = i
	}
	f.wheel[s.tick] = i
}

// take removes a request. It reports false if id is not in flight, any more or
// at all.
func (f *inFlight) take(id uint64) (token any, op Op, ok bool) {
	i := uint32(id)
	if uint64(i) >= uint64(len(f.slots)) {
		return nil, 0, false
	}
	s := &f.slots[i]
	if !s.used || s.generation != uint32(id>>32) {
		return nil, 0, false
	}
	token, op = s.token, s.op
	f.release(int32(i), s)
	return token, op, true
}

func (f *inFlight) release(i int32, s *slot) {
	if s.prev != noSlot {
		f.slots[s.prev].next = s.next
	} else {
		f.wheel[s.tick] = s.next
	}
	if s.next != noSlot {
		f.slots[s.next].prev = s.prev
	}
	f.count--
	f.bytes -= s.bytes
	s.token, s.used = nil, false
	s.next = f.free
	f.free = i
}

// sweep takes all requests whose deadline is before nowMS, up to a tick, and
// appends replies with ErrTimeout for them.
func (f *inFlight) sweep(nowMS int64, replies []Reply) []Reply {
	tick := nowMS / tickMS
	for at := max(f.sweptTick+1, tick-wheelTicks+1); at <= tick; at++ {
		for i := f.wheel[at%wheelTicks]; i != noSlot; {
			s := &f.slots[i]
			next := s.next
			if s.deadlineMS < nowMS {
				replies = append(replies, Reply{Token: s.token, Op: s.op, Err: ErrTimeout})
				f.release(i, s)
			}
			i = next
		}
	}
	f.sweptTick = max(f.sweptTick, tick)
	return replies
}

// takeAll takes all requests and appends replies with ErrLost for them.
func (f *inFlight) takeAll(replies []Reply) []Reply {
	for i := range f.slots {
		if s := &f.slots[i]; s.used {
			replies = append(replies, Reply{Token: s.token, Op: s.op, Err: ErrLost})
			f.release(int32(i), s)
		}
	}
	return replies
}
