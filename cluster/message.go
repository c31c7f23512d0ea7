package cluster

import (
	"encoding/binary"
	"errors"

	"cartwheel/cluster/quorum"
	"cartwheel/cluster/ring"
	"cartwheel/store"
	"cartwheel/store/version"
)

// What nodes ask of each other. The numbers are on the wire.
const (
	opPut      = 1  // merge an object, or keep it as a hint
	opGet      = 2  // the object of a key, if its hash is another than this
	opForward  = 3  // run a command
	opPing     = 4  // say that you live, and how you are
	opDocument = 5  // learn a ring document
	opAgree    = 6  // a message of the agreement on ring documents
	opJoin     = 7  // let a node in
	opRepair   = 8  // a message of package repair
	opScan     = 9  // a page of keys
	opSize     = 10 // counts of keys
	opFlush    = 11 // raise flush marks
	opRandom   = 12 // a key
	opWeigh    = 13 // how much you have of what, and what moves to you
)

// How they answer.
const (
	statusOK      = 0
	statusSame    = 1 // to opGet: the hash is the same
	statusObject  = 2 // to opGet: here are stable 8, purge 8, and the object, empty where the key is absent
	statusLater   = 3 // to opPut: it is kept, but a sibling written later wins; here is when
	statusRefused = 4 // for a reason, in words
	statusEpoch   = 5 // your ring is older than mine, which is here or in a reply before this one
	statusBehind  = 6 // your ring is newer than mine
)

var errMessage = errors.New("a peer's message is malformed")

// A put is the payload of opPut:
//
//	flags 1, db 1, [owner 20], dot 16, stable 8, length of the key uvarint, key, object
type put struct {
	plain bool         // whoever wrote it expects it to win over all earlier ones
	hint  *ring.NodeID // the owner that the object is kept for
	dot   version.Dot  // of the write
	// stable is up to where the sender had everything before it read what it sends.
	stable version.HLC
	db     uint8
	key    []byte
	text   []byte // the encoded object
}

const (
	putPlain = 1 << iota
	putHint
)

// append writes all but the object.
func (p *put) append(dst []byte) []byte {
	flags := byte(0)
	if p.plain {
		flags |= putPlain
	}
	if p.hint != nil {
		flags |= putHint
	}
	dst = append(dst, flags, p.db)
	if p.hint != nil {
		dst = append(dst, p.hint[:]...)
	}
	dst = binary.BigEndian.AppendUint64(dst, uint64(p.dot.Incarnation))
	dst = binary.BigEndian.AppendUint64(dst, uint64(p.dot.HLC))
	dst = binary.BigEndian.AppendUint64(dst, uint64(p.stable))
	dst = binary.AppendUvarint(dst, uint64(len(p.key)))
	return append(dst, p.key...)
}

// parse reads a put; it aliases b.
func (p *put) parse(b []byte) error {
	if len(b) < 2 || b[0]&^(putPlain|putHint) != 0 || b[1] >= databases {
		return errMessage
	}
	flags := b[0]
	*p = put{plain: flags&putPlain != 0, db: b[1]}
	b = b[2:]
	if flags&putHint != 0 {
		if len(b) < len(ring.NodeID{}) {
			return errMessage
		}
		p.hint = new(ring.NodeID)
		b = b[copy(p.hint[:], b):]
	}
	if len(b) < 24 {
		return errMessage
	}
	p.dot = version.Dot{
		Incarnation: version.Incarnation(binary.BigEndian.Uint64(b)),
		HLC:         version.HLC(binary.BigEndian.Uint64(b[8:])),
	}
	p.stable = version.HLC(binary.BigEndian.Uint64(b[16:]))
	var ok bool
	if p.key, p.text, ok = cutBytes(b[24:]); !ok {
		return errMessage
	}
	return nil
}

// A get is the payload of opGet:
//
//	flags 1, db 1, hash 8, key
type get struct {
	fallback bool // not as an owner: what is kept for one
	any      bool // the hash counts for nothing
	db       uint8
	hash     uint64
	key      []byte
}

