package repair

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"cartwheel/cluster/ring"
	"cartwheel/cluster/sabotage"
	"cartwheel/store"
	"cartwheel/store/version"
)

// Handle answers a message of a peer that is on the same epoch. It blocks on the
// store and on commits, but never on admission or on other nodes. Bytes that no
// Repair sends are an error.
func (r *Repair) Handle(from ring.NodeID, msg []byte) (reply []byte, err error) {
	if err := r.ctx.Err(); err != nil {
		return nil, err
	}
	in := reader{rest: msg}
	kind, marks := in.byte(), in.uint64()
	if in.bad || kind < askMarks || kind >= asks {
		return nil, errMessage
	}
	select {
	case r.served <- struct{}{}:
		defer func() { <-r.served }()
	default:
		return r.answer(statusBusy, time.Second), nil
	}
	if kind != askMarks && marks != marksHash(r.opts.Store.FlushMarks()) && !sabotage.On(sabotage.FlushMarkLate) {
		return r.answer(statusMarks, 0), nil
	}
	s := service{Repair: r, from: from, table: r.opts.Peers.Ring(), in: in}
	s.out = make([]byte, replyHeaderBytes, replyHeaderBytes+64)
	switch kind {
	case askMarks:
		err = s.marks()
	case askRoots:
		err = s.roots()
	case askLeaves:
		err = s.leaves()
	case askCompare:
		err = s.compare()
	case askObjects:
		err = s.objects()
	case askRelease:
		err = s.release()
	case askOwed:
		err = s.owed()
	case askHolding:
		err = s.holding()
	case askFence:
		err = s.fence()
	case askSettle:
		err = s.settle()
	case askStable:
		err = s.stable()
	case askPurge:
		err = s.purge()
	case askPurges:
		err = s.purges()
	}
	if status, known := statusOf(err); known {
		return r.answer(status, 0), nil
	}
	if err != nil {
		return nil, fmt.Errorf("answer a repair message of kind %d: %w", kind, err)
	}
	r.admission.spend(messageCost + len(msg) + len(s.out) + s.objectCount*objectCost)
	header := r.answer(statusOK, r.admission.pause())
	start := replyHeaderBytes - len(header)
	copy(s.out[start:], header)
	return s.out[start:], nil
}

// replyHeaderBytes is the longest header of a reply.
const replyHeaderBytes = 1 + 2

func (r *Repair) answer(status byte, pause time.Duration) []byte {
	return binary.AppendUvarint([]byte{status}, uint64(min(pause.Milliseconds(), pauseMSMax)))
}

// A service answers one message.
type service struct {
	*Repair
	from        ring.NodeID
	table       *ring.Ring
	in          reader
	out         []byte
	objectCount int
}

// owns says whether the partition is, or is becoming, this node's.
func (s *service) owns(p ring.Partition) bool { return holds(s.table, p, s.self) }

func holds(table *ring.Ring, p ring.Partition, id ring.NodeID) bool {
	return slices.Contains(table.Owners(p), id) || slices.Contains(table.Next(p), id)
}

func (s *service) marks() error {
	theirs := s.in.marks()
	if err := s.in.end(); err != nil {
		return err
	}
	if err := s.opts.Store.RaiseMarks(theirs); err != nil {
		return err
	}
	s.out = appendMarks(s.out, s.opts.Store.FlushMarks())
	return nil
}

func (s *service) roots() error {
	if !s.treesReady() {
		return errNotReady
	}
	next := -1
	whole := byte(0)
	if s.opts.Store.TreesWhole() {
		whole = 1
	}
	s.out = append(s.out, whole)
	purged := map[ring.Partition]version.HLC{}
	for len(s.in.rest) > 0 {
		p := s.in.partition(s.table.Partitions())
		root, theirs := s.in.uint64(), s.in.levels()
		if s.in.bad || int(p) < next {
			return errMessage
		}
		next = int(p) + 1
		if !s.owns(p) {
			return errNotOwner
		}
		purged[p] = theirs.Purge
		differs := byte(0)
		if s.opts.Store.Root(p) != root {
			differs = 1
		}
		if purge := s.opts.Store.Levels(p).Purge; differs != 0 || purge > theirs.Stable {
			s.out = append(binary.AppendUvarint(s.out, uint64(p)), differs)
			s.out = binary.BigEndian.AppendUint64(s.out, uint64(purge))
		}
	}
	if err := s.in.end(); err != nil {
		return err
	}
	return s.distrust(s.table, purged)
}

