package member

import (
	"bytes"
	"fmt"
	"maps"
	"strings"
	"sync"

	"cartwheel/cluster/ring"
)

// KnownStorage keeps the addresses of peers over restarts, replaced as a whole.
type KnownStorage interface {
	LoadKnown() ([]byte, error) // nil where nothing was saved
	SaveKnown([]byte) error
}

// known is where each peer was seen last. Its form is text: a line a peer, of its
// id and its address.
type known struct {
	mu    sync.Mutex // guards what follows; held over KnownStorage
	peers map[ring.NodeID]string
	saved []byte
}

func (k *known) load(from KnownStorage) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.peers = make(map[ring.NodeID]string)
	if from == nil {
		return nil
	}
	form, err := from.LoadKnown()
	if err != nil {
		return fmt.Errorf("loading the addresses of peers: %w", err)
	}
	k.saved = form
	for line := range strings.Lines(string(form)) {
		name, address, _ := strings.Cut(strings.TrimSpace(line), " ")
		var id ring.NodeID
		if id.UnmarshalText([]byte(name)) == nil && address != "" && len(k.peers) < nodesMax {
			k.peers[id] = address
		}
	}
	return nil
}

// save takes over what gossip knows, forgets who is neither alive nor a member,
// and saves what has changed.
func (k *known) save(to KnownStorage, nodes []Node, current *ring.Document) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, node := range nodes {
		if node.Contact.Peer != "" && len(k.peers) < nodesMax {
			k.peers[node.ID] = node.Contact.Peer
		}
		if _, member := memberIn(current, node.ID); !member && !node.Alive && current != nil {
			delete(k.peers, node.ID)
		}
	}
	if to == nil {
		return nil
	}
	form := k.form()
	if bytes.Equal(form, k.saved) {
		return nil
	}
	if err := to.SaveKnown(form); err != nil {
		return err
	}
	k.saved = form
	return nil
}

func memberIn(d *ring.Document, id ring.NodeID) (ring.Member, bool) {
	if d == nil {
		return ring.Member{}, false
	}
	return d.Member(id)
}

func (k *known) form() []byte {
	var form []byte
	for _, id := range sortedIDs(maps.Keys(k.peers)) {
		form = fmt.Appendf(form, "%s %s\n", id, k.peers[id])
	}
	return form
}

// all returns a copy.
func (k *known) all() map[ring.NodeID]string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return maps.Clone(k.peers)
}
