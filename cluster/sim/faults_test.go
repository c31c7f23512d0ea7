package sim

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"cartwheel/cluster/ring"
	"cartwheel/store"
)

// A fault is something that happens to the machines, to what is between them or to the
// ring. It reports false where it cannot happen now.
type fault struct {
	name   string
	weight int
	happen func(*world) bool
}

var faults = []fault{
	{"cut", 12, (*world).cutOneWay},
	{"cut off", 6, (*world).cutOff},
	{"halves", 4, (*world).halves},
	{"heal", 12, func(w *world) bool { w.net.heal(); return true }},
	{"break", 8, func(w *world) bool { w.net.breakSome(w.rand, 1+w.rand.IntN(6)); return true }},
	{"kill", 10, (*world).kill},
	{"stop", 4, (*world).stop},
	{"start", 20, (*world).start},
	{"lose", 6, (*world).lose},
	{"clock", 5, (*world).setClock},
	{"disk slow", 4, (*world).slowDisk},
	{"disk full", 3, (*world).fillDisk},
	{"disk fails", 2, (*world).failDisk},
	{"copy", 4, (*world).copyFiles},
	{"join", 4, (*world).join},
	{"leave", 4, (*world).leave},
	{"weight", 3, (*world).weigh},
}

// trouble lets faults happen for so long.
func (w *world) trouble(lasting time.Duration) {
	total := 0
	for _, f := range faults {
		total += f.weight
	}
	for end := w.since() + lasting; w.since() < end; {
		w.pause(w.plan.paced(time.Duration(w.rand.Int64N(int64(1200 * time.Millisecond)))))
		dice := w.rand.IntN(total)
		for _, f := range faults {
			if dice -= f.weight; dice < 0 {
				if f.happen(w) {
					w.trace.note(f.name)
				}
				break
			}
		}
	}
}

