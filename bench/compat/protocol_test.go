package compat

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// rawCase is what a client sends, byte for byte.
type rawCase struct{ name, input string }

const unquotedPing = "*1\r\n$4\r\nPING\r\n"

// cutOff are inputs that Redis answers with an error, closing the connection.
var cutOff = []rawCase{
	{"multibulk length is not a number", "*abc\r\n"},
	{"multibulk length of nothing but a minus", "*-\r\n"},
	{"multibulk length of spaces", "* 1\r\n"},
	{"multibulk length with a sign", "*+1\r\n"},
	{"multibulk length empty", "*\r\n"},
	{"multibulk length beyond 32 bits", "*2147483648\r\n"},
	{"multibulk length, the greatest integer", "*9223372036854775807\r\n"},
	{"multibulk length beyond 64 bits", "*9223372036854775808\r\n"},
	{"multibulk length with a trailing space", "*1 \r\n"},
	{"multibulk line that never ends", "*" + strings.Repeat("1", 65<<10)},
	{"bulk length is not a number", "*1\r\n$abc\r\n"},
	{"bulk length negative", "*1\r\n$-1\r\n"},
	{"bulk length least", "*1\r\n$-9223372036854775808\r\n"},
	{"bulk length, the greatest integer", "*1\r\n$9223372036854775807\r\n"},
	{"bulk length over the limit by one", "*1\r\n$536870913\r\n"},
	{"bulk length of 2 GB", "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2147483648\r\n"},
	{"bulk length empty", "*1\r\n$\r\n"},
	{"bulk length with a sign", "*1\r\n$+4\r\n"},
	{"bulk line that never ends", "*1\r\n$" + strings.Repeat("1", 65<<10)},
	{"a letter for the dollar", "*1\r\nx4\r\n"},
	{"an end of line for the dollar", "*1\r\n\r\n"},
	{"a high byte for the dollar", "*1\r\n\xff\r\n"},
	{"multibulk length with a leading zero", "*01\r\n"},
	{"bulk length with a leading zero", "*1\r\n$04\r\n"},
	{"an array in an array", "*1\r\n*1\r\n"},
	{"commands before it are answered", unquotedPing + "PING\r\n*2\r\n$4\r\nECHO\r\n$1\r\nx\r\n*1\r\n!1\r\n"},
	{"inline that never ends", strings.Repeat("x", 65<<10)},
	{"inline of an open double quote", "SET key \"value\r\n"},
	{"inline of an open single quote", "SET key 'value\r\n"},
	{"inline of a quote that does not end the word", "SET key \"value\"x\r\n"},
	{"inline of a single quote that does not end the word", "SET key 'value'x\r\n"},
	{"inline of an escaped end", "SET key \"value\\\r\n"},
}

// TestProtocolErrorsEndTheConnection wants Redis's words, and then the end of the connection.
func TestProtocolErrorsEndTheConnection(t *testing.T) {
	redis, subject := startRedis(t, settings{}), startSubject(t, settings{})
	for _, c := range cutOff {
		t.Run(c.name, func(t *testing.T) {
			want, err := answerToEnd(redis.Addr, c.input)
			if err != nil {
				t.Fatal("redis: ", err)
			}
			got, err := answerToEnd(subject.Addr, c.input)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("input %s\nredis      %q\ncartwheel  %q %v", shorten(fmt.Sprintf("%q", c.input)), want, got, err)
			}
		})
	}
}

// answerToEnd sends input and returns what comes until the server closes. It is an error if the
// server keeps the connection open.
func answerToEnd(addr, input string) ([]byte, error) {
	c, err := dial(addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(replyTimeout)); err != nil {
		return nil, err
	}
	if _, err := io.WriteString(c, input); err != nil && !isReset(err) {
		return nil, err
	}
	answer, err := io.ReadAll(c)
	if err != nil && !isReset(err) {
		return answer, err
	}
	return answer, nil
}

// isReset tells whether the other side is gone. A server that closes with input unread resets.
func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed)
}