func (s *service) leaves() error {
	if !s.treesReady() {
		return errNotReady
	}
	mode := s.in.byte()
	if mode&^modesKnown != 0 {
		return errMessage
	}
	next := -1
	for len(s.in.rest) > 0 {
		p := s.in.partition(s.table.Partitions())
		mask := leafMask(s.in.uint64())
		if s.in.bad || int(p) < next || len(s.in.rest) < 8*mask.nodes(mode) {
			return errMessage
		}
		next = int(p) + 1
		if !s.owns(p) {
			return errNotOwner
		}
		own := s.opts.Store.Leaves(p)
		differ := differing(&s.in, mode, mask, &own)
		busy := byte(0)
		if differ != 0 && mode&modeShared != 0 && !s.engaged.join(p, s.from) {
			busy, differ = 1, 0
		}
		s.out = append(s.out, busy)
		s.out = binary.BigEndian.AppendUint64(s.out, uint64(differ))
	}
	return s.in.end()
}

func (s *service) release() error {
	for _, p := range s.in.partitions(s.table.Partitions()) {
		s.engaged.leave(p, s.from)
	}
	return s.in.end()
}

// objects merges what is pushed, makes that durable, and shows what is asked
// for, as much as a page holds.
func (s *service) objects() error {
	var pulls []store.Key
	m := s.newMerging(s.in.levels())
	for n := 0; len(s.in.rest) > 0; n++ {
		what := s.in.byte()
		k := s.in.key()
		var text []byte
		if what == objectPush {
			text = s.in.bytes()
		}
		if s.in.bad || (what != objectPush && what != objectPull) {
			return errMessage
		}
		if !s.owns(ring.PartitionOf(k.Token.Slot(), s.table.Partitions())) {
			return errNotOwner
		}
		if what == objectPull {
			pulls = append(pulls, k)
			continue
		}
		if err := m.add(n, k, text); err != nil {
			return err
		}
	}
	if err := s.in.end(); err != nil {
		return err
	}
	if err := m.commit(); err != nil {
		return err
	}
	if m.count > 0 {
		// Whoever pushes may remove its own copy then, which may have been on its disk for long.
		if err := s.opts.Store.Sync(); err != nil {
			return err
		}
	}
	s.objectCount += m.count
	s.counters.repaired.Add(uint64(m.changed))
	s.counters.refused.Add(uint64(len(m.refused)))
	s.out = appendLevels(s.out, s.levelsOf(pulls, s.table.Partitions()))
	s.out = binary.AppendUvarint(s.out, uint64(m.changed))
	s.out = binary.AppendUvarint(s.out, uint64(len(m.refused)))
	for _, n := range m.refused {
		s.out = binary.AppendUvarint(s.out, uint64(n))
	}
	return s.pulled(pulls)
}

func (s *service) pulled(pulls []store.Key) error {
	var text []byte
	for i, k := range pulls {
		var err error
		if text, _, err = s.encoded(k, text[:0]); err != nil {
			return err
		}
		if i > 0 && len(s.out)+len(text) > pageBytesMax {
			return nil
		}
		s.out = appendBytes(s.out, text)
		s.objectCount++
	}
	return nil
}

// encoded returns the stored form of an object, empty where it is absent or
// corrupt: then another node's is wanted.
func (r *Repair) encoded(k store.Key, dst []byte) (text []byte, hash uint64, err error) {
	text, _, err = r.opts.Store.GetEncoded(k.DB, k.User, dst)
	if isCorrupt(err) {
		return dst[:0], 0, nil
	}
	if err != nil || len(text) == 0 {
		return dst[:0], 0, err
	}
	return text, version.HashEncoded(text), nil
}

func statusOf(err error) (status byte, known bool) {
	switch err {
	case errNotReady:
		return statusNotReady, true
	case errNotOwner:
		return statusNotOwner, true
	case errBusy:
		return statusBusy, true
	case errMarks:
		return statusMarks, true
	}
	return 0, false
}
