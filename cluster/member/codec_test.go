package member

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"pgregory.net/rapid"

	"cartwheel/cluster/ring"
)

func drawBallot(t *rapid.T, label string) ballot {
	b := ballot{counter: rapid.Uint64Range(0, counterMax).Draw(t, label)}
	copy(b.proposer[:], rapid.SliceOfN(rapid.Byte(), 20, 20).Draw(t, label))
	return b
}

func TestMessagesAndRecordsAreReadAsTheyWereWritten(t *testing.T) {
	exposed := cmp.AllowUnexported(message{}, record{}, ballot{})
	rapid.Check(t, func(t *rapid.T) {
		m := message{
			kind:     kind(rapid.IntRange(1, int(kindLast)).Draw(t, "kind")),
			epoch:    rapid.Uint64().Draw(t, "epoch"),
			ballot:   drawBallot(t, "ballot"),
			accepted: drawBallot(t, "accepted"),
			baseSum:  rapid.Uint64().Draw(t, "sum"),
			base:     rapid.SliceOf(rapid.Byte()).Draw(t, "base"),
			value:    rapid.SliceOf(rapid.Byte()).Draw(t, "value"),
		}
		copy(m.cluster[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "cluster"))
		got, err := decodeMessage(m.append(nil))
		if diff := cmp.Diff(m, got, exposed); err != nil || diff != "" {
			t.Fatalf("%v %s", err, diff)
		}
		r := record{epoch: m.epoch, promised: m.ballot}
		if len(m.value) > 0 && !m.accepted.none() {
			r.accepted, r.value = m.accepted, m.value
		}
		form := r.append(nil)
		back, err := decodeRecord(form)
		if err != nil || !cmp.Equal(&r, back, exposed) {
			t.Fatalf("record: %v %s", err, cmp.Diff(&r, back, exposed))
		}
		form[rapid.IntRange(0, len(form)-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if _, err := decodeRecord(form); err == nil {
			t.Fatal("a flipped bit went unnoticed")
		}
	})
}

func FuzzHandle(f *testing.F) {
	d := documentOf(3, "fuzz", memberOf(nodeID(1)), memberOf(nodeID(2)))
	var s state
	s, _, err := s.withDocument(d.Append(nil))
	if err != nil {
		f.Fatal(err)
	}
	_, r := newRound(s, nodeID(2), ballot{})
	request := r.request()
	f.Add(request.append(nil))
	r.propose(documentOf(4, "next", memberOf(nodeID(2))).Append(nil))
	request = r.request()
	f.Add(request.append(nil))
	request.kind = committed
	f.Add(request.append(nil))
	f.Add((&message{kind: fetch, epoch: 1}).append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		storage := &memStorage{document: s.form}
		a, err := New(Options{Self: nodeID(1), Storage: storage, Log: zerolog.Nop()})
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		sent := bytes.Clone(b)
		reply, err := decodeMessage(a.Handle(nodeID(2), b))
		if err != nil || reply.kind < promise {
			t.Fatalf("a reply that is none: %v, kind %d", err, reply.kind)
		}
		if !bytes.Equal(sent, b) {
			t.Fatal("the request was written to")
		}
		if reply.kind == vote && (storage.acceptor == nil || a.Current().Epoch > 3) {
			t.Fatal("a vote that is not on disk")
		}
		if got, err := loadState(storage); err != nil || got.document.Cluster != (ring.ClusterID{1}) {
			t.Fatalf("the storage is spoilt: %v", err)
		}
	})
}

func FuzzDecodeRecord(f *testing.F) {
	r := record{epoch: 4, promised: ballot{counter: 2}, accepted: ballot{counter: 1}, value: []byte("value")}
	f.Add(r.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeRecord(b)
		if err == nil && !bytes.Equal(r.append(nil), b) {
			t.Fatal("a record of two forms")
		}
	})
}
