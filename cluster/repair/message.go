package repair

import (
	"encoding/binary"
	"errors"
	"math"
	"math/bits"

	"github.com/cespare/xxhash/v2"

	"cartwheel/cluster/ring"
	"cartwheel/store"
	"cartwheel/store/version"
)

// A message is its kind, 1 byte, a hash of the sender's flush marks, 8 bytes, and
// the kind's own fields. Numbers of no fixed size are uvarints in their shortest form; a key is
// db 1, length, bytes; a list without a count goes on to the end.
//
//	marks    16 flush marks, 8 each            -> the same, of the callee, after it has raised its own
//	roots    (partition, root 8, levels 16)... -> trees are whole 1, (partition, differs 1, purge 8)...
//	                                              of those that differ or that the caller forgot something of
//	leaves   mode 1, (partition, mask 8, a leaf 8 for each bit)...
//	                                           -> (busy 1, mask 8 of those that differ) for each
//	                                              in a mode of sums there are these, 8 each, in the place of leaves
//	compare  mode 1, partition, levels 16, mask 8, flags 1, [from key], [to key], (key, hash 8)...
//	                                           -> levels 16, flags 1, [reached key], findings...
//	objects  levels 16, (push 1, key, length, object | pull 1, key)...
//	                                           -> levels 16, changed, refused count, refused..., (length, object)...
//	release  partitions...                     -> nothing
//	owed     partitions...                     -> those that are repaired...
//	holding  partitions...                     -> (anything is stored 1, levels 16) for each
//	fence    T 8, partitions...                -> (partition, why 1, of node 20) of those that must stand still...
//	settle   T 8, partitions...                -> those of which all pairs that the callee begins have settled...
//	stable   T 8, partitions...                -> nothing
//	purge    T 8, partitions...                -> nothing
//
// Levels are stable 8, purge 8: the sender's, read before what they vouch for; of objects
// of several partitions the least.
//
// A reply is its status, 1 byte, milliseconds that the caller should pause, and what is shown.
const (
	askMarks = iota + 1
	askRoots
	askLeaves
	askCompare
	askObjects
	askRelease
	askOwed
	askHolding
	askFence
	askSettle
	askStable
	askPurge
	askPurges
	asks
)

const (
	statusOK       = iota
	statusNotReady // the hash trees are being rebuilt
	statusMarks    // the flush marks differ
	statusBusy     // too much is being served, or the partition is in another exchange
	statusNotOwner // a partition is not the callee's
)

// The modes of a comparison.
const (
	modeShared   = 1 << iota // between owners: one exchange of a partition at a time
	modePushOnly             // the caller wants nothing: it will drop what it has
	modeExact                // all that was applied before a pass began takes part in it, committed or not
	modeSums                 // of leaves, the sums of eight each
	modesKnown   = modeShared | modePushOnly | modeExact | modeSums
)

// The flags of compare and of its reply.
const (
	flagFrom    = 1 << 0
	flagTo      = 1 << 1
	flagReached = 1 << 0 // the reply covers what is before a key, which follows
)

// The findings of a comparison, and what objects has.
const (
	findWanted  = iota + 1 // number of the entry: the callee lacks it
	findDiffers            // number of the entry, clock length, clock: the callee's is another
	findObject             // key, length, object: the caller lacks it

	objectPush = 1
	objectPull = 2
)

const (
	messageHeaderBytes = 1 + 8
	entriesMax         = 4096      // keys that one compare lists
	entriesBytesMax    = 256 << 10 // of them
	pageBytesMax       = 1 << 20   // of objects in one message; a larger one goes alone
	scanKeysMax        = 16384     // that one compare looks at
	scanBytesMax       = 8 << 20
	pauseMSMax         = 1000
	clockEntryBytes    = 16
)

var (
	errMessage  = errors.New("a repair message is malformed")
	errNotReady = errors.New("the hash trees are not ready")
	errBusy     = errors.New("busy with other repairs")
	errNotOwner = errors.New("the partition is not one of that node's")
	errMarks    = errors.New("the flush marks differ")
)

// marksHash stands for flush marks where only their being equal matters.
func marksHash(marks [store.Databases]version.HLC) uint64 {
	return xxhash.Sum64(appendMarks(make([]byte, 0, 8*store.Databases), marks))
}

func appendMarks(dst []byte, marks [store.Databases]version.HLC) []byte {
	for _, mark := range marks {
		dst = binary.BigEndian.AppendUint64(dst, uint64(mark))
	}
	return dst
}

func appendKey(dst []byte, k store.Key) []byte {
	return appendBytes(append(dst, k.DB), k.User)
}

func appendBytes(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

func appendPartitions(dst []byte, partitions []ring.Partition) []byte {
	for _, p := range partitions {
		dst = binary.AppendUvarint(dst, uint64(p))
	}
	return dst
}

func appendClock(dst []byte, clock version.Clock) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(clock)))
	for _, d := range clock {
		dst = binary.BigEndian.AppendUint64(dst, uint64(d.Incarnation))
		dst = binary.BigEndian.AppendUint64(dst, uint64(d.HLC))
	}
	return dst
}

