package server_test

import (
	"strings"
	"testing"
)

// What Redis's documentation shows for SET mykey 10 and for a list.
const (
	redisDumpOf10     = "\x00\xc0\n\t\x00\xbem\x06\x89Z(\x00\n"
	redisDumpOfAList  = "\n\x17\x17\x00\x00\x00\x12\x00\x00\x00\x03\x00\x00\xc0\x01\x00\x04\xc0\x02\x00\x04\xc0\x03\x00\xff\x04\x00u#<\xc0;.\xe9\xdd"
	errorDumpChecksum = "-ERR DUMP payload version or checksum are wrong\r\n"
)

func TestDumpAndRestoreGiveTheValueBack(t *testing.T) {
	c := connect(t)
	for _, value := range []string{
		"", "x", "10", "-129", "70000", "2147483648", "01", "a\x00b\r\n", strings.Repeat("ab", 5000),
		strings.Repeat("\xff", 70_000), "the quick brown fox jumps over the lazy dog",
	} {
		c.expect("+OK\r\n", "SET", "k", value)
		payload := c.text("DUMP", "k")
		c.expect("+OK\r\n", "RESTORE", "copy", "0", payload, "REPLACE")
		if got := c.text("GET", "copy"); got != value {
			t.Errorf("%.40q comes back as %.40q", value, got)
		}
		if again := c.text("DUMP", "copy"); again != payload {
			t.Errorf("two dumps of %.40q differ", value)
		}
	}
	c.talk("> DUMP none\n$-1")
}

func TestRestoreReadsWhatRedisWrote(t *testing.T) {
	c := connect(t)
	c.expect("+OK\r\n", "RESTORE", "k", "0", redisDumpOf10)
	c.talk("> GET k\n$2\n10\n> TTL k\n:-1")
	c.expect("-ERR Cartwheel holds strings only: DUMP payload is not a string\r\n", "RESTORE", "l", "0", redisDumpOfAList)
}

func TestRestoreSetsTheExpiry(t *testing.T) {
	c, _ := connectAt(t)
	c.expect("+OK\r\n", "RESTORE", "k", "5000", redisDumpOf10)
	c.talk("> PTTL k\n:5000")
	c.expect("+OK\r\n", "RESTORE", "k", "1800000007000", redisDumpOf10, "ABSTTL", "replace")
	c.talk("> PTTL k\n:7000")
	c.expect("+OK\r\n", "RESTORE", "k", "0", redisDumpOf10, "REPLACE")
	c.talk("> PTTL k\n:-1")
	c.expect("+OK\r\n", "RESTORE", "k", "1", redisDumpOf10, "ABSTTL", "REPLACE", "IDLETIME", "9")
	c.talk("> EXISTS k\n:0")
	c.expect("+OK\r\n", "RESTORE", "k", "0", redisDumpOf10, "FREQ", "255")
}

func TestRestoreRefusesWhatIsWrong(t *testing.T) {
	c := connect(t)
	c.talk("> SET k v\n+OK")
	damaged := []byte(redisDumpOf10)
	damaged[2]++
	newer := []byte(redisDumpOf10)
	newer[3] = 0xff
	for _, refusal := range []struct {
		want string
		args []string
	}{
		{"-BUSYKEY Target key name already exists.\r\n", []string{"k", "0", redisDumpOf10}},
		{"-BUSYKEY Target key name already exists.\r\n", []string{"k", "-1", "garbage"}},
		{errorDumpChecksum, []string{"new", "0", string(damaged)}},
		{errorDumpChecksum, []string{"new", "0", string(newer)}},
		{errorDumpChecksum, []string{"new", "0", redisDumpOf10[:12]}},
		{errorDumpChecksum, []string{"new", "0", ""}},
		{"-ERR Invalid TTL value, must be >= 0\r\n", []string{"new", "-1", redisDumpOf10}},
		{"-ERR value is not an integer or out of range\r\n", []string{"new", "x", redisDumpOf10}},
		{"-ERR syntax error\r\n", []string{"new", "0", redisDumpOf10, "FOO"}},
		{"-ERR syntax error\r\n", []string{"new", "0", redisDumpOf10, "IDLETIME"}},
		{"-ERR syntax error\r\n", []string{"new", "0", redisDumpOf10, "IDLETIME", "1", "FREQ", "1"}},
		{"-ERR Invalid IDLETIME value, must be >= 0\r\n", []string{"new", "0", redisDumpOf10, "IDLETIME", "-1"}},
		{"-ERR Invalid FREQ value, must be >= 0 and <= 255\r\n", []string{"new", "0", redisDumpOf10, "FREQ", "256"}},
	} {
		c.expect(refusal.want, append([]string{"RESTORE"}, refusal.args...)...)
	}
	c.talk("> GET k\n$1\nv\n> EXISTS new\n:0")
}
