package store

import (
	"cartwheel/cluster/ring"
	"cartwheel/store/version"
)

// hintBytesMaxUnknown is the bound where the file system does not say what is
// free.
const hintBytesMaxUnknown = 512 << 20

func (s *Store) hintBytesMax() int64 {
	if s.opts.HintBytesMax != 0 {
		return s.opts.HintBytesMax
	}
	usage, err := s.fs.GetDiskUsage(s.opts.Dir)
	if err != nil {
		return hintBytesMaxUnknown
	}
	return int64(min(usage.AvailBytes/8, 1<<30))
}

// loadHints counts the hints that are there, and reads which repairs are owed.
func (s *Store) loadHints() error {
	h := &s.hints
	h.bytesMax = s.hintBytesMax()
	h.owners = make(map[ring.NodeID]*HintStat)
	h.owed = make(map[ring.NodeID]map[ring.Partition]uint64)
	var o version.Object
	err := s.scanPrefix([]byte{prefixHint}, nil, func(row, text []byte) error {
		owner, k, err := parseHintKey(row)
		if err != nil {
			return err
		}
		atMS := s.NowMS()
		if o.DecodeTrusted(text) == nil {
			atMS = o.MaxHLC().Milliseconds()
		}
		h.count(owner, 1, int64(len(row)+len(text)), atMS)
		if o.Flush(s.marks.of(k.DB)); len(o.Siblings) == 0 {
			h.reclaim.Store(true)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.scanPrefix([]byte{prefixOwed}, nil, func(row, _ []byte) error {
		owner, p, err := parseOwed(row)
		if err == nil {
			h.owe(owner, p, 0)
		}
		return err
	})
}
