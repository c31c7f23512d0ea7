package member

import (
	"errors"
	"strings"
	"testing"
)

func TestKnownPeersAreMembersAndTheLiving(t *testing.T) {
	file := &knownFile{form: []byte("no line of ours\n" + nodeID(9).String() + "\n" + nodeID(1).String() + " one:1\n" + nodeID(2).String() + " two:1\r\n")}
	var k known
	if err := k.load(file); err != nil {
		t.Fatal(err)
	}
	if all := k.all(); len(all) != 2 || all[nodeID(1)] != "one:1" || all[nodeID(2)] != "two:1" {
		t.Fatalf("loaded %v", all)
	}
	nodes := []Node{
		{ID: nodeID(1), Contact: Contact{Peer: "one:2"}},
		{ID: nodeID(2), Contact: Contact{Peer: "two:1"}},
		{ID: nodeID(3), Contact: Contact{Peer: "three:1"}, Alive: true},
	}
	if err := k.save(file, nodes, nil); err != nil {
		t.Fatal(err)
	}
	if all := k.all(); len(all) != 3 || all[nodeID(1)] != "one:2" {
		t.Errorf("without a document all stay: %v", all)
	}
	if err := k.save(file, nodes, documentOf(1, "only 1", memberOf(nodeID(1)))); err != nil {
		t.Fatal(err)
	}
	want := nodeID(1).String() + " one:2\n" + nodeID(3).String() + " three:1\n"
	if string(file.form) != want {
		t.Errorf("saved %q", file.form)
	}
}

type failingFile struct{ knownFile }

func (f *failingFile) SaveKnown([]byte) error { return errors.New("the disk is full") }

func TestWhatWasNotSavedIsSavedLater(t *testing.T) {
	var k known
	if err := k.load(nil); err != nil {
		t.Fatal(err)
	}
	nodes := []Node{{ID: nodeID(1), Contact: Contact{Peer: "one:1"}, Alive: true}}
	if err := k.save(&failingFile{}, nodes, nil); err == nil {
		t.Fatal("a failure went unnoticed")
	}
	file := &knownFile{}
	if err := k.save(file, nodes, nil); err != nil || !strings.Contains(string(file.form), "one:1") {
		t.Errorf("saved %q, %v", file.form, err)
	}
}
