package cluster

import (
	"testing"
	"time"

	"cartwheel/cluster/wire"
)

// told is an ender that says that it was told, and waits.
type told struct {
	name string
	said chan<- string
	wait <-chan struct{}
}

func (e told) end(*wire.Reply) {
	e.said <- e.name
	<-e.wait
}

// While a ring is learnt aside, what is of that ring waits for it, and all else does not.
func TestWhatIsOfARingThatIsBeingLearntWaits(t *testing.T) {
	w := newWorldOf(t, 3, 3, quiet)
	p := w.nodes[0].peer(w.nodes[1].NodeID())
	epoch := w.nodes[0].view.Load().epoch
	said, wait := make(chan string, 10), make(chan struct{})
	reply := func(name string, status uint8, epoch uint64, text string) wire.Reply {
		return wire.Reply{Token: told{name, said, wait}, Status: status, Epoch: epoch, Payload: []byte(text)}
	}
	document := string(w.nodes[0].view.Load().text) // nothing new, which does not matter here
	var l lessons
	if l.take(p, []wire.Reply{reply("", statusEpoch, epoch+1, "")}) {
		t.Error("it waits for a document that does not come")
	}
	if !l.take(p, []wire.Reply{reply("document", statusEpoch, epoch+1, document)}) {
		t.Fatal("a ring is learnt by who must not wait for a disk")
	}
	if got := <-said; got != "document" {
		t.Fatal(got)
	}
	if !l.take(p, []wire.Reply{reply("again", statusEpoch, epoch+1, document)}) || !l.take(p, []wire.Reply{reply("behind", statusEpoch, epoch+1, "")}) {
		t.Error("it begins again on the old ring")
	}
	if text := l.batches[0][0].Payload; text != nil {
		t.Errorf("%d bytes of the same document are kept", len(text))
	}
	if l.take(p, []wire.Reply{reply("", statusOK, epoch, ""), reply("", statusEpoch, epoch, "")}) {
		t.Error("what has nothing to do with it waits")
	}
	select {
	case got := <-said:
		t.Errorf("%q has not waited", got)
	case <-time.After(10 * time.Millisecond):
	}
	close(wait)
	if a, b := <-said, <-said; a != "again" || b != "behind" {
		t.Errorf("in the order %q, %q", a, b)
	}
}
