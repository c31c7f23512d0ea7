package proc

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// Ports are taken below the range from which the kernel picks the ports of outgoing connections
// (32768 and up on Linux). Otherwise a client that redials a server that is down can be given that
// very port, and then talks to itself or keeps the server from coming back.
const (
	portMin = 10240
	portMax = 32767
)

// handedOut keeps a port for this process as long as it lives, whether a server is up on it or not:
// of one file that all processes like this one share, it locks the byte whose offset is the port.
// `go test ./...` runs several of them at once.
var handedOut struct {
	sync.Mutex // guards what follows
	ports      map[int]bool
	file       *os.File // open for ever: closing it would unlock all
}

// FreePort returns a TCP port of 127.0.0.1 that nobody listens on, never the same one twice, and
// never one that another process got here and may listen on later.
func FreePort() (int, error) {
	handedOut.Lock()
	defer handedOut.Unlock()
	if handedOut.file == nil {
		file, err := os.OpenFile(filepath.Join(os.TempDir(), "cartwheel-ports-"+strconv.Itoa(os.Getuid())), os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return 0, fmt.Errorf("sharing ports with other processes: %w", err)
		}
		handedOut.file, handedOut.ports = file, map[int]bool{}
	}
	for range 1000 {
		port := portMin + rand.IntN(portMax-portMin+1)
		if handedOut.ports[port] {
			continue
		}
		ours := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart, Start: int64(port), Len: 1}
		if err := unix.FcntlFlock(handedOut.file.Fd(), unix.F_SETLK, &ours); errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
			continue
		} else if err != nil {
			return 0, fmt.Errorf("locking port %d against other processes: %w", port, err)
		}
		handedOut.ports[port] = true
		listener, err := net.Listen("tcp", loopback(port))
		if err != nil {
			continue
		}
		if err := listener.Close(); err != nil {
			return 0, fmt.Errorf("releasing port %d: %w", port, err)
		}
		return port, nil
	}
	return 0, errors.New("no free port on 127.0.0.1")
}

const localhost = "127.0.0.1"

func loopback(port int) string { return net.JoinHostPort(localhost, strconv.Itoa(port)) }