const (
	getFallback = 1 << iota
	getAny
)

func (g *get) append(dst []byte) []byte {
	flags := byte(0)
	if g.fallback {
		flags |= getFallback
	}
	if g.any {
		flags |= getAny
	}
	dst = append(dst, flags, g.db)
	dst = binary.BigEndian.AppendUint64(dst, g.hash)
	return append(dst, g.key...)
}

// parse reads a get; it aliases b.
func (g *get) parse(b []byte) error {
	if len(b) < 10 || b[0]&^(getFallback|getAny) != 0 || b[1] >= databases {
		return errMessage
	}
	*g = get{
		fallback: b[0]&getFallback != 0, any: b[0]&getAny != 0, db: b[1],
		hash: binary.BigEndian.Uint64(b[2:]), key: b[10:],
	}
	return nil
}

// A forwarded command is:
//
//	flags 1, db 1, R uvarint, W uvarint, after 8, before 8, arguments: length uvarint, bytes, each
const (
	forwardRESP3 = 1 << iota
	forwardStrict
)

func appendForwarded(dst []byte, f *quorum.Forwarded) []byte {
	flags := byte(0)
	if f.RESP3 {
		flags |= forwardRESP3
	}
	if f.Need.Strict {
		flags |= forwardStrict
	}
	dst = append(dst, flags, f.DB)
	dst = binary.AppendUvarint(dst, uint64(f.Need.R))
	dst = binary.AppendUvarint(dst, uint64(f.Need.W))
	dst = binary.BigEndian.AppendUint64(dst, uint64(f.Need.Span.After))
	dst = binary.BigEndian.AppendUint64(dst, uint64(f.Need.Span.Before))
	for _, arg := range f.Args {
		dst = binary.AppendUvarint(dst, uint64(len(arg)))
		dst = append(dst, arg...)
	}
	return dst
}

// parseForwarded copies b.
func parseForwarded(b []byte) (*quorum.Forwarded, error) {
	if len(b) < 4 || b[0]&^(forwardRESP3|forwardStrict) != 0 || b[1] >= databases {
		return nil, errMessage
	}
	f := &quorum.Forwarded{DB: b[1], RESP3: b[0]&forwardRESP3 != 0}
	f.Need.Strict = b[0]&forwardStrict != 0
	b = append([]byte(nil), b[2:]...)
	for _, n := range []*int{&f.Need.R, &f.Need.W} {
		v, width := binary.Uvarint(b)
		if width <= 0 || v > 1<<16 {
			return nil, errMessage
		}
		*n, b = int(v), b[width:]
	}
	if len(b) < 16 {
		return nil, errMessage
	}
	f.Need.Span = quorum.Span{After: version.HLC(binary.BigEndian.Uint64(b)), Before: version.HLC(binary.BigEndian.Uint64(b[8:]))}
	b = b[16:]
	for len(b) > 0 {
		arg, rest, ok := cutBytes(b)
		if !ok {
			return nil, errMessage
		}
		f.Args = append(f.Args, arg)
		b = rest
	}
	if len(f.Args) == 0 {
		return nil, errMessage
	}
	return f, nil
}

// levelsBytes is how long levels are before an object.
const levelsBytes = 16

func appendLevels(dst []byte, l store.Levels) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(l.Stable))
	return binary.BigEndian.AppendUint64(dst, uint64(l.Purge))
}

// cutLevels cuts levels off what stands behind them.
func cutLevels(b []byte) (l store.Levels, rest []byte, err error) {
	if len(b) < levelsBytes {
		return l, nil, errMessage
	}
	l.Stable = version.HLC(binary.BigEndian.Uint64(b))
	l.Purge = version.HLC(binary.BigEndian.Uint64(b[8:]))
	return l, b[levelsBytes:], nil
}

// cutBytes cuts bytes that their length stands before.
func cutBytes(b []byte) (front, rest []byte, ok bool) {
	n, width := binary.Uvarint(b)
	if width <= 0 || n > uint64(len(b)-width) {
		return nil, nil, false
	}
	b = b[width:]
	return b[:n:n], b[n:], true
}
