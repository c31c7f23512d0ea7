package member

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/hashicorp/memberlist"

	"cartwheel/cluster/ring"
)

// A Contact is what a node says of itself by gossip.
type Contact struct {
	Peer    string // host:port that peers dial
	Client  string // host:port announced to clients, or ""
	Cluster string // host:port announced to cluster-aware clients, or ""
	Run     uint64 // random, of this process
	Epoch   uint64 // of its ring document, 0 for none
}

// The form of a contact in memberlist's metadata of a node. Integers are big
// endian.
//
//  1. version, 1 byte: 1
//  2. cluster id, 16 bytes; run, 8 bytes; epoch, 8 bytes
//  3. peer, client and cluster address: each its length, 1 byte, and text
const (
	contactVersion     = 1
	contactHeaderBytes = 1 + len(ring.ClusterID{}) + 8 + 8
)

var errContact = errors.New("malformed contact")

// form returns the contact's form, or an error if it is longer than gossip can
// carry.
func (c Contact) form(cluster ring.ClusterID) ([]byte, error) {
	b := append([]byte{contactVersion}, cluster[:]...)
	b = binary.BigEndian.AppendUint64(b, c.Run)
	b = binary.BigEndian.AppendUint64(b, c.Epoch)
	for _, address := range []string{c.Peer, c.Client, c.Cluster} {
		if len(address) > 255 {
			return nil, fmt.Errorf("the address %.40q... is too long", address)
		}
		b = append(b, byte(len(address)))
		b = append(b, address...)
	}
	if len(b) > memberlist.MetaMaxSize {
		return nil, fmt.Errorf("the addresses %q, %q and %q are too long together", c.Peer, c.Client, c.Cluster)
	}
	return b, nil
}

func decodeContact(b []byte) (cluster ring.ClusterID, c Contact, err error) {
	switch {
	case len(b) < contactHeaderBytes:
		return cluster, c, fmt.Errorf("%w: %d bytes", errContact, len(b))
	case b[0] != contactVersion:
		return cluster, c, fmt.Errorf("%w: version %d is unknown", errContact, b[0])
	}
	rest := b[1:]
	rest = rest[copy(cluster[:], rest):]
	c.Run, c.Epoch = binary.BigEndian.Uint64(rest), binary.BigEndian.Uint64(rest[8:])
	rest = rest[16:]
	for _, address := range []*string{&c.Peer, &c.Client, &c.Cluster} {
		if len(rest) == 0 || len(rest) < 1+int(rest[0]) {
			return cluster, Contact{}, fmt.Errorf("%w: it is cut short", errContact)
		}
		*address = string(rest[1 : 1+rest[0]])
		rest = rest[1+rest[0]:]
	}
	if len(rest) > 0 {
		return cluster, Contact{}, fmt.Errorf("%w: %d bytes too many", errContact, len(rest))
	}
	return cluster, c, nil
}
