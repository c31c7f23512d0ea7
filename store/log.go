package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"cartwheel/cluster/sabotage"
)

// A commitLog is where commits are durable before Pebble has them. It is segments,
// files that are written one after the other. A segment begins with a header:
//
//  1. checksum, 8 bytes: of the segment's number and what follows
//  2. the number of the segment before, and where it ended, 8 bytes each
//  3. its place, 8 bytes: how many bytes of the log are before it
//  4. its seed, 8 bytes: a random number
//
// and goes on with records, one a commit:
//
//  1. checksum, 8 bytes: of the segment's number and seed, where in it the record is, the length and the form
//  2. length of the form, 4 bytes
//  3. the form of the rows (logform.go)
//
// Numbers are big-endian. A segment ends at the first record that is not sound: what
// was written last may be torn, and behind it is what an earlier segment left in the
// file, if it is one that is used again. A file that need not grow is synced in half
// the time. A segment that does not go on where the one before ended is not
// replayed, nor is what comes after it: a power cut may lose the end of what was not
// synced and keep what was written after it.
//
// SyncAlways: append returns when the record is on the disk. SyncEverysec: when the
// operating system has it; sync, called once a second, does the rest. SyncNo: the
// same without sync. Where there is a stage, the operating system has a record when it is
// there, and drain writes it to its segment.
type commitLog struct {
	fs        vfs.FS
	dir       string
	mode      SyncMode
	extendsBy int           // bytes
	byZeros   bool          // it is extended by zeros, which has its blocks found: for who syncs often
	stage     *stage        // nil: what is appended is written at once
	full      chan struct{} // has one when the stage is to be drained

	// Guarded by commitMu.
	current *segment
	buf     []byte

	// Places in all of the log.
	head atomic.Uint64 // behind what was appended; commitMu guards its changes
	tail atomic.Uint64 // behind what is written to segments; writing guards its changes

	syncing sync.Mutex // held over syncs, and by who closes segments; before writing

	writing sync.Mutex // held over writes to segments
	torn    error      // why there can be no more; guarded by writing

	mu    sync.Mutex // guards what follows; innermost
	live  []*segment // by rising number, the current one last
	ready *segment   // the next one, which is to begin; nil: there is none yet
	spare string     // a file that may be used again; "": none
}

// A segment is one file of the log.
type segment struct {
	number uint64
	name   string
	file   vfs.File
	place  uint64       // in all of the log, that it begins at
	seed   uint64       // of its records' checksums
	bytes  int64        // with what is in the stage; commitMu guards it
	extent atomic.Int64 // of the file; commitLog.writing guards its changes
	dirty  atomic.Bool  // written since it was synced

	// Guarded by commitLog.syncing.
	reserved int64 // blocks are found up to there
	seen     int64 // the extent when reserve saw it last
}

const (
	logDir           = "log"
	logSegmentHeader = 8 + 8 + 8 + 8 + 8
	logRecordHeader  = 8 + 4
	logSparePrefix   = "spare-"
	logFileSuffix    = ".log"
	extendBytesMax   = 1 << 20
	reserveTimes     = 4 // what has been written since the last time
	reserveBytesMax  = 64 << 20
	// logBufferBytesMax is how much memory for the forming of records is kept.
	logBufferBytesMax = 1 << 20

	logCategory vfs.DiskWriteCategory = "commit-log"
)

var errLogClosed = errors.New("the commit log is closed")

// A logPosition is a place in the log: behind the commits before it.
type logPosition struct {
	segment uint64
	offset  int64
}

func (p logPosition) reaches(other logPosition) bool {
	return p.segment > other.segment || p.segment == other.segment && p.offset >= other.offset
}

func (p logPosition) encode() []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, p.segment), uint64(p.offset))
}

func (l *commitLog) position() logPosition { return logPosition{l.current.number, l.current.bytes} }

func logFileName(number uint64) string { return fmt.Sprintf("%016x%s", number, logFileSuffix) }

