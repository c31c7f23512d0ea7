package repair

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"cartwheel/cluster/ring"
	"cartwheel/store"
	"cartwheel/store/version"
)

// conversation returns all messages that nodes send each other for a while in
// which all kinds occur.
func conversation(t testing.TB) (w *world, messages [][]byte) {
	w = newWorld(t, 3, func(_ int, o *Options) { o.DropGrace = time.Nanosecond })
	w.adoptRing(w.document(1, 0, 1))
	var mu sync.Mutex
	w.meddleWith(func(_ int, _, to *node, msg []byte) (before, after error) {
		mu.Lock()
		defer mu.Unlock()
		messages = append(messages, slices.Clone(msg))
		return nil, nil
	})
	for i := range 20 {
		w.nodes[0].write(keyOf(i), write{value: "a", blind: true})
		w.nodes[1].write(keyOf(i/2+i%2*50), write{value: "b", blind: true})
	}
	ctx := context.Background()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(w.converge(0, 1))
	w.nodes[2].replan()
	_, err := w.nodes[2].store.OweRepair(nodeID(1), 3)
	must(err)
	_, err = w.nodes[2].collectOwed(ctx, nodeID(1))
	must(err)
	must(w.nodes[2].agreeOnMarks(ctx, nodeID(1)))
	_, err = w.nodes[2].store.RepairDone(nodeID(1), 3)
	must(err)
	must(w.round(0, 1))
	d := w.document(2, 0)
	d.Moves = []ring.Move{{Partition: 2, From: nodeID(0), To: nodeID(2)}}
	w.adoptRing(d)
	w.nodes[2].replan()
	_, err = w.nodes[2].fillFrom(ctx, nodeID(0))
	must(err)
	kinds := map[byte]bool{}
	for _, msg := range messages {
		kinds[msg[0]] = true
	}
	for kind := byte(askMarks); kind <= askPurge; kind++ {
		if !kinds[kind] {
			t.Fatalf("no message of kind %d", kind)
		}
	}
	w.meddleWith(nil)
	return w, messages
}

func TestMessagesCutShortOrTooLongAreErrors(t *testing.T) {
	w, messages := conversation(t)
	n := w.nodes[0]
	whole := 0
	for _, msg := range messages {
		for cut := range len(msg) {
			if _, err := n.Handle(nodeID(1), msg[:cut]); err == nil {
				whole++ // a list may end earlier
			}
		}
		if _, err := n.Handle(nodeID(1), append(slices.Clone(msg), 0xff)); err == nil && msg[0] != askRelease {
			if status, _ := n.Handle(nodeID(1), append(slices.Clone(msg), 0xff)); status[0] == statusOK {
				t.Errorf("a message of kind %d with a byte too much is taken", msg[0])
			}
		}
	}
	if whole == 0 {
		t.Error("no prefix was ever a message, so none was looked at beyond its header")
	}
}

