package sim

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"

	"cartwheel/cluster/sabotage"
)

const (
	// bugSeedsMax is within how many seeds a flaw must be seen.
	bugSeedsMax = 10
	// soundSeeds is how many seeds of each story nodes without a flaw are run with, after
	// those that its flaw took.
	soundSeeds = 3
)

// TestBugs tells each story with nodes that have its flaw, until that is seen by the checker
// that must see it, and the same seeds and some more with nodes that have none, where
// nothing may be seen.
func TestBugs(t *testing.T) {
	if *oneFlag != 0 {
		t.Skip("this process is for one seed")
	}
	if raceDetected() {
		t.Skip("who is broken on purpose is broken without races too")
	}
	binary, err := build(t.TempDir(), "-tags", "sabotage")
	if err != nil {
		t.Fatal(err)
	}
	seen := make([]int, len(stories))
	each(len(stories), func(i int) {
		s := &stories[i]
		if seen[i] = s.seen(t, binary); seen[i] == 0 {
			t.Errorf("%s is not seen within %d seeds", s.flaw, bugSeedsMax)
			seen[i] = bugSeedsMax
		}
		for seed := 1; seed <= seen[i]+soundSeeds; seed++ {
			if said, err := runStory(binary, s, seed, ""); err != nil {
				t.Errorf("the story of %s breaks a promise without its flaw, with seed %d:\n%s", s.flaw, seed, said)
			}
		}
	})
	for i := range stories {
		t.Logf("%s: seen with seed %d", stories[i].flaw, seen[i])
	}
}

// each calls do for each number below n, two at a time.
func each(n int, do func(i int)) {
	next := make(chan int)
	var running sync.WaitGroup
	for range *parallelFlag {
		running.Go(func() {
			for i := range next {
				do(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	running.Wait()
}

// seen returns the first seed with which the flaw is seen, by the checker that must; 0: none.
func (s *story) seen(t *testing.T, binary string) int {
	for seed := 1; seed <= bugSeedsMax; seed++ {
		said, err := runStory(binary, s, seed, s.flaw)
		if err == nil {
			continue
		}
		for line := range strings.Lines(said) {
			if strings.Contains(line, " "+s.by) && strings.Contains(line, s.says) {
				return seed
			}
		}
		t.Logf("%s, seed %d, is seen otherwise than by %q:\n%s", s.flaw, seed, s.by, said)
	}
	return 0
}

// runStory tells a story in a process of its own, whose nodes have a flaw or none.
func runStory(binary string, s *story, seed int, flaw sabotage.Flaw) (said string, err error) {
	cmd := exec.Command(binary, "-test.run", "^TestOne$", "-test.timeout", "2m", "-sim.one", fmt.Sprint(seed), "-sim.story", string(s.flaw))
	cmd.Env = append(os.Environ(), append(slices.Clone(oneProcessor), sabotage.Variable+"="+string(flaw))...)
	b, err := cmd.CombinedOutput()
	return string(b), err
}

func raceDetected() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.ContainsFunc(info.Settings, func(s debug.BuildSetting) bool { return s.Key == "-race" && s.Value == "true" })
}

// TestTheTableOfBugsIsTrue: BUGS.md has a row for each story, and every flaw that there is
// has a story here or is among those that bench/faults finds.
func TestTheTableOfBugsIsTrue(t *testing.T) {
	table, err := os.ReadFile("BUGS.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for line := range strings.Lines(string(table)) {
		if strings.HasPrefix(line, "| `") {
			rows++
		}
	}
	if rows != len(stories) {
		t.Errorf("BUGS.md has %d rows, and there are %d stories", rows, len(stories))
	}
	for i := range stories {
		if row := stories[i].row(); !strings.Contains(string(table), row) {
			t.Errorf("BUGS.md has no row\n%s", row)
		}
	}
	tour, err := os.ReadFile(filepath.Join("..", "..", "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, flaw := range sabotage.Flaws() {
		if storyOf(string(flaw)) == nil && !strings.Contains(string(tour), fmt.Sprintf("| `%s` |", flaw)) {
			t.Errorf("nothing is said to find %s", flaw)
		}
	}
}

func (s *story) row() string {
	return fmt.Sprintf("| `%s` | %s | %s: %s | %d |", s.flaw, s.needs, s.by, s.says, s.seeds)
}