// append writes a commit. The caller holds commitMu. After an error the log must not
// be written to any more: it may end in a torn record.
func (l *commitLog) append(rows *rowBatch) (err error) {
	if l.stage != nil {
		defer l.stage.caught(debug.SetPanicOnFault(true), &err)
	}
	room := l.room()
	buf := rows.encode(append(room, make([]byte, logRecordHeader)...))
	inPlace := l.stage != nil && cap(room) > 0 && &buf[0] == &room[:1][0] // else it did not fit
	if l.stage == nil && len(buf) <= logBufferBytesMax {
		l.buf = buf
	}
	form := buf[logRecordHeader:]
	if uint64(len(form)) > 1<<32-1 {
		return fmt.Errorf("a commit of %d bytes", len(form))
	}
	binary.BigEndian.PutUint32(buf[8:], uint32(len(form)))
	binary.BigEndian.PutUint64(buf, l.current.checksum(l.current.bytes, buf[8:])) // last: before that nothing is committed
	if err := l.put(buf, inPlace); err != nil {
		return fmt.Errorf("write the commit log: %w", err)
	}
	if l.mode != SyncAlways || sabotage.On(sabotage.AckUnsynced) {
		return nil
	}
	if err := l.current.file.SyncData(); err != nil {
		return fmt.Errorf("sync the commit log: %w", err)
	}
	l.current.dirty.Store(false)
	return nil
}

var extension [extendBytesMax]byte // zeros

// extend sees to it that what is written next does not make the file longer, where the
// file is synced: its length, and where its blocks are, would have to be written too, and
// others that write wait for that. In place it is the bytes alone. Where it is not synced
// often, it is left to reserve to find blocks: to write them twice would cost more, and
// commits would wait some milliseconds for each extension. The caller holds writing.
func (l *commitLog) extend(g *segment, by int) error {
	if l.mode == SyncNo || int64(l.tail.Load()-g.place)+int64(by) <= g.extent.Load() {
		return nil
	}
	extent := g.extent.Load() + int64(max(l.extendsBy, by))
	zeros := extension[:1]
	if l.byZeros {
		zeros = extension[:l.extendsBy]
		if by > len(zeros) {
			zeros = make([]byte, by)
		}
	}
	if _, err := g.file.WriteAt(zeros, extent-int64(len(zeros))); err != nil {
		return err
	}
	g.extent.Store(extent)
	return nil
}

// reserve has the file system find blocks, of so many bytes at most, for what is going
// to be written, if it goes on as it has since the last call, and not beyond the
// segment's usual end. Else it finds them while it syncs, and keeps who writes waiting.
func (l *commitLog) reserve(bytesMax, segmentBytes int64) {
	l.syncing.Lock()
	defer l.syncing.Unlock()
	l.mu.Lock()
	live := l.live
	l.mu.Unlock()
	if len(live) == 0 || l.byZeros { // it is closed, or has them found already
		return
	}
	g := live[len(live)-1]
	extent := g.extent.Load()
	from := max(g.reserved, extent)
	to := min(extent+min(reserveTimes*(extent-g.seen), reserveBytesMax, bytesMax), segmentBytes)
	g.seen = extent
	if to <= from {
		return
	}
	if err := g.file.Preallocate(from, to-from); err == nil { // it is only sooner than else
		g.reserved = to
	}
}

// checksum is of a record at a place in the segment, without what it begins with.
func (g *segment) checksum(at int64, b []byte) uint64 {
	return mix(mix(g.number^g.seed, uint64(at)), xxhash.Sum64(b))
}

// headerChecksum is the same of the header.
func (g *segment) headerChecksum(b []byte) uint64 { return mix(g.number^0x6c6f67, xxhash.Sum64(b)) }

// sync makes durable what has been appended, older segments first: no later commit is
// ever durable before an earlier one. What cannot be written is made durable where it is.
func (l *commitLog) sync() error {
	l.syncing.Lock()
	defer l.syncing.Unlock()
	l.mu.Lock()
	live := slices.Clone(l.live) // all but the last will have all that is theirs
	l.mu.Unlock()
	torn := l.drain()
	if torn != nil && l.stage != nil {
		torn = errors.Join(torn, l.stage.Sync())
	}
	if torn != nil {
		torn = fmt.Errorf("write the commit log: %w", torn)
	}
	for _, g := range live {
		if !g.dirty.Swap(false) {
			continue
		}
		if err := g.file.SyncData(); err != nil {
			g.dirty.Store(true) // or the next would say that it is done
			return errors.Join(torn, fmt.Errorf("sync the commit log: %w", err))
		}
	}
	return torn
}

