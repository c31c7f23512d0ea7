package sim

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"
)

var (
	oneFlag   = flag.Uint64("sim.one", 0, "run this seed in this process, which is then good for no other")
	storyFlag = flag.String("sim.story", "", "with -sim.one: tell the story of this flaw")
	outFlag   = flag.String("sim.out", "", "a directory where a seed leaves its trace, what was done and what the nodes logged")
)

// TestOne is the simulator itself: one seed, in a process of its own, since what a process
// has done before would show. TestSeeds starts it.
func TestOne(t *testing.T) {
	if *oneFlag == 0 {
		return
	}
	debug.SetGCPercent(-1) // memory is freed by world.pause
	cryptotest.SetGlobalRandom(t, *oneFlag)
	// What is noted and logged is so in any case, or a seed that is looked at would be another.
	notes, events := io.Discard, (*bufio.Writer)(nil)
	if *outFlag != "" {
		notes, events = create(t, "notes"), bufio.NewWriterSize(create(t, "trace"), 1<<20)
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(*oneFlag, &trace{began: time.Now(), out: events}, notes)
		if s := storyOf(*storyFlag); s != nil {
			w.told(s)
		} else {
			w.run()
		}
		for _, v := range w.violations {
			fmt.Println(v)
		}
		fmt.Printf("seed %d: trace %016x, %d events, %v\n", w.seed, w.trace.hash, w.trace.count, w.since().Round(time.Second))
		if *outFlag != "" {
			w.save(t, events)
		}
		// Of a store whose disk has failed goroutines may be left, which would not end.
		if w.broken() {
			os.Exit(1)
		}
		os.Exit(0)
	})
}

// save leaves what is to be read.
func (w *world) save(t *testing.T, events *bufio.Writer) {
	if err := events.Flush(); err != nil {
		t.Error(err)
	}
	for _, m := range w.machines {
		if _, err := create(t, m.name+".log").Write(m.log.Bytes()); err != nil {
			t.Error(err)
		}
	}
}

func create(t *testing.T, name string) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(*outFlag, name))
	if err != nil {
		t.Fatal(err)
	}
	return f
}
