package cluster

import (
	"fmt"
	"testing"

	"cartwheel/cluster/quorum"
)

// replying answers forwarded commands, or never does.
type replying string

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
		replied := make(forwardReplied, 1)
		f := &quorum.Forwarded{Args: [][]byte{[]byte("set"), []byte("k"), []byte("v")}, Again: true}
		if err := w.nodes[0].Forward(w.nodes[1].NodeID(), f, replied); err != nil {
			t.Fatal(err)
		}
		w.nodes[0].Kick()
		got := <-replied
		if text := got.reply; got.err == nil && text != want || got.err != nil && code(got.err) != want {
			t.Errorf("a node that does not answer, and then %q: %q, %v", second, text, got.err)
		}
	}
	// Where the first refuses, nothing was done.
	w := newWorldOf(t, 3, 3, quiet)
	w.nodes[1].Serve(replying("-MISCONF The disk is full\r\n"))
	replied := make(forwardReplied, 1)
	f := &quorum.Forwarded{Args: [][]byte{[]byte("set"), []byte("k"), []byte("v")}, Again: true}
	if err := w.nodes[0].Forward(w.nodes[1].NodeID(), f, replied); err != nil {
		t.Fatal(err)
	}
	w.nodes[0].Kick()
	if got := <-replied; got.err != nil || got.reply != "-MISCONF The disk is full\r\n" {
		t.Error(fmt.Sprint(got))
	}
}
