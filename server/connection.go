package server

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"

	"cartwheel/server/redisvalue"
)

var connectionHandlers = map[string]handler{
	"hello":  {local: hello},
	"auth":   {local: auth},
	"ping":   {local: ping},
	"echo":   {local: echo},
	"quit":   {local: quit},
	"reset":  {local: reset},
	"select": {local: selectDB},
}

const (
	defaultUser  = "default" // the only one there is
	errWrongPass = "WRONGPASS invalid username-password pair or user is disabled."
	errHelloAuth = "NOAUTH HELLO must be called with the client already authenticated, otherwise the " +
		"HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the " +
		"RESP protocol version at the same time"
	errNoPassword = "ERR AUTH <password> called without any password configured for the default user. " +
		"Are you sure your configuration is correct?"
)

// helloOptions are what HELLO asks for.
type helloOptions struct {
	proto          int64 // 0: as it is
	user, password []byte
	auth           bool
	name           []byte // nil: as it is
}

func (o *helloOptions) parse(args [][]byte) (refusal string) {
	if len(args) == 0 {
		return ""
	}
	var ok bool
	if o.proto, ok = redisvalue.ParseInt(args[0]); !ok {
		return "ERR Protocol version is not an integer or out of range"
	}
	if o.proto != 2 && o.proto != 3 {
		return "NOPROTO unsupported protocol version"
	}
	for i := 1; i < len(args); i++ {
		switch left := len(args) - 1 - i; {
		case is(args[i], "auth") && left >= 2:
			o.auth, o.user, o.password = true, args[i+1], args[i+2]
			i += 2
		case is(args[i], "setname") && left >= 1:
			o.name = args[i+1]
			if refusal := refuseName(o.name); refusal != "" {
				return refusal
			}
			i++
		default:
			return fmt.Sprintf("ERR Syntax error in HELLO option '%.128s'", args[i])
		}
	}
	return ""
}

func hello(c *call) {
	var o helloOptions
	if refusal := o.parse(c.args[1:]); refusal != "" {
		c.w.Error(refusal)
		return
	}
	if o.auth && !c.srv.isUser(o.user, o.password) {
		c.w.Error(errWrongPass)
		return
	}
	if o.auth {
		c.s.authed = true
	}
	if !c.s.authed {
		c.w.Error(errHelloAuth)
		return
	}
	if o.name != nil {
		c.s.setName(o.name)
	}
	if o.proto != 0 {
		c.setProtocol(o.proto == 3)
	}
	c.w.Map(7)
	c.pair("server", "redis")
	c.pair("version", RedisVersion)
	c.w.BulkString("proto")
	c.w.Int(int64(c.protocol()))
	c.w.BulkString("id")
	c.w.Int(int64(c.s.id))
	c.pair("mode", c.s.mode())
	c.pair("role", "master")
	c.w.BulkString("modules")
	c.w.Array(0)
}

// mode is what kind of Redis the client is to take this server for.
func (s *session) mode() string {
	if s.atClusterPort() {
		return "cluster"
	}
	return "standalone"
}

func (c *call) pair(name, value string) {
	c.w.BulkString(name)
	c.w.BulkString(value)
}

func (c *call) setProtocol(resp3 bool) {
	c.w.RESP3 = resp3
	c.s.resp3.Store(resp3)
}

func (c *call) protocol() int {
	if c.w.RESP3 {
		return 3
	}
	return 2
}

// isUser reports that a name and a password are right. How long it takes tells
// nothing of the password.
func (s *Server) isUser(name, password []byte) bool {
	want := s.password.Load()
	if want == nil {
		return string(name) == defaultUser
	}
	got := sha256.Sum256(password)
	right := subtle.ConstantTimeCompare(got[:], want[:]) == 1
	return right && string(name) == defaultUser
}

func auth(c *call) {
	user, password := []byte(defaultUser), c.args[1]
	switch {
	case len(c.args) > 3:
		c.w.Error(errSyntax)
		return
	case len(c.args) == 3:
		user, password = c.args[1], c.args[2]
	case c.srv.password.Load() == nil:
		c.w.Error(errNoPassword)
		return
	}
	if !c.srv.isUser(user, password) {
		c.w.Error(errWrongPass)
		return
	}
	c.s.authed = true
	c.w.OK()
}

func ping(c *call) {
	switch len(c.args) {
	case 1:
		c.w.Simple("PONG")
	case 2:
		c.w.Bulk(c.args[1])
	default:
		arityError(c)
	}
}

func echo(c *call) { c.w.Bulk(c.args[1]) }

func quit(c *call) {
	c.w.OK()
	c.s.closing = true
}

// reset makes the connection as it was when it was new.
func reset(c *call) {
	s := c.s
	s.selectDB(0)
	s.setName(nil)
	s.mute, s.muteNext = false, 0
	s.noEvict.Store(false)
	s.noTouch.Store(false)
	s.authed = c.srv.password.Load() == nil
	c.setProtocol(false)
	c.w.Simple("RESET")
}

func selectDB(c *call) {
	if db, ok := c.database(c.args[1]); ok {
		c.s.selectDB(db)
		c.w.OK()
	}
}

func (s *session) selectDB(db uint8) {
	s.db = db
	s.dbNow.Store(uint32(db))
}