// some returns one of the machines of which that holds; nil: there is none.
func (w *world) some(holds func(*machine) bool) *machine {
	var all []*machine
	for _, m := range w.machines {
		if !m.retired && !m.removing && holds(m) {
			all = append(all, m)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all[w.rand.IntN(len(all))]
}

func running(m *machine) bool { return m.p != nil }
func isUp(m *machine) bool    { return m.up() }
func isDown(m *machine) bool  { return m.p == nil }

func (w *world) cutOneWay() bool {
	a, b := w.some(running), w.some(running)
	if a == nil || a == b {
		return false
	}
	w.note("what %s sends to %s is cut off", a.name, b.name)
	w.net.setApart(a.name, b.name, true)
	return true
}

func (w *world) cutOff() bool {
	a := w.some(running)
	if a == nil {
		return false
	}
	both := w.rand.IntN(3) > 0
	w.note("%s is cut off, both ways: %v", a.name, both)
	for _, b := range w.machines {
		if a != b {
			w.net.setApart(a.name, b.name, true)
			w.net.setApart(b.name, a.name, both)
		}
	}
	return true
}

func (w *world) halves() bool {
	side := map[string]bool{}
	for _, m := range w.machines {
		side[m.name] = w.rand.IntN(2) == 0
	}
	w.note("halves: %v", side)
	for _, a := range w.machines {
		for _, b := range w.machines {
			w.net.setApart(a.name, b.name, side[a.name] != side[b.name])
		}
	}
	return true
}

// kill kills a process, or its whole machine where that loses nothing that was
// acknowledged.
func (w *world) kill() bool {
	m := w.some(running)
	if m == nil {
		return false
	}
	silent := w.rand.IntN(3) == 0
	left := func(fs *vfs.MemFS) *vfs.MemFS { return afterKill(fs, w.rand) }
	if w.plan.sync == store.SyncAlways && w.rand.IntN(2) == 0 {
		left = func(fs *vfs.MemFS) *vfs.MemFS { return afterPowerCut(fs, w.rand) }
	}
	w.note("%s is killed, silently: %v", m.name, silent)
	m.kill(silent, left)
	return true
}

func (w *world) stop() bool {
	m := w.some(isUp)
	if m == nil {
		return false
	}
	w.note("%s is stopped", m.name)
	m.stop()
	return true
}

func (w *world) start() bool {
	m := w.some(isDown)
	if m == nil {
		return false
	}
	w.note("%s is started", m.name)
	m.start()
	return true
}

// lose has a machine lose what it has acknowledged: of late, since a copy was made of
// its directory, or all. It is the only one of its round.
func (w *world) lose() bool {
	if w.budget.losses == 0 {
		return false
	}
	m := w.some(isUp)
	if m == nil {
		return false
	}
	switch {
	case w.budget.rollback && m.copied != nil:
		w.note("%s comes back with an old copy of its directory", m.name)
		m.kill(w.rand.IntN(2) == 0, func(*vfs.MemFS) *vfs.MemFS { return afterKill(m.copied, w.rand) })
	case w.budget.rollback:
		return false
	case w.rand.IntN(2) == 0:
		w.note("%s loses its power, and what is not on its disk", m.name)
		m.kill(true, func(fs *vfs.MemFS) *vfs.MemFS { return afterPowerCut(fs, w.rand) })
	default:
		m.id = m.p.c.NodeID()
		if member, is := w.document().Member(m.id); !is || member.State != ring.Active {
			return false
		}
		if m.removing = w.mayRemove() && w.rand.IntN(2) == 0; m.removing {
			w.note("%s loses its disk, and is to be removed", m.name)
			w.change("REMOVE", m.id.String())
		} else {
			w.note("%s loses its disk, and is to be replaced", m.name)
			m.replaces = m.id.String()
		}
		m.kill(true, func(*vfs.MemFS) *vfs.MemFS { return vfs.NewCrashableMem() })
		m.copied = nil // it is of a node that will be no member any more
	}
	w.budget.losses--
	return true
}

// copyFiles makes a copy of a directory, which may be put back some time. As long as
// its process runs, it is as if it had been killed then.
func (w *world) copyFiles() bool {
	m := w.some(isUp)
	if m == nil {
		return false
	}
	w.note("a copy is made of the directory of %s", m.name)
	m.copied = afterKill(m.onDisk(), w.rand)
	return true
}

func (w *world) setClock() bool {
	m := w.some(func(*machine) bool { return true })
	ahead := w.skew()
	if w.plan.badClocks && w.rand.IntN(2) == 0 {
		ahead = time.Duration(w.rand.IntN(40)-20) * time.Second
	}
	w.note("the clock of %s is %v ahead", m.name, ahead)
	m.clock.set(ahead, w.drift())
	return true
}

func (w *world) slowDisk() bool {
	m := w.some(isUp)
	if m == nil {
		return false
	}
	slow := !m.p.disk.slow.Load()
	w.note("the disk of %s is slow: %v", m.name, slow)
	m.p.disk.slow.Store(slow)
	return true
}

func (w *world) fillDisk() bool {
	m := w.some(isUp)
	if m == nil {
		return false
	}
	full := !m.p.disk.full.Load()
	w.note("the disk of %s is full: %v", m.name, full)
	m.p.disk.full.Store(full)
	return true
}

// failDisk makes what a node writes fail until it is started again.
func (w *world) failDisk() bool {
	m := w.some(isUp)
	if m == nil {
		return false
	}
	w.note("the disk of %s fails", m.name)
	m.p.disk.failing.Store(true)
	return true
}

// membersMax bounds the ring.
const membersMax = 6

// change has the operator change the ring, while the faults go on.
func (w *world) change(words ...string) {
	w.operating.Store(true)
	go func() {
		defer w.operating.Store(false)
		w.operate(append([]string{"RING", "APPLY"}, words...)...)
	}()
}

// mayChange says whether an operator changes the ring now.
func (w *world) mayChange() bool { return !w.budget.rollback && !w.operating.Load() }

func (w *world) join() bool {
	staying := 0
	for _, m := range w.machines {
		if !m.retired {
			staying++
		}
	}
	if staying >= membersMax || !w.mayChange() {
		return false
	}
	m := w.addMachine()
	w.note("%s joins", m.name)
	m.start()
	return true
}

func (w *world) leave() bool {
	if !w.mayRemove() {
		return false
	}
	staying := active(w.document())
	w.change("LEAVE", staying[w.rand.IntN(len(staying))].ID.String())
	return true
}

// mayRemove says whether the ring may become smaller now.
func (w *world) mayRemove() bool {
	d := w.document()
	return d != nil && w.mayChange() && len(active(d)) > w.plan.replicas
}

func active(d *ring.Document) []ring.Member {
	return slices.DeleteFunc(slices.Clone(d.Members), func(m ring.Member) bool { return m.State != ring.Active })
}

func (w *world) weigh() bool {
	d := w.document()
	if d == nil || !w.mayChange() {
		return false
	}
	w.change("WEIGHT", d.Members[w.rand.IntN(len(d.Members))].ID.String(), strconv.Itoa(1+w.rand.IntN(4)))
	return true
}

// mend undoes all faults.
func (w *world) mend() {
	w.note("all is mended")
	w.net.heal()
	w.net.setCalm(true)
	for _, m := range w.machines {
		m.clock.set(w.skew(), w.drift())
		if m.p != nil {
			m.p.disk.full.Store(false)
			m.p.disk.slow.Store(false)
			if m.p.disk.failing.Load() {
				m.kill(false, func(fs *vfs.MemFS) *vfs.MemFS { return afterKill(fs, w.rand) })
			}
		}
		if m.p == nil && !m.retired && !m.removing {
			m.start()
		}
	}
	w.trace.note(fmt.Sprint("mended, of round ", w.round))
}