func TestHostileMessagesAreErrors(t *testing.T) {
	w := newWorld(t, 2, nil)
	w.adoptRing(w.document(1, 0))
	n := w.nodes[0]
	marks := binary.BigEndian.AppendUint64(nil, marksHash(n.store.FlushMarks()))
	huge := binary.AppendUvarint(nil, math.MaxUint64)
	long := binary.AppendUvarint(nil, 1<<40)
	message := func(kind byte, parts ...[]byte) []byte {
		msg := append([]byte{kind}, marks...)
		for _, part := range parts {
			msg = append(msg, part...)
		}
		return msg
	}
	mask := slices.Repeat([]byte{0xff}, 8)
	key := store.NewKey(0, []byte("k"))
	p := ring.PartitionOf(key.Token.Slot(), testPartitions)
	at := []byte{byte(p)}
	elsewhere := []byte{byte(p+1) % testPartitions}
	entryOf := func(user string) []byte {
		return append(appendKey(nil, store.NewKey(0, []byte(user))), make([]byte, 8)...)
	}
	tooMany := []byte{}
	for i, n := 0, 0; n <= entriesMax; i++ {
		if k := store.NewKey(0, []byte(keyOf(i))); ring.PartitionOf(k.Token.Slot(), testPartitions) == p {
			tooMany, n = append(tooMany, entryOf(keyOf(i))...), n+1
		}
	}
	garbage := version.AppendObject(nil, someObject(2))
	garbage[len(garbage)-1] ^= 1
	levels := make([]byte, 16)
	for name, msg := range map[string][]byte{
		"nothing":                nil,
		"an unknown kind":        message(99),
		"kind zero":              message(0),
		"a partition too high":   message(askRoots, huge, make([]byte, 24)),
		"partitions that fall":   message(askRoots, []byte{2}, make([]byte, 24), []byte{1}, make([]byte, 24)),
		"an unknown mode":        message(askLeaves, []byte{0x80}),
		"a mask without leaves":  message(askLeaves, []byte{0}, at, mask),
		"half the sums":          message(askLeaves, []byte{modeSums}, at, mask, make([]byte, 32)),
		"sums of what is whole":  message(askCompare, []byte{modeSums}, at, levels, mask, []byte{0}),
		"an unknown flag":        message(askCompare, []byte{0}, at, levels, mask, []byte{0x80}),
		"a key of a length":      message(askCompare, []byte{0}, at, levels, mask, []byte{flagFrom, 0}, long),
		"a database too high":    message(askCompare, []byte{0}, at, levels, mask, []byte{flagFrom, 16, 0}),
		"a key of another range": message(askCompare, []byte{0}, elsewhere, levels, mask, []byte{0}, entryOf("k")),
		"keys that fall":         message(askCompare, []byte{0}, at, levels, mask, []byte{0}, entryOf("k"), entryOf("k")),
		"too many keys":          message(askCompare, []byte{0}, at, levels, mask, []byte{0}, tooMany),
		"a long uvarint":         message(askRelease, []byte{0x80, 0x00}),
		"an unknown wish":        message(askObjects, levels, []byte{9}, appendKey(nil, key)),
		"an object of a length":  message(askObjects, levels, []byte{objectPush}, appendKey(nil, key), long),
		"a corrupt object":       message(askObjects, levels, []byte{objectPush}, appendKey(nil, key), appendBytes(nil, garbage)),
		"purged in the future":   message(askRoots, at, make([]byte, 16), slices.Repeat([]byte{0x7f}, 8)),
		"T in the future":        message(askFence, slices.Repeat([]byte{0x7f}, 8), at),
		"half a T":               message(askSettle, make([]byte, 7)),
		"half the marks":         message(askMarks, make([]byte, 64)),
		"marks and more":         message(askMarks, make([]byte, 129)),
		"marks from the future":  message(askMarks, slices.Repeat([]byte{0x7f}, 128)),
	} {
		if reply, err := n.Handle(nodeID(1), msg); err == nil {
			t.Errorf("%s: answered with %x", name, reply)
		}
	}
	if all := n.everything(); len(all) != 0 {
		t.Errorf("stored: %v", all)
	}
}

func TestWhatIsNotThisNodesIsRefused(t *testing.T) {
	w := newWorld(t, 2, nil)
	w.adoptRing(w.document(1, 0))
	ctx := context.Background()
	w.nodes[0].set("k", "v")
	var page objectsPage
	page.add(store.NewKey(0, []byte("k")), version.AppendObject(nil, w.nodes[0].object("k")))
	if _, err := w.nodes[0].push(ctx, nodeID(1), &page); !errors.Is(err, errNotOwner) {
		t.Errorf("push: %v", err)
	}
	x := w.nodes[0].newExchange(nodeID(1), w.nodes[0].Ring(), modeShared)
	if _, err := x.roots(ctx, []ring.Partition{1}); !errors.Is(err, errNotOwner) {
		t.Errorf("roots: %v", err)
	}
	if err := x.pass(ctx, &extent{partition: 1, mask: allLeaves}); !errors.Is(err, errNotOwner) {
		t.Errorf("compare: %v", err)
	}
	if all := w.nodes[1].everything(); len(all) != 0 {
		t.Errorf("stored: %v", all)
	}
}

func TestTooManyMessagesAreAnsweredBusy(t *testing.T) {
	w := newWorld(t, 2, func(_ int, o *Options) { o.ServedMax = 1 })
	w.adoptRing(w.document(1, 0, 1))
	w.nodes[1].served <- struct{}{}
	began := time.Now()
	x := w.nodes[0].newExchange(nodeID(1), w.nodes[0].Ring(), modeShared)
	if _, err := x.roots(context.Background(), []ring.Partition{1}); !errors.Is(err, errBusy) {
		t.Errorf("%v", err)
	}
	if time.Since(began) < time.Second/2 {
		t.Error("the caller did not pause")
	}
	<-w.nodes[1].served
	if _, err := x.roots(context.Background(), []ring.Partition{1}); err != nil {
		t.Errorf("%v", err)
	}
}

