package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/rs/zerolog"

	"cartwheel/cluster"
	"cartwheel/cluster/repair"
	"cartwheel/cluster/ring"
	"cartwheel/server"
	"cartwheel/store"
)

// A machine has a disk and a clock, and runs one process of Cartwheel or none.
type machine struct {
	w      *world
	name   string
	zone   string
	weight int
	clock  clock
	files  *vfs.MemFS
	copied *vfs.MemFS // of files, from earlier; nil: none
	log    bytes.Buffer

	p        *process    // that runs; nil: none
	id       ring.NodeID // of the member that its directory is, or was; zero: not known
	retired  bool        // that has left the ring or was removed: nothing runs here any more
	removing bool        // its disk is lost, and the operator is to remove it from the ring
	replaces string      // the member whose place its next process takes; "": nobody's
}

// A process is one life of a node.
type process struct {
	m      *machine
	host   *host
	disk   *disk
	stage  *stage
	cancel context.CancelFunc
	up     chan struct{} // closed when the node has started
	ended  chan struct{} // closed when everything of it has ended

	c   *cluster.Coordinator // known when up is closed
	err error                // known when ended is closed: why it did not start, or what went wrong
}

func (m *machine) peerAddress() string   { return m.name + peerPort }
func (m *machine) clientAddress() string { return m.name + clientPort }

// up says whether a node runs here and has started.
func (m *machine) up() bool {
	if m.p == nil {
		return false
	}
	select {
	case <-m.p.up:
		return true
	default:
		return false
	}
}

// start starts a process, which joins the others where its directory is empty.
func (m *machine) start() {
	w := m.w
	join := w.addresses(m)
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{m: m, host: w.net.newHost(m.name), disk: newDisk(m.files, w.plan.syncTakes, w.rand.Uint64()), stage: &stage{files: m.files}, cancel: cancel, up: make(chan struct{}), ended: make(chan struct{})}
	m.p = p
	log := zerolog.New(&logWriter{m})
	opts := cluster.Options{
		Store: store.Options{
			Dir: "data", FS: p.disk, MapFile: p.stage.mapFile, Now: m.clock.now, Sync: w.plan.sync, MemoryBytes: memoryBytes, LogBytes: logBytes,
			DiskReserveBytes: 1 << 20, HintBytesMax: w.plan.hintBytes, Partitions: w.plan.partitions, Log: log,
		},
		SyncOne:    w.plan.syncOne,
		PeerListen: m.peerAddress(),
		Self:       ring.Member{Peer: m.peerAddress(), Client: m.clientAddress(), Zone: m.zone, Weight: m.weight},
		Join:       join, Replace: m.replaces, Replicas: w.plan.replicas, Network: p.host,
		Repair: repair.Options{
			ExchangeInterval: w.plan.exchange, StabilityInterval: w.plan.stability, DropGrace: 2 * time.Second,
			FilledWait: 50 * time.Millisecond,
		},
	}
	go p.run(ctx, opts)
}

// run is a process, from its start to its end.
func (p *process) run(ctx context.Context, opts cluster.Options) {
	defer close(p.ended)
	c, err := cluster.Start(ctx, opts)
	if err != nil {
		p.err = err
		return
	}
	srv := server.New(server.Options{Keys: c, Open: true, MemoryBytes: memoryBytes, Log: opts.Store.Log})
	c.Serve(srv.Executor())
	listener, err := p.host.Listen(p.m.clientAddress())
	if err == nil {
		var serving sync.WaitGroup
		serving.Go(func() { _ = srv.ServeOn(listener) }) // which returns nil
		p.c = c
		close(p.up)
		<-ctx.Done()
		stopping, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		err = srv.Shutdown(stopping)
		serving.Wait()
	}
	p.err = errors.Join(err, c.Close())
}

// kill ends the process at once: nothing that it does from here on has any effect.
func (m *machine) kill(silent bool, left func(*vfs.MemFS) *vfs.MemFS) {
	p := m.p
	m.files = left(m.onDisk()) // the process goes on with the file system that was
	m.p = nil
	p.host.die(silent)
	p.end()
}

// stop ends the process by the book.
func (m *machine) stop() {
	p := m.p
	p.end()
	m.onDisk()
	m.p = nil
	p.host.die(false)
	m.unlock()
}

// unlock gives back what a process that has ended had locked: where its store was
// broken, it did not do that itself.
func (m *machine) unlock() { m.files = afterKill(m.files, m.w.rand) }

func (p *process) end() {
	p.cancel()
	<-p.ended
}

// logWriter takes what a node logs.
type logWriter struct{ m *machine }

func (l *logWriter) Write(b []byte) (int, error) {
	fmt.Fprintf(&l.m.log, "%v %s", time.Since(l.m.w.began).Round(time.Microsecond), b)
	if l.m.log.Len() > loggedBytesMax {
		l.m.log.Next(l.m.log.Len() / 2)
	}
	return len(b), nil
}

const loggedBytesMax = 1 << 20
