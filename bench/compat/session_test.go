package compat

import (
	"strings"
	"testing"
	"time"
)

func TestHelloSwitchesTheProtocolAndDescribesTheServer(t *testing.T) {
	s := startSubject(t, settings{})
	for _, protocol := range []string{"2", "3"} {
		c := connect(t, s.Addr)
		hello, err := c.do("HELLO", protocol, "SETNAME", "me")
		if err != nil {
			t.Fatal(err)
		}
		if want := map[string]byte{"2": '*', "3": '%'}[protocol]; hello.kind != want {
			t.Fatalf("HELLO %s: %s", protocol, hello)
		}
		fields := map[string]reply{}
		for i := 0; i+1 < len(hello.items); i += 2 {
			fields[hello.items[i].text] = hello.items[i+1]
		}
		for name, text := range map[string]string{"server": "redis", "proto": protocol, "mode": "standalone", "role": "master"} {
			if fields[name].text != text {
				t.Errorf("HELLO %s: %s is %s, want %q", protocol, name, fields[name], text)
			}
		}
		if fields["proto"].kind != ':' || fields["id"].kind != ':' || fields["modules"].kind != '*' {
			t.Errorf("HELLO %s: proto and id are integers, modules an array: %s", protocol, hello)
		}
		if !strings.HasPrefix(fields["version"].text, "7.") {
			t.Errorf("HELLO %s: version %s", protocol, fields["version"])
		}
		c.want(t, "$2\r\nme\r\n", "CLIENT", "GETNAME")
		c.want(t, map[string]string{"2": "$-1\r\n", "3": "_\r\n"}[protocol], "GET", "nothing")
		again, err := c.do("HELLO")
		if err != nil || again.kind != hello.kind {
			t.Errorf("HELLO without a version keeps the protocol: %s, %v", again, err)
		}
	}
}

const (
	noAuth     = "-NOAUTH Authentication required.\r\n"
	wrongPass  = "-WRONGPASS invalid username-password pair or user is disabled.\r\n"
	noHello    = "-NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time\r\n"
	noHelloOld = "-NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time\r\n"
)

func TestNothingIsAnsweredBeforeThePassword(t *testing.T) {
	const password = "correct horse"
	redis, subject := startRedis(t, settings{password: password}), startSubject(t, settings{password: password})
	for _, s := range []string{redis.Addr, subject.Addr} {
		c := connect(t, s)
		c.want(t, noAuth, "GET", "key")
		c.want(t, noAuth, "PING")
		c.want(t, noAuth, "CLIENT", "ID")
		c.want(t, noAuth, "COMMAND", "COUNT")
		for _, args := range [][]string{{"HELLO", "3"}, {"HELLO"}} {
			r, err := c.do(args...)
			// Redis 7.0 does not say <proto> yet, 7.2 does.
			if said := string(r.raw); err != nil || said != noHello && (s == subject.Addr && !subjectIsRedis() || said != noHelloOld) {
				t.Fatalf("%s: %s, %v, want %q", typed(args), r, err, noHello)
			}
		}
		c.want(t, "-NOPROTO unsupported protocol version\r\n", "HELLO", "4")
		c.want(t, wrongPass, "AUTH", "wrong")
		c.want(t, wrongPass, "AUTH", "default", "wrong")
		c.want(t, wrongPass, "AUTH", "nobody", password)
		c.want(t, wrongPass, "HELLO", "3", "AUTH", "default", "wrong")
		c.want(t, noAuth, "GET", "key")
		c.want(t, "+OK\r\n", "AUTH", password)
		c.want(t, "$-1\r\n", "GET", "key")
		c.want(t, wrongPass, "AUTH", "wrong")
		c.want(t, "$-1\r\n", "GET", "key")
		c.want(t, "+RESET\r\n", "RESET")
		c.want(t, noAuth, "GET", "key")
		c.want(t, "+OK\r\n", "AUTH", "default", password)
		c.want(t, "+OK\r\n", "SET", "key", "v")
		h := connect(t, s)
		hello, err := h.do("HELLO", "3", "AUTH", "default", password, "SETNAME", "n")
		if err != nil || hello.kind != '%' {
			t.Fatalf("HELLO with the password: %s, %v", hello, err)
		}
		h.want(t, "_\r\n", "GET", "none")
		quit := connect(t, s)
		quit.want(t, "+OK\r\n", "QUIT")
		quit.closed(t)
	}
	for _, c := range []rawCase{
		{"more than 10 arguments", "*11\r\n"},
		{"an argument over 16 KiB", "*2\r\n$4\r\nAUTH\r\n$16385\r\n"},
	} {
		want, err := answerToEnd(redis.Addr, c.input)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := answerToEnd(subject.Addr, c.input); err != nil || string(got) != string(want) {
			t.Errorf("%s before AUTH: %q %v, want %q", c.name, got, err, want)
		}
	}
}

func TestPasswordIsNotToBeReadAnywhere(t *testing.T) {
	const password = "hunter2-and-more"
	s := startSubject(t, settings{password: password})
	if subjectIsRedis() {
		t.Skip("Redis shows requirepass to who is logged in")
	}
	c := connect(t, s.Addr)
	c.want(t, "+OK\r\n", "AUTH", password)
	for _, args := range [][]string{{"CONFIG", "GET", "*"}, {"INFO", "everything"}, {"SLOWLOG", "GET", "-1"}, {"CLIENT", "LIST"}} {
		r, err := c.do(args...)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(r.raw), password) {
			t.Errorf("%s shows the password", typed(args))
		}
	}
	if strings.Contains(s.Log(), password) {
		t.Error("the log shows the password")
	}
}

