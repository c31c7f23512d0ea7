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
	TLS     bool          `help:"Speak TLS; the certificate is not checked."`
	Timeout time.Duration `help:"How long to wait." default:"3s"`
}

// Run succeeds if the node answers PING, with or without asking for a password.
func (p *pingCommand) Run() error {
	dialer := &net.Dialer{Timeout: p.Timeout}
	conn, err := dialer.Dial("tcp", p.Addr)
	if err != nil {
		return err
	}
	if p.TLS {
		// A health check asks whether the server answers, not who it is.
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
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
