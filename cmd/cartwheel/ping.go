package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"time"
)

type pingCommand struct {
	Addr    string        `help:"Address of the node." default:"127.0.0.1:6379" placeholder:"HOST:PORT"`
	Timeout time.Duration `help:"How long to wait." default:"3s"`
	tlsFlags
}

// Run succeeds if the node answers PING, with or without asking for a password.
func (p *pingCommand) Run() error {
	config, err := p.config(p.Addr)
	if err != nil {
		return err
	}
	dialer := &net.Dialer{Timeout: p.Timeout}
	conn, err := dialer.Dial("tcp", p.Addr)
	if err != nil {
		return err
	}
	if config != nil {
		conn = tls.Client(conn, config)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(p.Timeout)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return err
	}
	reply, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return fmt.Errorf("no reply: %w", err)
	}
	reply = strings.TrimSpace(reply)
	if reply != "+PONG" && !strings.HasPrefix(reply, "-NOAUTH") {
		return fmt.Errorf("unexpected reply %q", reply)
	}
	return nil
}