func TestClientReplyIsHonoured(t *testing.T) {
	c := connect(t, startSubject(t, settings{}).Addr)
	for _, args := range [][]string{{"CLIENT", "REPLY", "SKIP"}, {"SET", "a", "1"}, {"INCR", "a"}} {
		if err := c.send(args...); err != nil {
			t.Fatal(err)
		}
	}
	if r, err := c.receive(); err != nil || r.text != "2" {
		t.Fatalf("SKIP silences itself and the next command: %s, %v", r, err)
	}
	for _, args := range [][]string{{"CLIENT", "REPLY", "OFF"}, {"INCR", "a"}, {"NOSUCH"}, {"CLIENT", "REPLY", "SKIP"}, {"GET", "a"}} {
		if err := c.send(args...); err != nil {
			t.Fatal(err)
		}
	}
	c.want(t, "+OK\r\n", "CLIENT", "REPLY", "ON")
	c.want(t, "$1\r\n3\r\n", "GET", "a")
}

func TestResetForgetsTheConnectionsState(t *testing.T) {
	c := connect(t, startSubject(t, settings{}).Addr)
	for _, args := range [][]string{{"HELLO", "3", "SETNAME", "me"}, {"SELECT", "3"}, {"SET", "k", "three"}, {"CLIENT", "REPLY", "ON"}} {
		if r, err := c.do(args...); err != nil || r.kind == '-' {
			t.Fatalf("%s: %s, %v", typed(args), r, err)
		}
	}
	c.want(t, "+RESET\r\n", "RESET")
	c.want(t, "$-1\r\n", "GET", "k")
	c.want(t, "$-1\r\n", "CLIENT", "GETNAME")
	c.want(t, "+OK\r\n", "SELECT", "3")
	c.want(t, "$5\r\nthree\r\n", "GET", "k")
}

func TestQuitAnswersWhatCameBeforeItAndCloses(t *testing.T) {
	c := connect(t, startSubject(t, settings{}).Addr)
	for _, args := range [][]string{{"SET", "k", "v"}, {"GET", "k"}, {"QUIT"}, {"SET", "k", "after"}} {
		if err := c.send(args...); err != nil && !isReset(err) {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"+OK\r\n", "$1\r\nv\r\n", "+OK\r\n"} {
		if r, err := c.receive(); err != nil || string(r.raw) != want {
			t.Fatalf("%s, %v, want %q", r, err, want)
		}
	}
	c.closed(t)
}

func TestClientKillEndsTheOtherConnection(t *testing.T) {
	s := startSubject(t, settings{})
	killer := connect(t, s.Addr)
	for _, how := range []string{"id", "addr", "address alone", "laddr and skipme"} {
		victim := connect(t, s.Addr)
		id, err := victim.do("CLIENT", "ID")
		if err != nil {
			t.Fatal(err)
		}
		switch how {
		case "id":
			killer.want(t, ":1\r\n", "CLIENT", "KILL", "ID", id.text)
			killer.want(t, ":0\r\n", "CLIENT", "KILL", "ID", "9999999")
		case "addr":
			killer.want(t, ":1\r\n", "CLIENT", "KILL", "ADDR", victim.LocalAddr().String())
		case "address alone":
			killer.want(t, "+OK\r\n", "CLIENT", "KILL", victim.LocalAddr().String())
			killer.want(t, "-ERR No such client\r\n", "CLIENT", "KILL", "127.0.0.1:1")
		default:
			r, err := killer.do("CLIENT", "KILL", "LADDR", s.Addr, "SKIPME", "yes")
			if n, ok := r.integer(); err != nil || !ok || n < 1 {
				t.Fatalf("CLIENT KILL LADDR: %s, %v", r, err)
			}
		}
		victim.closed(t)
	}
	killer.want(t, "+PONG\r\n", "PING")
}

func TestClientListShowsEveryConnection(t *testing.T) {
	s := startSubject(t, settings{})
	c, other := connect(t, s.Addr), connect(t, s.Addr)
	other.want(t, "+OK\r\n", "CLIENT", "SETNAME", "other")
	other.want(t, "+OK\r\n", "SELECT", "5")
	list, err := c.do("CLIENT", "LIST")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(list.text) {
		if strings.Contains(line, " name=other ") && strings.Contains(line, " db=5 ") && strings.Contains(line, "addr="+other.LocalAddr().String()) {
			return
		}
	}
	t.Errorf("no line for the other connection in %q", list.text)
}

func TestConnectionsPastTheLimitAreToldSo(t *testing.T) {
	const most = 10
	s := startSubject(t, settings{clientsMax: most})
	var open []*conn
	// The readiness probe's connection may still count.
	eventually(t, replyTimeout, "room for all clients", func() error {
		for len(open) < most {
			c, err := dial(s.Addr)
			if err != nil {
				return err
			}
			if r, err := c.do("PING"); err != nil || r.text != "PONG" {
				_ = c.Close()
				if err == nil {
					err = &mismatch{[]string{"PING"}, "PONG", r.String()}
				}
				return err
			}
			open = append(open, c)
			t.Cleanup(func() { _ = c.Close() })
		}
		return nil
	})
	over := connect(t, s.Addr)
	_ = over.SetReadDeadline(time.Now().Add(replyTimeout))
	r, err := readReply(over.in)
	if err != nil || string(r.raw) != "-ERR max number of clients reached\r\n" {
		t.Fatalf("one client too many gets %s, %v", r, err)
	}
	over.closed(t)
	open[0].want(t, "+PONG\r\n", "PING")
	_ = open[0].Close()
	eventually(t, replyTimeout, "the place of a client that left", func() error {
		c, err := dial(s.Addr)
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.do("PING")
		return err
	})
}