// Replies are bytes from a peer, too.
func TestHostileRepliesAreErrors(t *testing.T) {
	w, _ := conversation(t)
	w.adoptRing(w.document(3, 0, 1))
	n := w.nodes[0]
	for _, reply := range [][]byte{
		nil,
		{},
		{99, 0},
		{0},
		{0, 0x80},
		{0, 0xff, 0xff, 0x7f},
		{0, 0, 1},
		{0, 0, 0xff, 0xff},
		append([]byte{0, 0}, slices.Repeat([]byte{0xff}, 300)...),
		append(slices.Concat(make([]byte, 2+16+1), []byte{findWanted}), binary.AppendUvarint(nil, 1<<50)...),
		append(slices.Concat(make([]byte, 2+16+1), []byte{findObject, 0}), binary.AppendUvarint(nil, 1<<50)...),
		append(make([]byte, 2+16+1), findDiffers, 0, 0xff, 0xff, 0x03),
		[]byte(strings.Repeat("\x00", 4000)),
	} {
		n.opts.Peers = replying{n, reply}
		x := n.newExchange(nodeID(1), n.Ring(), modeShared)
		ctx := context.Background()
		n.set(keyOf(1), "v")
		_, _ = x.roots(ctx, []ring.Partition{1})
		_, _ = x.leavesTwice(ctx, []ring.Partition{1})
		if err := x.pass(ctx, &extent{partition: 1, mask: allLeaves}); err == nil && len(reply) != 3 && len(reply) < 300 {
			t.Errorf("the reply %x is taken", reply)
		}
		_ = x.transfer(ctx, 1, []store.Key{store.NewKey(0, []byte(keyOf(1)))}, []store.Key{store.NewKey(0, []byte(keyOf(1)))})
		_, _ = n.collectOwed(ctx, nodeID(1))
	}
}

// replying answers everything alike.
type replying struct {
	Peers
	reply []byte
}

func (r replying) Call(context.Context, ring.NodeID, []byte) ([]byte, error) {
	return r.reply, nil
}

func TestAPassThatIsSentBackIsAnError(t *testing.T) {
	w := newWorld(t, 2, nil)
	w.adoptRing(w.document(1, 0, 1))
	n := w.nodes[0]
	key := keysIn(4, 1)[0]
	reply := appendKey(append(make([]byte, 2+16), flagReached), store.NewKey(0, []byte(key)))
	n.opts.Peers = replying{n, reply}
	x := n.newExchange(nodeID(1), n.Ring(), modeShared)
	if err := x.pass(context.Background(), &extent{partition: 4, mask: allLeaves}); !errors.Is(err, errMessage) {
		t.Errorf("a peer that never comes to an end: %v", err)
	}
}

func TestNothingRunsAfterStop(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	w := newWorld(t, 3, func(_ int, o *Options) { o.ExchangeInterval = time.Millisecond })
	w.adoptRing(w.document(1, 0, 1, 2))
	for i := range 50 {
		w.nodes[i%3].set(keyOf(i), "v")
	}
	for _, n := range w.nodes {
		n.Start()
	}
	until(t, "some exchanges", func() bool { return w.nodes[0].Figures().Exchanges > 3 })
	for _, n := range w.nodes {
		n.Stop()
	}
	calls, _, _ := w.count()
	if _, err := w.nodes[0].Handle(nodeID(1), []byte{askMarks}); err == nil {
		t.Error("a message was answered after Stop")
	}
	if now, _, _ := w.count(); now != calls {
		t.Errorf("%d calls after Stop", now-calls)
	}
	w.stop()
}

func FuzzHandle(f *testing.F) {
	w, messages := conversation(f)
	for _, msg := range messages {
		f.Add(msg)
	}
	n := w.nodes[0]
	marks := marksHash(n.store.FlushMarks())
	f.Fuzz(func(t *testing.T, msg []byte) {
		if len(msg) >= messageHeaderBytes && msg[0] != askMarks {
			binary.BigEndian.PutUint64(msg[1:], marks) // so that it gets past
		}
		if len(msg) > 0 && msg[0] == askMarks {
			return // it would change the marks for all that follow
		}
		if reply, err := n.Handle(nodeID(1), msg); err == nil && len(reply) < 2 {
			t.Errorf("reply %x", reply)
		}
	})
}
