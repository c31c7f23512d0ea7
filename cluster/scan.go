package cluster

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"slices"
	"sync"

	"cartwheel/cluster/quorum"
	"cartwheel/cluster/ring"
	"cartwheel/cluster/wire"
	"cartwheel/store"
	"cartwheel/store/version"
)

// A scan of the cluster goes from run to run: as many partitions one behind the
// other as not too many nodes own. All live nodes of a run send a page each of what they have
// of it, and the pages are merged as far as the shortest reaches.
const (
	runNodesMax      = 16
	pageKeysFirst    = 64
	pageKeysMax      = 4096
	pageBytesMax     = 256 << 10
	scanHeaderBytes  = 1 + 8 + 8 + 4
	scanEntryMinimum = 8 + 1 + 1
)

// A page is what one node has of a range of tokens.
type page struct {
	last    ring.Token // the page has all up to there
	entries []scanned
}

// A scanned is a key with its object, without payloads; a nil object is corrupt.
type scanned struct {
	token  ring.Token
	key    []byte
	object *version.Object
}

func (c *Coordinator) scanAll(db uint8, from ring.Token, visit func(t ring.Token, key []byte, o *version.Object) bool) error {
	keys := pageKeysFirst
	for {
		v := c.view.Load()
		nodes, last := v.run(from, up)
		if !v.quorumOf(nodes, from, last) {
			nodes, last = v.run(from, reachable)
		}
		pages := c.pages(v, nodes, db, from, last, keys)
		for n, p := range pages {
			if p != nil {
				last = min(last, p.last)
			} else {
				nodes = slices.DeleteFunc(nodes, func(one *peer) bool { return one == n })
			}
		}
		if !v.quorumOf(nodes, from, last) {
			return quorum.ErrNoReplicas
		}
		for _, e := range mergePages(pages, last) {
			if !visit(e.token, e.key, e.object) {
				return nil
			}
		}
		if last == ^ring.Token(0) {
			return nil
		}
		from = last + 1
		keys = min(2*keys, pageKeysMax)
	}
}

// run returns the nodes of some, nil for this one, that own the partitions from a
// token on, and the last token that their partitions reach to.
func (v *view) run(from ring.Token, of func(*peer) bool) (nodes []*peer, last ring.Token) {
	first := v.ring.PartitionOf(from.Slot())
	for p := first; int(p) < len(v.places); p++ {
		more := slices.Clone(nodes)
		for i, n := range v.places[p].nodes {
			if v.places[p].owners.Has(i) && of(n) && !slices.Contains(more, n) {
				more = append(more, n)
			}
		}
		if p > first && len(more) > runNodesMax {
			break
		}
		nodes = more
		_, last = p.Span(len(v.places))
	}
	return nodes, last
}

// quorumOf reports that the nodes are a quorum of the owners of every partition of
// the tokens.
func (v *view) quorumOf(nodes []*peer, first, last ring.Token) bool {
	for p := v.ring.PartitionOf(first.Slot()); p <= v.ring.PartitionOf(last.Slot()); p++ {
		pl := &v.places[p]
		have := 0
		for i, n := range pl.nodes {
			if pl.owners.Has(i) && slices.Contains(nodes, n) {
				have++
			}
		}
		if have < quorum.Majority(pl.owners.Len()) {
			return false
		}
	}
	return true
}

// pages asks all nodes at once. The page of one that does not answer is nil.
func (c *Coordinator) pages(v *view, nodes []*peer, db uint8, from, last ring.Token, keys int) map[*peer]*page {
	ask := append(make([]byte, 0, scanHeaderBytes), db)
	ask = binary.BigEndian.AppendUint64(ask, uint64(from))
	ask = binary.BigEndian.AppendUint64(ask, uint64(last))
	ask = binary.BigEndian.AppendUint32(ask, uint32(keys))
	pages := make(map[*peer]*page, len(nodes))
	var mu sync.Mutex
	var asking sync.WaitGroup
	for _, n := range nodes {
		asking.Go(func() {
			var got *page
			var text []byte
			var err error
			if n == nil {
				text, err = c.servePage(v, ask)
			} else {
				text, err = c.call(context.Background(), n, wire.Small, opScan, v.epoch, ask)
			}
			if err == nil {
				got, err = parsePage(text)
			}
			if err == nil && got.last < from {
				err = errMessage
			}
			if err != nil {
				got = nil
			}
			if err != nil {
				c.log.Debug().Err(err).Msg("a node sends no page of keys")
			}
			mu.Lock()
			defer mu.Unlock()
			pages[n] = got
		})
	}
	asking.Wait()
	return pages
}

