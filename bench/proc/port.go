package proc

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// Ports are taken below the range from which the kernel picks the ports of outgoing connections
// (32768 and up on Linux). Otherwise a client that redials a server that is down can be given that
// very port, and then talks to itself or keeps the server from coming back.
const (
	portMin = 10240
	portMax = 32767
)

var handedOut struct {
	sync.Mutex // guards ports
	ports      map[int]bool
}

// FreePort returns a TCP port of 127.0.0.1 that nobody listens on, never the same one twice.
func FreePort() (int, error) {
	handedOut.Lock()
	defer handedOut.Unlock()
	if handedOut.ports == nil {
		handedOut.ports = map[int]bool{}
	}
	for range 1000 {
		port := portMin + rand.IntN(portMax-portMin+1)
		if handedOut.ports[port] {
			continue
		}
		listener, err := net.Listen("tcp", loopback(port))
		if err != nil {
			continue
		}
		if err := listener.Close(); err != nil {
			return 0, fmt.Errorf("releasing port %d: %w", port, err)
		}
		handedOut.ports[port] = true
		return port, nil
	}
	return 0, errors.New("no free port on 127.0.0.1")
}

const localhost = "127.0.0.1"

func loopback(port int) string { return net.JoinHostPort(localhost, strconv.Itoa(port)) }
