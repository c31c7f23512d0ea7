package member

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/rs/zerolog"
)

const (
	sniffTimeout   = 3 * time.Second // for the first byte of a connection
	sniffsMax      = 128
	peersQueuedMax = 128 // connections that wait for Accept
	streamsMax     = 64  // gossip connections in each direction
	packetsQueued  = 256
	packetBytesMax = 65536

	receiveBufferBytes = 1 << 20

	bindAttempts = 10
)

// The first byte of a connection for the peer stream: its own, or that of a TLS
// record. memberlist's are its message types, 0 to 13, and 244.
const (
	firstOfPeer = 'W'
	firstOfTLS  = 22
)

// PortOptions of a Port. Listener and Packets are required, and the Port's from
// then on.
type PortOptions struct {
	Listener net.Listener
	Packets  net.PacketConn // at the same address
	// Dial connects to another node's port. Default: a net.Dialer over TCP.
	Dial func(ctx context.Context, address string) (net.Conn, error)
	Log  zerolog.Logger
}

// A Port is the one address that a node has for other nodes: connections of the
// peer stream, told by their first byte, and gossip, over TCP and UDP.
//
//  1. Each connection accepted is sniffed in a goroutine of its own, sniffsMax of
//     them at most: one more pushes out the oldest, so that idle strangers cannot
//     keep a peer waiting.
//  2. Those of the peer stream wait for Peers().Accept, all else goes to gossip
//     while there is one. What finds no room is closed.
type Port struct {
	opts    PortOptions
	stop    chan struct{}
	once    sync.Once
	workers sync.WaitGroup

	sniffing *lot
	sniffs   chan struct{} // a token a sniffing goroutine
	peers    chan net.Conn

	gossiping atomic.Bool
	gossips   *lot
	streams   chan net.Conn
	packets   chan *memberlist.Packet
}

// ListenPort listens on an address, over TCP and UDP. Port 0 means any that is
// free for both.
func ListenPort(address string, log zerolog.Logger) (*Port, error) {
	var err error
	for range bindAttempts {
		var listener net.Listener
		if listener, err = net.Listen("tcp", address); err != nil {
			break
		}
		var packets net.PacketConn
		if packets, err = net.ListenPacket("udp", listener.Addr().String()); err == nil {
			packets.(*net.UDPConn).SetReadBuffer(receiveBufferBytes) // best effort
			return NewPort(PortOptions{Listener: listener, Packets: packets, Log: log}), nil
		}
		listener.Close()
		if _, port, _ := net.SplitHostPort(address); port != "0" {
			break
		}
	}
	return nil, fmt.Errorf("listening for peers: %w", err)
}

// NewPort returns a Port at work. Close it.
func NewPort(opts PortOptions) *Port {
	if opts.Dial == nil {
		opts.Dial = func(ctx context.Context, address string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		}
	}
	p := &Port{
		opts:     opts,
		stop:     make(chan struct{}),
		sniffing: newLot(sniffsMax),
		sniffs:   make(chan struct{}, sniffsMax),
		peers:    make(chan net.Conn, peersQueuedMax),
		gossips:  newLot(streamsMax),
		streams:  make(chan net.Conn, streamsMax),
		packets:  make(chan *memberlist.Packet, packetsQueued),
	}
	p.workers.Go(p.accept)
	p.workers.Go(p.receive)
	return p
}

// Addr returns the address that the port listens on.
func (p *Port) Addr() net.Addr { return p.opts.Listener.Addr() }

// Peers returns the listener of the peer stream. Its connections can still read
// their first byte; of a TCP listener they are *net.TCPConn. Closing it closes the
// Port.
func (p *Port) Peers() net.Listener { return peerListener{p} }

// Close stops listening, and closes what nobody has accepted yet.
func (p *Port) Close() error {
	var err error
	p.once.Do(func() {
		close(p.stop)
		err = errors.Join(p.opts.Listener.Close(), p.opts.Packets.Close())
		p.sniffing.closeAll()
		p.gossips.closeAll()
	})
	p.workers.Wait()
	drain(p.peers)
	drain(p.streams)
	return err
}

func drain(queue <-chan net.Conn) {
	for {
		select {
		case conn := <-queue:
			conn.Close()
		default:
			return
		}
	}
}

type peerListener struct{ port *Port }

func (l peerListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.port.peers:
		return conn, nil
	case <-l.port.stop:
		return nil, net.ErrClosed
	}
}

func (l peerListener) Close() error   { return l.port.Close() }
func (l peerListener) Addr() net.Addr { return l.port.Addr() }

// stopped waits a moment after an error and says whether the port is closed.
func (p *Port) stopped(pause time.Duration) bool {
	select {
	case <-p.stop:
		return true
	case <-time.After(pause):
		return false
	}
}

const errorPause = 20 * time.Millisecond

func (p *Port) accept() {
	for {
		conn, err := p.opts.Listener.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) || p.stopped(errorPause) {
				return
			}
			p.opts.Log.Warn().Err(err).Msg("accepting a peer's connection")
			continue
		}
		p.sniffing.add(conn)
		select {
		case p.sniffs <- struct{}{}:
		case <-p.stop:
			p.sniffing.remove(conn)
			conn.Close()
			return
		}
		p.workers.Go(func() {
			defer func() { <-p.sniffs }()
			p.sniff(conn)
		})
	}
}

// sniff hands a connection to whom its first byte is for.
func (p *Port) sniff(conn net.Conn) {
	conn.SetReadDeadline(time.Now().Add(sniffTimeout))
	first, sniffed, err := firstByte(conn)
	if !p.sniffing.remove(conn) || err != nil || conn.SetReadDeadline(time.Time{}) != nil {
		conn.Close()
		return
	}
	to := p.peers
	if first != firstOfPeer && first != firstOfTLS {
		if !p.gossiping.Load() {
			conn.Close()
			return
		}
		to, sniffed = p.streams, p.gossips.keep(sniffed)
	}
	select {
	case <-p.stop:
		sniffed.Close()
		return
	default:
	}
	select {
	case to <- sniffed:
	default:
		p.opts.Log.Warn().Stringer("from", conn.RemoteAddr()).Msg("a peer's connection is closed: too many wait")
		sniffed.Close()
	}
}

// receive queues packets for gossip, and drops what it has no room for: packets
// get lost anyway.
func (p *Port) receive() {
	buffer := make([]byte, packetBytesMax)
	for {
		n, from, err := p.opts.Packets.ReadFrom(buffer)
		if err != nil {
			if errors.Is(err, net.ErrClosed) || p.stopped(errorPause) {
				return
			}
			continue
		}
		if n == 0 || !p.gossiping.Load() {
			continue
		}
		packet := &memberlist.Packet{Buf: append([]byte(nil), buffer[:n]...), From: from, Timestamp: time.Now()}
		select {
		case p.packets <- packet:
		default:
		}
	}
}