// close writes what is in the stage, makes it durable where sync would have, and closes all files.
func (l *commitLog) close() (err error) {
	if l.mode == SyncNo {
		err = l.drain()
	} else {
		err = l.sync()
	}
	l.syncing.Lock()
	defer l.syncing.Unlock()
	l.writing.Lock()
	defer l.writing.Unlock()
	if l.stage != nil {
		err = errors.Join(err, l.stage.Unmap())
		l.stage = nil
	}
	l.torn = errLogClosed
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, g := range l.live {
		err = errors.Join(err, g.file.Close())
	}
	if l.ready != nil {
		err = errors.Join(err, l.ready.file.Close())
	}
	l.live, l.ready = nil, nil
	return err
}

// A replayed is what openLog found.
type replayed struct {
	gap   bool  // some segments were left out
	stray int64 // bytes before a record that is sound behind one that is not; 0: none was seen
}

// openLog opens the log below a directory, and calls visit with the rows of each
// commit in it behind a position, in order, and with where it ends; visit keeps them.
// What it found it leaves, as segments to be retired, and it begins a new one.
func openLog(fs vfs.FS, parent string, mode SyncMode, from logPosition, visit func(*rowBatch, logPosition) error) (*commitLog, replayed, error) {
	l := &commitLog{fs: fs, dir: fs.PathJoin(parent, logDir), mode: mode, extendsBy: extendBytesMax, full: make(chan struct{}, 1)}
	if err := makeDir(fs, l.dir); err != nil {
		return nil, replayed{}, fmt.Errorf("make the directory of the commit log: %w", err)
	}
	numbers, last, err := l.list()
	if err != nil {
		return nil, replayed{}, err
	}
	held, err := readStage(fs, l.stageName())
	if err != nil {
		return nil, replayed{}, fmt.Errorf("read the commit log's stage: %w", err)
	}
	l.current = &segment{}
	found, left, err := l.replay(numbers, held, from, visit)
	if err == nil {
		l.head.Store(l.current.end())
		l.tail.Store(l.current.end())
		err = l.rotateTo(max(last, from.segment) + 1) // before files go, or their numbers could be used again
	}
	for i := len(left) - 1; i >= 0 && err == nil; i-- {
		if err = errors.Join(left[i].file.Close(), fs.Remove(left[i].name), syncDir(fs, l.dir)); err != nil {
			err = fmt.Errorf("remove a segment of the commit log: %w", err)
		}
	}
	if err != nil {
		return nil, found, errors.Join(err, l.close())
	}
	return l, found, nil
}

// replay reads the segments, and what the last process has left for them in its stage; nil:
// it had none. It returns those that are behind a gap, which are not live.
func (l *commitLog) replay(numbers []uint64, held *stage, from logPosition, visit func(*rowBatch, logPosition) error) (found replayed, left []*segment, err error) {
	for i, number := range numbers {
		g := &segment{number: number, name: l.fs.PathJoin(l.dir, logFileName(number)), place: l.current.end()}
		g.dirty.Store(true) // it may have been killed, and not synced
		if g.file, err = l.fs.Open(g.name); err != nil {
			return found, left, fmt.Errorf("read the commit log %s: %w", g.name, err)
		}
		before, begun := g.before(held)
		found.gap = found.gap || i > 0 && begun && !l.goesOn(before, from)
		if found.gap {
			left = append(left, g)
			continue
		}
		l.live = append(l.live, g)
		if !begun {
			l.current = g
			continue
		}
		stray, err := g.read(held, from, visit)
		if err != nil {
			return found, left, fmt.Errorf("read the commit log %s: %w", g.name, err)
		}
		found.stray = max(found.stray, stray)
		l.current = g
	}
	return found, left, nil
}

// goesOn says whether a segment goes on where the one before ended, or Pebble has what
// is missing between.
func (l *commitLog) goesOn(before, from logPosition) bool {
	return before.segment == l.current.number && l.position().reaches(before) || from.reaches(before)
}

// end is the place behind it.
func (g *segment) end() uint64 { return g.place + uint64(g.bytes) }

