package wire

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"time"
)

// The handshake, D being who dialed and L who listens. They take turns, so that
// neither reads into the frames behind it.
//
//	D, L  hail     magic, version, nonce
//	D, L  proof    nothing but a proof
//	D, L  hello    who it is; L's with what it has seen of D
//	D     seen     what it has seen of L, and its clock
//	L     welcome
//
// All from the proofs on are messages: kind (1), length of the body (4), body,
// proof (32). A proof is the HMAC-SHA256, under the cluster secret, of the
// sender's role and of the digest of all that either side has sent so far,
// nonces and this message included. So it is good for this place in this
// handshake only, and neither side can be shown its own. Who dialed goes first:
// a stranger that dials gets nothing to guess the secret by.
//
// In place of any message either side may send a refusal with a reason. To one
// that has not proved the secret the reason is the word "refused", without a
// proof; and a reason without a proof is not believed.
type handshake struct {
	conn       net.Conn
	identity   *Identity
	role       string // this side's
	peerRole   string
	transcript hash.Hash // of what either side has sent, proofs excepted
	version    byte      // the peer's
}

const (
	hailMagic = "WIRE" // no memberlist message begins with 'W'
	nonceSize = 32
	hailSize  = len(hailMagic) + 1 + nonceSize
	proofSize = sha256.Size

	roleDialer   = "cartwheel peer that dialed"
	roleListener = "cartwheel peer that listens"
)

const (
	kindProof = iota + 1
	kindHello
	kindSeen
	kindWelcome
	kindRefusal
)

const bareReason = "refused"

var (
	errNotAPeer = errors.New("what came is no handshake of a peer")
	errMessage  = errors.New("malformed handshake message")
)

// shakeHandsDialing shakes hands for the side that dialed. The connection is of
// no use after an error, which is a *RefusedError where either side refused.
func shakeHandsDialing(conn net.Conn, id *Identity, lane Lane, frameBytesMax int, nowMS func() int64) (*Hello, error) {
	h := handshake{conn: conn, identity: id, role: roleDialer, peerRole: roleListener, transcript: sha256.New()}
	if err := h.begin(); err != nil {
		return nil, err
	}
	if err := h.sendHail(); err != nil {
		return nil, err
	}
	if err := h.receiveHail(); err != nil {
		return nil, err
	}
	if err := h.send(kindProof, nil); err != nil {
		return nil, err
	}
	if err := h.receiveProof(); err != nil {
		return nil, err
	}
	if err := h.sendHello(Hello{Lane: lane, FrameBytesMax: frameBytesMax}); err != nil {
		return nil, err
	}
	peer, err := h.receiveHello()
	if err != nil {
		return nil, err
	}
	if err := h.accept(peer); err != nil {
		return nil, err
	}
	seen := binary.BigEndian.AppendUint64(nil, h.seen(peer))
	seen = binary.BigEndian.AppendUint64(seen, uint64(nowMS()))
	if err := h.send(kindSeen, seen); err != nil {
		return nil, err
	}
	if _, err := h.receive(kindWelcome, 0); err != nil {
		return nil, err
	}
	return peer, h.end()
}

// shakeHandsListening shakes hands for the side that was dialed. frameBytesMax
// is by lane. It returns the dialer's clock too.
func shakeHandsListening(conn net.Conn, id *Identity, frameBytesMax *[LaneCount]int) (peer *Hello, clockMS uint64, err error) {
	h := handshake{conn: conn, identity: id, role: roleListener, peerRole: roleDialer, transcript: sha256.New()}
	if err := h.begin(); err != nil {
		return nil, 0, err
	}
	if err := h.receiveHail(); err != nil {
		return nil, 0, err
	}
	if err := h.sendHail(); err != nil {
		return nil, 0, err
	}
	if err := h.receiveProof(); err != nil {
		return nil, 0, err
	}
	if err := h.send(kindProof, nil); err != nil {
		return nil, 0, err
	}
	peer, err = h.receiveHello()
	if err != nil {
		return nil, 0, err
	}
	own := Hello{Lane: peer.Lane, FrameBytesMax: frameBytesMax[peer.Lane], SeenHLC: h.seen(peer)}
	if err := h.sendHello(own); err != nil {
		return nil, 0, err
	}
	seen, err := h.receive(kindSeen, 16)
	if err != nil {
		return nil, 0, err
	}
	fields := FieldsOf(seen)
	peer.SeenHLC, clockMS = fields.Uint64(), fields.Uint64()
	if fields.Err() != nil {
		return nil, 0, errMessage
	}
	if err := h.accept(peer); err != nil {
		return nil, 0, err
	}
	if err := h.send(kindWelcome, nil); err != nil {
		return nil, 0, err
	}
	return peer, clockMS, h.end()
}