// A reader takes a message apart. After a field that is not there in full or that nobody
// would have written, bad is set and all further fields are zero.
type reader struct {
	rest []byte
	bad  bool
}

func (in *reader) fail() {
	*in = reader{bad: true}
}

func (in *reader) take(n uint64) []byte {
	if n > uint64(len(in.rest)) {
		in.fail()
		return nil
	}
	taken := in.rest[:n:n]
	in.rest = in.rest[n:]
	return taken
}

func (in *reader) byte() byte {
	if b := in.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (in *reader) uint64() uint64 {
	if b := in.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (in *reader) uvarint() uint64 {
	x, n := binary.Uvarint(in.rest)
	if n <= 0 || (n > 1 && in.rest[n-1] == 0) {
		in.fail()
		return 0
	}
	in.rest = in.rest[n:]
	return x
}

// bytes aliases the message.
func (in *reader) bytes() []byte { return in.take(in.uvarint()) }

// key computes the token, so that no peer can make one up.
func (in *reader) key() store.Key {
	db := in.byte()
	user := in.bytes()
	if in.bad || db >= store.Databases {
		in.fail()
		return store.Key{}
	}
	return store.NewKey(db, user)
}

func (in *reader) partition(partitions int) ring.Partition {
	p := in.uvarint()
	if p >= uint64(partitions) {
		in.fail()
		return 0
	}
	return ring.Partition(p)
}

// partitions reads rising partitions to the end.
func (in *reader) partitions(partitions int) (list []ring.Partition) {
	for len(in.rest) > 0 {
		p := in.partition(partitions)
		if in.bad || (len(list) > 0 && list[len(list)-1] >= p) {
			in.fail()
			return nil
		}
		list = append(list, p)
	}
	return list
}

func (in *reader) marks() (marks [store.Databases]version.HLC) {
	for db := range marks {
		marks[db] = version.HLC(in.uint64())
	}
	return marks
}

func appendLevels(dst []byte, l store.Levels) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(l.Stable))
	return binary.BigEndian.AppendUint64(dst, uint64(l.Purge))
}

func (in *reader) levels() store.Levels {
	return store.Levels{Stable: version.HLC(in.uint64()), Purge: version.HLC(in.uint64())}
}

func (in *reader) nodeID() (id ring.NodeID) {
	copy(id[:], in.take(uint64(len(id))))
	return id
}

func (in *reader) clock() version.Clock {
	n := in.uvarint()
	if n > uint64(len(in.rest)/clockEntryBytes) {
		in.fail()
		return nil
	}
	clock := make(version.Clock, 0, n)
	for range n {
		d := version.Dot{Incarnation: version.Incarnation(in.uint64()), HLC: version.HLC(in.uint64())}
		if len(clock) > 0 && clock[len(clock)-1].Incarnation >= d.Incarnation {
			in.fail()
			return nil
		}
		clock = append(clock, d)
	}
	return clock
}

// index reads a number below n.
func (in *reader) index(n int) int {
	i := in.uvarint()
	if i >= uint64(n) {
		in.fail()
		return 0
	}
	return int(i)
}

// end reports a message that is malformed or goes on.
func (in *reader) end() error {
	if in.bad || len(in.rest) > 0 {
		return errMessage
	}
	return nil
}

// A leafMask has a bit for each leaf of a partition.
type leafMask uint64

const allLeaves leafMask = math.MaxUint64

func (m leafMask) has(leaf int) bool { return m&(1<<leaf) != 0 }
func (m leafMask) count() int        { return bits.OnesCount64(uint64(m)) }

// nodes returns how many nodes of a partition's tree a message has for the leaves of a mask: themselves, or all sums.
func (m leafMask) nodes(mode byte) int {
	if mode&modeSums != 0 {
		return store.Leaves / leavesPerSum
	}
	return m.count()
}

const leavesPerSum = 8

// appendNodes appends those nodes.
func appendNodes(dst []byte, mode byte, mask leafMask, leaves *[store.Leaves]uint64) []byte {
	if mode&modeSums != 0 {
		for _, sum := range sums(leaves) {
			dst = binary.BigEndian.AppendUint64(dst, sum)
		}
		return dst
	}
	for leaf, hash := range leaves {
		if mask.has(leaf) {
			dst = binary.BigEndian.AppendUint64(dst, hash)
		}
	}
	return dst
}

// differing reads the nodes of a peer, and returns those leaves of the mask that differ, or may, as their sums do.
func differing(in *reader, mode byte, mask leafMask, own *[store.Leaves]uint64) (differ leafMask) {
	if mode&modeSums != 0 {
		for i, sum := range sums(own) {
			if in.uint64() != sum {
				differ |= (1<<leavesPerSum - 1) << (i * leavesPerSum)
			}
		}
		return differ & mask
	}
	for leaf := range own {
		if mask.has(leaf) && in.uint64() != own[leaf] {
			differ |= 1 << leaf
		}
	}
	return differ
}

// sums are the level above the leaves.
func sums(leaves *[store.Leaves]uint64) (sums [store.Leaves / leavesPerSum]uint64) {
	for leaf, hash := range leaves {
		sums[leaf/leavesPerSum] ^= hash
	}
	return sums
}
