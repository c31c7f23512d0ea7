package server

import (
	"fmt"
	"strings"
	"time"

	"cartwheel/server/redisvalue"
)

// A clientType is a word of CLIENT LIST TYPE and CLIENT KILL TYPE. All clients
// are normal as long as there is neither replication by clients nor
// publish and subscribe.
type clientType uint8

const (
	clientNormal clientType = iota
	clientOther
)

func parseClientType(word []byte) (t clientType, ok bool) {
	switch {
	case is(word, "normal"):
		return clientNormal, true
	case is(word, "master"), is(word, "replica"), is(word, "slave"), is(word, "pubsub"):
		return clientOther, true
	}
	return 0, false
}

func clientInfo(c *call) {
	var b strings.Builder
	c.describe(&b, c.s)
	c.w.Verbatim("txt", b.String())
}

func clientList(c *call) {
	chosen, refusal := c.chooseClients()
	if refusal != "" {
		c.w.Error(refusal)
		return
	}
	var b strings.Builder
	for _, sess := range chosen {
		if c.describe(&b, sess); b.Len() > c.srv.replyBytesMax {
			c.w.Error(errReplyTooLarge.Error())
			return
		}
	}
	c.w.Verbatim("txt", b.String())
}

func (c *call) chooseClients() (chosen []*session, refusal string) {
	switch args := c.args[2:]; {
	case len(args) == 0:
		return c.srv.clients.all(), ""
	case len(args) == 2 && is(args[0], "type"):
		t, ok := parseClientType(args[1])
		if !ok {
			return nil, fmt.Sprintf("ERR Unknown client type '%.128s'", args[1])
		}
		if t == clientNormal {
			chosen = c.srv.clients.all()
		}
		return chosen, ""
	case len(args) >= 2 && is(args[0], "id"):
		for _, arg := range args[1:] {
			id, ok := redisvalue.ParseInt(arg)
			if !ok {
				return nil, "ERR Invalid client ID"
			}
			if sess := c.srv.clients.get(uint64(id)); sess != nil {
				chosen = append(chosen, sess)
			}
		}
		return chosen, ""
	}
	return nil, errSyntax
}

// describe appends the line of one client. Fields that mean nothing here are
// there for those who parse them.
func (c *call) describe(b *strings.Builder, sess *session) {
	command, idle := int(sess.command.Load()), c.srv.uptime()-time.Duration(sess.activeMS.Load())*time.Millisecond
	if sess == c.s {
		command, idle = c.cmd.ID, 0 // the session notes its command only when it has run
	}
	sess.mu.Lock()
	name, libName, libVer := sess.name, sess.libName, sess.libVer
	sess.mu.Unlock()
	in, out := sess.inBytes.Load(), sess.outBytes.Load()
	proto := 2
	if sess.resp3.Load() {
		proto = 3
	}
	fmt.Fprintf(b, "id=%d addr=%s laddr=%s fd=%d name=%s age=%d idle=%d flags=%s db=%d sub=0 psub=0 ssub=0 multi=-1",
		sess.id, sess.addr, sess.laddr, sess.fd, name, seconds(time.Since(sess.created)), seconds(idle),
		sess.flagLetters(), sess.dbNow.Load())
	fmt.Fprintf(b, " qbuf=%d qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=%d oll=0 omem=%d tot-mem=%d",
		in, out, out, in+out)
	fmt.Fprintf(b, " events=r cmd=%s user=%s redir=-1 resp=%d lib-name=%s lib-ver=%s\n",
		c.srv.commandName(command), defaultUser, proto, libName, libVer)
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }

func (s *Server) commandName(id int) string {
	if id < 0 {
		return "NULL"
	}
	return s.table.All()[id].FullName()
}

func (s *session) flagLetters() string {
	letters := ""
	if s.blocked.Load() {
		letters += "b"
	}
	if s.noEvict.Load() {
		letters += "e"
	}
	if s.noTouch.Load() {
		letters += "T"
	}
	if letters == "" {
		return "N"
	}
	return letters
}