func (h *handshake) begin() error { return h.conn.SetDeadline(time.Now().Add(handshakeTimeout)) }
func (h *handshake) end() error   { return h.conn.SetDeadline(time.Time{}) }

func (h *handshake) sendHail() error {
	hail := make([]byte, hailSize)
	copy(hail, hailMagic)
	hail[len(hailMagic)] = Version
	_, _ = rand.Read(hail[hailSize-nonceSize:]) // ends the process rather than fail
	h.transcript.Write(hail)
	_, err := h.conn.Write(hail)
	return err
}

func (h *handshake) receiveHail() error {
	var hail [hailSize]byte
	magic, rest := hail[:len(hailMagic)], hail[len(hailMagic):]
	// What speaks another protocol may send less than a hail, and wait.
	if _, err := io.ReadFull(h.conn, magic); err != nil {
		return err
	}
	if string(magic) != hailMagic {
		return errNotAPeer
	}
	if _, err := io.ReadFull(h.conn, rest); err != nil {
		return err
	}
	h.transcript.Write(hail[:])
	h.version = rest[0]
	return nil
}

// receiveProof takes the peer's proof of the secret, refuses one that is wrong,
// and then looks at the version.
func (h *handshake) receiveProof() error {
	_, err := h.receive(kindProof, 0)
	if errors.Is(err, errProof) {
		_ = h.sendMessage(kindRefusal, []byte(bareReason), make([]byte, proofSize))
		return &RefusedError{Reason: "wrong cluster secret", cause: err}
	}
	if err != nil {
		return err
	}
	if h.version != Version {
		return h.refuse(fmt.Errorf("protocol version %d is not %d", h.version, Version))
	}
	return nil
}

// accept asks whether the peer is welcome, and refuses it if not.
func (h *handshake) accept(peer *Hello) error {
	if h.identity.Accept == nil {
		return nil
	}
	if err := h.identity.Accept(peer); err != nil {
		return h.refuse(err)
	}
	return nil
}

// refuse tells a peer that has proved the secret why it is refused.
func (h *handshake) refuse(cause error) error {
	reason := printable(cause.Error())
	_ = h.send(kindRefusal, []byte(reason)) // it is refused whether it hears of it or not
	return &RefusedError{Reason: reason, cause: cause}
}

func (h *handshake) seen(peer *Hello) uint64 {
	if h.identity.Seen == nil {
		return 0
	}
	return h.identity.Seen(peer.Incarnation)
}

// sendHello sends the node's hello with what own says of this connection.
func (h *handshake) sendHello(own Hello) error {
	hello := h.identity.Hello()
	hello.Lane, hello.FrameBytesMax, hello.SeenHLC = own.Lane, own.FrameBytesMax, own.SeenHLC
	body, err := hello.append(nil)
	if err != nil {
		return err
	}
	return h.send(kindHello, body)
}

func (h *handshake) receiveHello() (*Hello, error) {
	body, err := h.receive(kindHello, helloBytesMax)
	if err != nil {
		return nil, err
	}
	peer, err := parseHello(body)
	if err != nil {
		return nil, h.refuse(err)
	}
	return peer, nil
}
