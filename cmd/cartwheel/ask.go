package main

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// An asked is a node that is asked over RESP.
type asked struct {
	addr     string
	password string      // "": none
	tls      *tls.Config // nil: none
	timeout  time.Duration
}

// replyBytesMax bounds what a node may answer.
const replyBytesMax = 16 << 20

// ask sends one command and returns its reply, a string of any kind.
func (a *asked) ask(args ...string) (string, error) {
	conn, err := a.dial()
	if err != nil {
		return "", err
	}
	defer conn.Close()
	replies := bufio.NewReader(conn)
	commands := [][]string{args}
	if a.password != "" {
		commands = [][]string{{"AUTH", a.password}, args}
	}
	reply := ""
	for _, command := range commands {
		if reply, err = roundTrip(conn, replies, command); err != nil {
			return "", err
		}
	}
	return reply, nil
}

func (a *asked) dial() (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: a.timeout}).Dial("tcp", a.addr)
	if err != nil {
		return nil, fmt.Errorf("nothing answers: %w", err)
	}
	if a.tls != nil {
		conn = tls.Client(conn, a.tls)
	}
	if err := conn.SetDeadline(time.Now().Add(a.timeout)); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

func roundTrip(conn net.Conn, replies *bufio.Reader, command []string) (string, error) {
	var request strings.Builder
	fmt.Fprintf(&request, "*%d\r\n", len(command))
	for _, arg := range command {
		fmt.Fprintf(&request, "$%d\r\n%s\r\n", len(arg), arg)
	}
	if _, err := io.WriteString(conn, request.String()); err != nil {
		return "", fmt.Errorf("sending %s: %w", command[0], err)
	}
	reply, err := readString(replies)
	if err != nil {
		return "", fmt.Errorf("%s: %w", command[0], err)
	}
	return reply, nil
}

// readString reads a simple or a bulk string; an error reply is an error.
func readString(replies *bufio.Reader) (string, error) {
	head, err := replies.ReadSlice('\n')
	if err != nil {
		return "", fmt.Errorf("no reply: %w", err)
	}
	line := strings.TrimRight(string(head), "\r\n")
	if line == "" {
		return "", errors.New("an empty reply")
	}
	switch kind, rest := line[0], line[1:]; kind {
	case '+':
		return rest, nil
	case '-':
		return "", errors.New(rest)
	case '$':
		length, err := strconv.Atoi(rest)
		if err != nil || length < 0 || length > replyBytesMax {
			return "", fmt.Errorf("unexpected reply %q", line)
		}
		text := make([]byte, length+len("\r\n"))
		if _, err := io.ReadFull(replies, text); err != nil {
			return "", fmt.Errorf("a reply that ends too soon: %w", err)
		}
		return string(text[:length]), nil
	}
	return "", fmt.Errorf("unexpected reply %q", line)
}
