package wire

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
)

// The messages of a handshake, see there.

const messageHeadSize = 1 + 4

var errProof = errors.New("a proof of the cluster secret is wrong")

// send sends a message with its proof.
func (h *handshake) send(kind byte, body []byte) error {
	return h.sendMessage(kind, body, h.prove(h.role, messageHead(kind, len(body)), body))
}

func (h *handshake) sendMessage(kind byte, body, proof []byte) error {
	message := messageHead(kind, len(body))
	message = append(message, body...)
	_, err := h.conn.Write(append(message, proof...))
	return err
}

// receive takes a message of that kind, of at most bodyMax bytes and with the
// right proof. For a refusal it returns a *RefusedError.
func (h *handshake) receive(kind byte, bodyMax int) (body []byte, err error) {
	var head [messageHeadSize]byte
	if _, err := io.ReadFull(h.conn, head[:]); err != nil {
		return nil, err
	}
	if head[0] == kindRefusal {
		bodyMax = reasonBytesMax
	} else if head[0] != kind {
		return nil, errMessage
	}
	size := binary.BigEndian.Uint32(head[1:])
	if uint64(size) > uint64(bodyMax) {
		return nil, errMessage
	}
	message := make([]byte, int(size)+proofSize)
	if _, err := io.ReadFull(h.conn, message); err != nil {
		return nil, err
	}
	body, proof := message[:size], message[size:]
	right := hmac.Equal(proof, h.prove(h.peerRole, head[:], body))
	switch {
	case head[0] == kindRefusal && right:
		return nil, &RefusedError{Reason: printable(string(body)), ByPeer: true}
	case head[0] == kindRefusal:
		return nil, &RefusedError{Reason: bareReason, ByPeer: true}
	case !right:
		return nil, errProof
	}
	return body, nil
}

func messageHead(kind byte, bodyBytes int) []byte {
	return binary.BigEndian.AppendUint32([]byte{kind}, uint32(bodyBytes))
}

// prove adds a message to the transcript and returns the proof that goes with
// it, of whoever has that role.
func (h *handshake) prove(role string, head, body []byte) []byte {
	h.transcript.Write(head)
	h.transcript.Write(body)
	mac := hmac.New(sha256.New, h.identity.Secret)
	mac.Write([]byte(role))
	mac.Write(h.transcript.Sum(nil))
	return mac.Sum(nil)
}