// servePage returns the page that a node asks for, of the partitions that this
// one owns:
//
//	last token 8, then for each key: token 8, key, object without payloads
func (c *Coordinator) servePage(v *view, ask []byte) ([]byte, error) {
	if len(ask) != scanHeaderBytes || ask[0] >= databases {
		return nil, errMessage
	}
	db := ask[0]
	from := ring.Token(binary.BigEndian.Uint64(ask[1:]))
	last := ring.Token(binary.BigEndian.Uint64(ask[9:]))
	keys := min(int(binary.BigEndian.Uint32(ask[17:])), pageKeysMax)
	if from > last {
		return nil, errMessage
	}
	text := binary.BigEndian.AppendUint64(nil, uint64(last))
	var at ring.Token
	n := 0
	var bare version.Object
	err := c.store.Scan(from, last, func(k store.Key, o *version.Object) bool {
		if k.DB != db || !v.places[v.ring.PartitionOf(k.Token.Slot())].holds() {
			return true
		}
		if (n >= keys || len(text) > pageBytesMax) && k.Token != at {
			binary.BigEndian.PutUint64(text, uint64(at))
			return false
		}
		n, at = n+1, k.Token
		text = binary.BigEndian.AppendUint64(text, uint64(k.Token))
		text = appendBytes(text, k.User)
		if o == nil {
			text = append(text, 0)
			return true
		}
		bare.Type, bare.Clock, bare.Siblings = o.Type, o.Clock, append(bare.Siblings[:0], o.Siblings...)
		for i := range bare.Siblings {
			bare.Siblings[i].Payload = nil
		}
		text = appendBytes(text, version.AppendObject(nil, &bare))
		return true
	})
	return text, err
}

func appendBytes(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

// parsePage reads what servePage wrote. It aliases b.
func parsePage(b []byte) (*page, error) {
	if len(b) < 8 {
		return nil, errMessage
	}
	p := &page{last: ring.Token(binary.BigEndian.Uint64(b))}
	for b = b[8:]; len(b) > 0; {
		if len(b) < scanEntryMinimum {
			return nil, errMessage
		}
		e := scanned{token: ring.Token(binary.BigEndian.Uint64(b))}
		var text []byte
		var ok bool
		if e.key, b, ok = cutBytes(b[8:]); !ok {
			return nil, errMessage
		}
		if text, b, ok = cutBytes(b); !ok {
			return nil, errMessage
		}
		if len(text) > 0 {
			e.object = &version.Object{}
			if err := e.object.Decode(text); err != nil {
				return nil, err
			}
		}
		p.entries = append(p.entries, e)
	}
	return p, nil
}

// mergePages returns the keys of all pages up to a token, in the order of tokens.
func mergePages(pages map[*peer]*page, last ring.Token) []scanned {
	var all []scanned
	for _, p := range pages {
		if p == nil {
			continue
		}
		for _, e := range p.entries {
			if e.token <= last {
				all = append(all, e)
			}
		}
	}
	slices.SortFunc(all, func(a, b scanned) int {
		if c := cmp.Compare(a.token, b.token); c != 0 {
			return c
		}
		return bytes.Compare(a.key, b.key)
	})
	merged := all[:0]
	for _, e := range all {
		if n := len(merged); n > 0 && merged[n-1].token == e.token && bytes.Equal(merged[n-1].key, e.key) {
			have := merged[n-1].object
			if have == nil {
				merged[n-1].object = e.object
			} else if e.object != nil {
				have.MergeIn(e.object)
			}
			continue
		}
		merged = append(merged, e)
	}
	return merged
}
