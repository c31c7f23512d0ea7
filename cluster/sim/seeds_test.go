package sim

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"
)

var (
	seedFlag     = flag.Uint64("sim.seed", 0, "replay this seed")
	seedsFlag    = flag.Int("sim.seeds", 0, "run this many fresh seeds, and only these")
	parallelFlag = flag.Int("sim.parallel", 2, "run so many seeds at once, each on one processor")
	binaryFlag   = flag.String("sim.binary", "", "only build what runs the seeds, and leave it in this directory")
)

// A regression is a seed that has found something.
type regression struct {
	seed  uint64
	found string
}

// Each has found something when it was added. What it does changes with the code.
var regressions = []regression{
	{2, "A node that was owed a repair of a partition that had moved away exchanged without a pause."},
	{5, "What a node with a failing disk refused was taken for not done, though another had been asked before and had not answered."},
	{12, "Where no owner was up and there was no room for hints, the answer was ERR and not NOREPLICAS."},
	{14, "A FLUSHDB whose mark one node could not write was answered by ERR, as if nothing had been done."},
	{20, "A read that could not be sent to an owner that was up tried to for ever."},
	{65, "A client of a node that had just left the ring was told so by ERR and not by NOREPLICAS."},
	{97, "A node that was being filled took what it lacked for superseded, and so superseded it everywhere."},
	{116999578, "A SET that had been run twice, since the first node was slow, came back over a newer one."},
	{421585045, "What a flush had left of an object was not swept: its expiry row was of what the flush hid."},
	{1097937905, "A dead node that was leaving was not removed: the simulator's operator did not try."},
	{3404990308, "A strict read by owners of the ring before missed what those of the next had taken."},
	{1653062767, "A hint for a node that had left, which came late, stayed for ever."},
	{1538427461, "The simulator held a node that had dropped a partition for its owner: to look at a slow disk takes time."},
	{3457385551, "An exchange that somebody waited for was tried again without a pause with a node whose disk was full: 12 million messages."},
}

// What is run each time.
const fixedSeeds, freshSeeds = 30, 10

// TestSeeds runs seeds. Any of them can be replayed.
func TestSeeds(t *testing.T) {
	if *oneFlag != 0 {
		return // this process is for that seed
	}
	if *binaryFlag != "" {
		if _, err := build(*binaryFlag); err != nil {
			t.Fatal(err)
		}
		return
	}
	binary, err := build(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	queue := make(chan uint64)
	var running sync.WaitGroup
	for range *parallelFlag {
		running.Go(func() {
			for seed := range queue {
				if said, err := runSeed(binary, seed); err != nil {
					t.Errorf("%s\nto replay it: go run ./bench sim --seed %d --out DIRECTORY", said, seed)
				} else {
					t.Log(said)
				}
			}
		})
	}
	for _, seed := range chosenSeeds(t) {
		queue <- seed
	}
	close(queue)
	running.Wait()
}

func chosenSeeds(t *testing.T) (seeds []uint64) {
	switch {
	case *seedFlag != 0:
		return []uint64{*seedFlag}
	case *seedsFlag == 0:
		for _, r := range regressions {
			t.Logf("seed %d: %s", r.seed, r.found)
			seeds = append(seeds, r.seed)
		}
		for i := range fixedSeeds {
			seeds = append(seeds, uint64(i+1))
		}
	}
	for range max(*seedsFlag, freshSeeds) {
		seeds = append(seeds, uint64(rand.Uint32()))
	}
	return seeds
}

// oneProcessor is what has a process do the same each time, as far as the environment can.
var oneProcessor = []string{"GOMAXPROCS=1", "GODEBUG=asyncpreemptoff=1", "GOTRACEBACK=all"}

// runSeed runs one seed in a process of its own.
func runSeed(binary string, seed uint64) (said string, err error) {
	cmd := exec.Command(binary, "-test.run", "^TestOne$", "-test.timeout", "10m", "-sim.one", fmt.Sprint(seed))
	if *seedFlag != 0 {
		cmd.Args = append(cmd.Args, "-sim.out", *outFlag)
	}
	cmd.Env = append(os.Environ(), oneProcessor...)
	var b bytes.Buffer
	cmd.Stdout, cmd.Stderr = &b, &b
	began := time.Now()
	err = cmd.Run()
	return fmt.Sprintf("%s(in %v)", b.String(), time.Since(began).Round(time.Millisecond)), err
}
