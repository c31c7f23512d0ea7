package sim

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
)

// A trace is all that the network delivered and that clients saw, as a running hash: two
// runs of one seed that were the same have the same.
type trace struct {
	began time.Time
	mu    sync.Mutex
	hash  uint64 // guarded by mu, like what follows
	count int
	out   *bufio.Writer // nil: only the hash is kept
}

// note takes one event.
func (tr *trace) note(what string) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	at := time.Since(tr.began)
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:], tr.hash)
	binary.LittleEndian.PutUint64(b[8:], uint64(at))
	d := xxhash.New()
	_, _ = d.Write(b[:])
	_, _ = d.WriteString(what)
	tr.hash = d.Sum64()
	tr.count++
	if tr.out != nil {
		fmt.Fprintf(tr.out, "%016x %v %s\n", tr.hash, at, what)
	}
}

func (tr *trace) delivered(from, to string, unit []byte) {
	var kind [3]byte // of a frame: the operation, the flags and the first byte of its payload
	if len(unit) >= frameHeaderBytes {
		copy(kind[:], unit[opAt:])
		copy(kind[2:], unit[frameHeaderBytes:])
	}
	var b [128]byte
	text := append(append(append(b[:0], from...), '>'), to...)
	text = strconv.AppendInt(append(text, ' '), int64(len(unit)), 10)
	text = strconv.AppendUint(append(text, ' '), xxhash.Sum64(unit), 16)
	for _, k := range kind {
		text = strconv.AppendUint(append(text, ' '), uint64(k), 10)
	}
	tr.note(string(text))
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