// before reads the header, and notes the segment's place and seed. Where none is sound it was only just
// begun.
func (g *segment) before(held *stage) (p logPosition, begun bool) {
	header := make([]byte, logSegmentHeader)
	if n, err := g.file.ReadAt(header, 0); n < len(header) && err != nil || binary.BigEndian.Uint64(header) != g.headerChecksum(header[8:]) {
		if header = g.stagedHeader(held); header == nil {
			return p, false
		}
	}
	g.place, g.seed = binary.BigEndian.Uint64(header[24:]), binary.BigEndian.Uint64(header[32:])
	return logPosition{binary.BigEndian.Uint64(header[8:]), int64(binary.BigEndian.Uint64(header[16:]))}, true
}

// list returns the numbers of the segments, in order, and the last number that any
// file has had: one that is used twice would let what a spare file holds pass for
// the new segment's. It takes note of a spare file.
func (l *commitLog) list() (numbers []uint64, last uint64, err error) {
	names, err := l.fs.List(l.dir)
	if err != nil {
		return nil, 0, fmt.Errorf("list the commit log: %w", err)
	}
	for _, name := range names {
		digits, spare := strings.CutPrefix(name, logSparePrefix)
		digits, is := strings.CutSuffix(digits, logFileSuffix)
		number, err := strconv.ParseUint(digits, 16, 64)
		if !is || err != nil {
			continue
		}
		last = max(last, number)
		if spare {
			l.spare = l.fs.PathJoin(l.dir, name)
		} else {
			numbers = append(numbers, number)
		}
	}
	slices.Sort(numbers)
	return numbers, last, nil
}

// read calls visit with what a segment holds behind a position, and what the stage holds for it.
func (g *segment) read(held *stage, from logPosition, visit func(*rowBatch, logPosition) error) (stray int64, err error) {
	info, err := g.file.Stat()
	if err != nil {
		return 0, err
	}
	for g.bytes = logSegmentHeader; ; {
		form, err := g.record(g.bytes, info.Size())
		if err != nil {
			return 0, err
		}
		if form == nil {
			form = g.stagedForm(held, g.bytes)
		}
		if form == nil {
			return g.stray(info.Size())
		}
		g.bytes += logRecordHeader + int64(len(form))
		if from.reaches(logPosition{g.number, g.bytes}) {
			continue
		}
		rows := &rowBatch{}
		if err := rows.decode(form); err != nil {
			return 0, err
		}
		if err := visit(rows, logPosition{g.number, g.bytes}); err != nil {
			return 0, err
		}
	}
}

// How far behind the end of a segment stray looks, and for how large a record.
const (
	strayBytesMax  = 1 << 20
	strayRecordMax = 64 << 10
)

// stray looks for a sound record behind the end of the segment: there is one where what
// was written before it went bad, or was not synced when the power was cut.
func (g *segment) stray(size int64) (bytes int64, err error) {
	if size <= g.bytes {
		return 0, nil
	}
	b := make([]byte, min(size-g.bytes, strayBytesMax))
	n, err := g.file.ReadAt(b, g.bytes)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	b = b[:n]
	for at := 1; at+logRecordHeader < len(b); at++ {
		end := uint64(at+logRecordHeader) + uint64(binary.BigEndian.Uint32(b[at+8:]))
		if end > uint64(min(at+strayRecordMax, len(b))) || end == uint64(at+logRecordHeader) {
			continue
		}
		if g.checksum(g.bytes+int64(at), b[at+8:end]) == binary.BigEndian.Uint64(b[at:]) {
			return int64(at), nil
		}
	}
	return 0, nil
}

// record returns the form at a place, nil where there is no sound record.
func (g *segment) record(at, size int64) ([]byte, error) {
	var header [logRecordHeader]byte
	if size-at < logRecordHeader {
		return nil, nil
	}
	if _, err := g.file.ReadAt(header[:], at); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	n := int64(binary.BigEndian.Uint32(header[8:]))
	if n == 0 || n > size-at-logRecordHeader {
		return nil, nil
	}
	b := make([]byte, 4+n)
	if _, err := g.file.ReadAt(b, at+8); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if g.checksum(at, b) != binary.BigEndian.Uint64(header[:]) {
		return nil, nil
	}
	return b[4:], nil
}