// goesOn are inputs after which the connection goes on.
var goesOn = []rawCase{
	{"empty array", "*0\r\n"},
	{"null array", "*-1\r\n"},
	{"negative array", "*-7\r\n"},
	{"empty line", "\r\n"},
	{"bare newlines", "\n\n\n"},
	{"line of spaces", "   \r\n"},
	{"inline", "PING\r\n"},
	{"inline with a bare newline", "PING\n"},
	{"inline with spaces and tabs", "  ECHO \t hello  \r\n"},
	{"inline with double quotes", "ECHO \"a b\\tc\\x41\\n\\\"\\\\\\q\"\r\n"},
	{"inline with single quotes", "ECHO 'a \\' \\n \\x41 \"'\r\n"},
	{"inline with an empty word", "ECHO \"\"\r\n"},
	{"inline with a bad hexadecimal escape", "ECHO \"\\xzz\\x4\"\r\n"},
	{"inline with a quote in the middle", "ECHO a\"b c\"\r\n"},
	{"inline with binary", "ECHO \xff\xfe\x01\r\n"},
	{"inline with a carriage return inside", "ECHO a\rb\r\n"},
	{"inline, two commands in a packet", "PING\r\nECHO x\n"},
	{"inline between arrays", unquotedPing + "ECHO x\r\n" + unquotedPing},
	{"inline unknown command", "NOSUCH a b\r\n"},
	{"bulk that is not ended by CR LF", "*1\r\n$4\r\nPINGxx"},
	{"command with an empty name", "*1\r\n$0\r\n\r\n"},
	{"empty argument", "*2\r\n$4\r\nECHO\r\n$0\r\n\r\n"},
	{"argument with line ends", "*2\r\n$4\r\nECHO\r\n$6\r\n\r\n*1\r\n\r\n"},
	{"pipeline", strings.Repeat(unquotedPing, 1000)},
	{"unknown command that would break the reply's line", "*2\r\n$5\r\na\r\nb\r\r\n$3\r\nx\ny\r\n"},
	{"unknown command, longest name and arguments shown", string(encode(strings.Repeat("n", 300), strings.Repeat("a", 100), strings.Repeat("b", 100), "c"))},
	{"inline of 60 KB", "ECHO " + strings.Repeat("x", 60<<10) + "\r\n"},
	{"http that is not a POST or Host", "GET / HTTP/1.1\r\n"},
}

// sentinel asks for a bulk that no other answer holds.
const sentinel = "the sentinel"

// TestOddInputIsAnsweredAsRedisDoes wants the same bytes, and the connection to go on.
func TestOddInputIsAnsweredAsRedisDoes(t *testing.T) {
	redis, subject := startRedis(t, settings{}), startSubject(t, settings{})
	for _, c := range goesOn {
		t.Run(c.name, func(t *testing.T) {
			want, err := answerToSentinel(redis.Addr, chunksOf(c.input, len(c.input)))
			if err != nil {
				t.Fatal("redis: ", err)
			}
			got, err := answerToSentinel(subject.Addr, chunksOf(c.input, len(c.input)))
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("input %s\nredis      %s\ncartwheel  %s %v", shorten(fmt.Sprintf("%q", c.input)), shorten(fmt.Sprintf("%q", want)), shorten(fmt.Sprintf("%q", got)), err)
			}
		})
	}
}

// answerToSentinel sends the chunks one by one, asks for the sentinel, and returns all that came before it.
func answerToSentinel(addr string, chunks []string) ([]byte, error) {
	c, err := dial(addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(replyTimeout)); err != nil {
		return nil, err
	}
	go func() { // ends with the connection; the reader sees what goes wrong
		for _, chunk := range append(chunks, string(encode("ECHO", sentinel))) {
			if _, err := io.WriteString(c, chunk); err != nil {
				return
			}
		}
	}()
	var answer []byte
	for {
		r, err := readReply(c.in)
		if r.text == sentinel {
			return answer, nil
		}
		answer = append(answer, r.raw...)
		if err != nil {
			return answer, err
		}
	}
}

// chunksOf cuts a text into pieces of a size.
func chunksOf(text string, size int) []string {
	var chunks []string
	for len(text) > size {
		chunks, text = append(chunks, text[:size]), text[size:]
	}
	return append(chunks, text)
}

// TestPipelineCutAnywhereIsAnsweredTheSame sends one pipeline in pieces that end at random places.
func TestPipelineCutAnywhereIsAnsweredTheSame(t *testing.T) {
	redis, subject := startRedis(t, settings{}), startSubject(t, settings{})
	var b bytes.Buffer
	b.Write(encode("FLUSHALL"))
	for i := range 40 {
		key := fmt.Sprintf("key%d", i%7)
		b.Write(encode("SET", key, strings.Repeat("v\r\n*", i)))
		b.WriteString("GET " + key + "\r\n\n")
		b.Write(encode("APPEND", key, "$3\r\n"))
		b.Write(encode("MGET", key, "none", "key1"))
		b.WriteString("*0\r\n")
		b.Write(encode("GET"))
	}
	pipeline := b.String()
	want, err := answerToSentinel(redis.Addr, []string{pipeline})
	if err != nil {
		t.Fatal(err)
	}
	r := random(t)
	for range 60 {
		var chunks []string
		rest, longest := pipeline, 1+r.IntN(400)
		for rest != "" {
			n := min(len(rest), 1+r.IntN(longest))
			chunks, rest = append(chunks, rest[:n]), rest[n:]
		}
		got, err := answerToSentinel(subject.Addr, chunks)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("in %d pieces: %v\n%s\nwant\n%s", len(chunks), err, shorten(fmt.Sprintf("%q", got)), shorten(fmt.Sprintf("%q", want)))
		}
	}
}

// closed fails the test unless the server ends the connection without another byte.
func (c *conn) closed(t testing.TB) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(replyTimeout))
	b, err := c.in.ReadByte()
	if err == nil {
		t.Fatalf("a byte %q where the connection should end", b)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("the connection stays open")
	}
}
