package main

import (
	"bufio"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

const infoOfThree = "# Ring\r\nring_cluster_id:c0ffee\r\nring_epoch:7\r\nring_replicas:3\r\nring_moves:12\r\nring_members:3\r\nring_members_up:2\r\n" +
	"\r\n# Members\r\n" +
	"member0:id=a0000000000000000000,peer=127.0.0.1:7201,client=127.0.0.1:7001,cluster=127.0.0.1:7101,zone=,weight=1,state=active,up=1,self=1,owned=1024,primary=512,hints=3,hint_bytes=4096\r\n" +
	"member1:id=b0,peer=127.0.0.1:7202,client=127.0.0.1:7002,cluster=,zone=rack%2C%201,weight=2,state=leaving,up=0,self=0,owned=512,primary=512,hints=0,hint_bytes=0\r\n" +
	"member2:id=c0000000000000000000,peer=127.0.0.1:7203,client=127.0.0.1:7003,cluster=127.0.0.1:7103,zone=z,weight=1,state=joining,up=1,self=0,owned=0,primary=0,hints=0,hint_bytes=0,later=x\r\n"

func TestStatusShowsMembers(t *testing.T) {
	view, err := parseRingView(infoOfThree)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := view.print(&out); err != nil {
		t.Fatal(err)
	}
	const want = `cluster c0ffee, epoch 7, N=3: 2 of 3 members are up, 12 moves of partitions under way

NODE       UP    STATE    ZONE     WEIGHT  SHARE  HINTS       CLIENTS         CLUSTER CLIENTS  PEERS
a0000000*  up    active   -        1       66.7%  3 (4.0 KB)  127.0.0.1:7001  127.0.0.1:7101   127.0.0.1:7201
b0         down  leaving  rack, 1  2       33.3%  0           127.0.0.1:7002  -                127.0.0.1:7202
c0000000   up    joining  z        1       0.0%   0           127.0.0.1:7003  127.0.0.1:7103   127.0.0.1:7203

* is the node that was asked.
`
	if out.String() != want {
		t.Errorf(" got:\n%s\nwant:\n%s", out.String(), want)
	}
	text, err := json.Marshal(view.Members[0])
	if want := `{"id":"a0000000000000000000","up":true,"self":true,"state":"active","zone":"","weight":1,"share_percent":66.7,` +
		`"owned":1024,"primary":512,"hints":3,"hint_bytes":4096,"client":"127.0.0.1:7001","cluster_port":"127.0.0.1:7101","peer":"127.0.0.1:7201"}`; string(text) != want || err != nil {
		t.Errorf(" got: %s, %v\nwant: %s", text, err, want)
	}
}

func TestStatusRefusesWhatIsNoRing(t *testing.T) {
	for _, text := range []string{"", "# Server\r\nredis_version:7.0.15\r\n", "member0:id=a,weight=x\r\n", "ring_epoch:x\r\nmember0:id=a\r\n"} {
		if view, err := parseRingView(text); err == nil {
			t.Errorf("%q is understood as %+v", text, view)
		}
	}
}

func TestStatusSaysThatNothingAnswers(t *testing.T) {
	err := (&clusterStatusCommand{clusterFlags: clusterFlags{Addr: "127.0.0.1:1"}, Timeout: time.Second}).Run()
	if err == nil || !strings.Contains(err.Error(), "node 127.0.0.1:1: nothing answers") {
		t.Error(err)
	}
}

func TestAskedRepliesAreStrings(t *testing.T) {
	for reply, want := range map[string]string{"+OK\r\n": "OK", "$5\r\na\r\nbc\r\n": "a\r\nbc", "$0\r\n\r\n": ""} {
		if got, err := readString(bufio.NewReader(strings.NewReader(reply))); err != nil || got != want {
			t.Errorf("%q: %q, %v", reply, got, err)
		}
	}
	for reply, want := range map[string]string{
		"": "no reply", "\r\n": "empty", "-ERR no\r\n": "ERR no", "$-1\r\n": "unexpected", "$99999999999\r\n": "unexpected", "$5\r\nab": "too soon",
		":1\r\n": "unexpected", "$x\r\n": "unexpected", strings.Repeat("x", 1<<17): "no reply",
	} {
		if got, err := readString(bufio.NewReader(strings.NewReader(reply))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %q, error %v, want one with %q", reply, got, err, want)
		}
	}
}

func FuzzRingView(f *testing.F) {
	f.Add(infoOfThree)
	f.Fuzz(func(t *testing.T, text string) {
		view, err := parseRingView(text)
		if err != nil {
			return
		}
		if err := view.print(&strings.Builder{}); err != nil {
			t.Error(err)
		}
	})
}
