package cluster

import (
	"errors"
	"fmt"
	"testing"

	"cartwheel/cluster/quorum"
)

// replying answers forwarded commands, or never does.
type replying string

func (x replying) Ended() bool { return false }

func (x replying) Settle() {}

func (x replying) Execute(_ *quorum.Forwarded, respond func([]byte, error)) {
	if x != "" {
		respond([]byte(x), nil)
	}
}

type forwarded struct {
	reply string
	err   error
}

type forwardReplied chan forwarded

func (r forwardReplied) ForwardDone(reply []byte, err error) { r <- forwarded{string(reply), err} }

// forwardSet has node 0 forward a SET to node 1 first, and returns what comes of it.
func (w *world) forwardSet() forwarded {
	w.t.Helper()
	replied := make(forwardReplied, 1)
	f := &quorum.Forwarded{Args: [][]byte{[]byte("set"), []byte("k"), []byte("v")}, Again: true}
	if err := w.nodes[0].Forward(w.nodes[1].NodeID(), f, replied); err != nil {
		w.t.Fatal(err)
	}
	w.nodes[0].Kick()
	return <-replied
}

// What a second node refuses, a first one that has not answered may have done.
func TestARefusalDoesNotSettleWhatAnotherNodeMayHaveDone(t *testing.T) {
	for second, want := range map[string]string{
		"+OK\r\n":                          "+OK\r\n",
		"-MISCONF The disk is full\r\n":    "TIMEOUT",
		"-OVERLOADED nothing was done\r\n": "TIMEOUT",
		"-NOREPLICAS none\r\n":             "TIMEOUT",
	} {
		w := newWorldOf(t, 3, 3, quiet)
		w.nodes[1].Serve(replying(""))
		w.nodes[2].Serve(replying(second))
		got := w.forwardSet()
		if text := got.reply; got.err == nil && text != want || got.err != nil && code(got.err) != want {
			t.Errorf("a node that does not answer, and then %q: %q, %v", second, text, got.err)
		}
	}
	// Where the first refuses, nothing was done. For want of replicas another need not.
	w := newWorldOf(t, 3, 3, quiet)
	for answer, want := range map[string]string{"+OK\r\n": "+OK\r\n", "-NOREPLICAS none\r\n": ""} {
		w.nodes[1].Serve(replying("-NOREPLICAS none\r\n"))
		w.nodes[2].Serve(replying(answer))
		if got := w.forwardSet(); got.reply != want || (got.err == nil) != (want != "") || got.err != nil && (code(got.err) != "NOREPLICAS" || !errors.Is(got.err, quorum.ErrMoved)) {
			t.Errorf("a node that knows of no replicas, and then %q: %q, %v", answer, got.reply, got.err)
		}
	}
	w.nodes[1].Serve(replying("-MISCONF The disk is full\r\n"))
	if got := w.forwardSet(); got.err != nil || got.reply != "-MISCONF The disk is full\r\n" {
		t.Error(fmt.Sprint(got))
	}
}

// lingering runs a forwarded command only when it is told to.
type lingering struct {
	executing
	begin chan struct{}
	ended chan error
}

func (x lingering) Execute(f *quorum.Forwarded, _ func([]byte, error)) {
	go func() {
		<-x.begin
		x.executing.Execute(f, func(_ []byte, err error) { x.ended <- err })
	}()
}

// A node that has not answered in time may run a command after all, when another has run it
// and has answered, and the key was written anew.
func TestACommandThatIsRunAgainIsStillOneWrite(t *testing.T) {
	w := newWorldOf(t, 3, 3, quiet)
	late := lingering{executing{w.nodes[1]}, make(chan struct{}), make(chan error, 1)}
	w.nodes[1].Serve(late)
	w.nodes[2].Serve(executing{w.nodes[2]})
	replied := make(forwardReplied, 1)
	f := &quorum.Forwarded{Args: [][]byte{[]byte("set"), []byte("k"), []byte("first")}, Again: true}
	if err := w.nodes[0].Forward(w.nodes[1].NodeID(), f, replied); err != nil {
		t.Fatal(err)
	}
	w.nodes[0].Kick()
	if got := <-replied; got.err != nil || got.reply != "+OK\r\n" {
		t.Fatal(got)
	}
	mustSet(t, w.nodes[2], 0, "k", "second")
	close(late.begin)
	if err := <-late.ended; err != nil {
		t.Fatal(err)
	}
	for _, c := range w.nodes {
		wantValue(t, c, 0, "k", "second")
	}
}
