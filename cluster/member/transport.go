package member

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/hashicorp/memberlist"
)

// dialTimeoutMax bounds a dial, whatever memberlist allows it.
const dialTimeoutMax = 2 * time.Second

// A transport is memberlist's part of a Port, and ends without it.
type transport struct {
	port      *Port
	advertise netip.AddrPort
	ctx       context.Context
	cancel    context.CancelFunc
	dialed    *lot
}

var _ memberlist.NodeAwareTransport = (*transport)(nil)

func newTransport(port *Port, advertise netip.AddrPort) *transport {
	ctx, cancel := context.WithCancel(context.Background())
	port.gossiping.Store(true)
	return &transport{port: port, advertise: advertise, ctx: ctx, cancel: cancel, dialed: newLot(streamsMax)}
}

func (t *transport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return t.advertise.Addr().AsSlice(), int(t.advertise.Port()), nil
}

func (t *transport) WriteTo(b []byte, address string) (time.Time, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return time.Time{}, fmt.Errorf("sending a packet: %w", err)
	}
	_, err = t.port.opts.Packets.WriteTo(b, net.UDPAddrFromAddrPort(to))
	return time.Now(), err
}

func (t *transport) DialTimeout(address string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(t.ctx, min(timeout, dialTimeoutMax))
	defer cancel()
	conn, err := t.port.opts.Dial(ctx, address)
	if err != nil {
		return nil, err
	}
	// memberlist sets its own deadline only after the first write.
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		conn.Close()
		return nil, err
	}
	return t.dialed.keep(conn), nil
}

func (t *transport) WriteToAddress(b []byte, to memberlist.Address) (time.Time, error) {
	return t.WriteTo(b, to.Addr)
}

func (t *transport) DialAddressTimeout(to memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return t.DialTimeout(to.Addr, timeout)
}

func (t *transport) PacketCh() <-chan *memberlist.Packet { return t.port.packets }
func (t *transport) StreamCh() <-chan net.Conn           { return t.port.streams }

// Shutdown ends all gossip over the port, which goes on for the peer stream.
func (t *transport) Shutdown() error {
	t.port.gossiping.Store(false)
	t.cancel()
	t.dialed.closeAll()
	t.port.gossips.closeEach()
	drain(t.port.streams)
	return nil
}
