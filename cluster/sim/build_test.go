package sim

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
)

// A patch changes one place of Go's own sources.
type patch struct{ file, old, new string }

// The runtime decides some things by chance, or by how long they take: which ready case
// a select takes, where the iteration of a map begins, which of two timers of one
// instant is first, which goroutine comes next where one has run for 10 ms or waited
// for a lock for 1 ms. In the simulator, chance is a sequence that is always the same, and
// nothing takes long: so what goroutines do on one processor repeats. Of all this only
// goroutines in a bubble see something.
var patches = []patch{
	{"runtime/rand.go", `	mp := getg().m
	c := &mp.chacha8
`, `	mp := getg().m
	if gp := mp.curg; gp != nil && gp.bubble != nil {
		return simulated()
	}
	c := &mp.chacha8
`},
	{"runtime/rand.go", `func randinit() {
`, `var simulation uint64

//go:nosplit
func simulated() uint64 {
	simulation += 0xa0761d6478bd642f
	hi, lo := math.Mul64(simulation, simulation^0xe7037ed1a0b428db)
	return hi ^ lo
}

func randinit() {
	clear(startupRand)
	if len(startupRand) >= 16 {
		startupRand[0], startupRand[8] = 1, 1
	}
`},
	{"runtime/select.go", `j := cheaprandn(uint32(norder + 1))`, `j := int(rand() % uint64(norder+1))`},
	{"runtime/time.go", `t.rand = cheaprand()`, `t.rand = uint32(rand())`},
	{"runtime/proc.go", `func retake(now int64) uint32 {
`, `func retake(now int64) uint32 {
	if now != 0 {
		return 0
	}
`},
	// What the runtime does for itself, when it is time, comes behind what is ready.
	{"runtime/proc.go", `func runqput(pp *p, gp *g, next bool) {
`, `func runqput(pp *p, gp *g, next bool) {
	if gp.bubble == nil {
		next = false
	}
`},
	{"runtime/proc.go", `const randomizeScheduler = raceenabled`, `const randomizeScheduler = false`},
	// A cancelled context cancels those below it in the order of a map whose keys are
	// addresses. Here it is the order in which they came to be.
	{"context/context.go", `children map[canceler]struct{}`, `children []canceler`},
	{"context/context.go", `	if p.children != nil {
		delete(p.children, child)
	}
`, `	for i, c := range p.children {
		if c == child {
			p.children = append(p.children[:i:i], p.children[i+1:]...)
			break
		}
	}
`},
	{"context/context.go", `			if p.children == nil {
				p.children = make(map[canceler]struct{})
			}
			p.children[child] = struct{}{}
`, `			p.children = append(p.children, child)
`},
	{"context/context.go", `	for child := range c.children {
`, `	for _, child := range c.children {
`},
	// Who waits for a lock waits for whoever holds it, who may wait for time to pass.
	{"runtime/runtime2.go", `	waitReasonSyncCondWait:          true,
`, `	waitReasonSyncCondWait:          true,
	waitReasonSyncMutexLock:         true,
	waitReasonSyncRWMutexLock:       true,
	waitReasonSyncRWMutexRLock:      true,
`},
	{"internal/sync/mutex.go", `starvationThresholdNs = 1e6`, `starvationThresholdNs = 1 << 62`},
}

// overlay writes the patched sources, and what has the go command use them, to dir.
func overlay(dir string) (file string, err error) {
	replaced := map[string]string{}
	texts := map[string]string{}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOROOT: %w", err)
	}
	for _, p := range patches {
		path := filepath.Join(strings.TrimSpace(string(root)), "src", filepath.FromSlash(p.file))
		text, read := texts[path]
		if !read {
			b, err := os.ReadFile(path)
			if err != nil {
				return "", err
			}
			text = string(b)
		}
		if strings.Count(text, p.old) != 1 {
			return "", fmt.Errorf("%s of %s is not what the simulator knows how to patch: %q", p.file, runtime.Version(), p.old)
		}
		texts[path] = strings.Replace(text, p.old, p.new, 1)
	}
	for path, text := range texts {
		replaced[path] = filepath.Join(dir, strings.ReplaceAll(path, string(filepath.Separator), "_"))
		if err := os.WriteFile(replaced[path], []byte(text), 0o644); err != nil {
			return "", err
		}
	}
	form, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		return "", err
	}
	file = filepath.Join(dir, "overlay.json")
	return file, os.WriteFile(file, form, 0o644)
}

// build builds this test anew, on the patched runtime, as it was built itself but for more
// flags.
func build(dir string, more ...string) (binary string, err error) {
	file, err := overlay(dir)
	if err != nil {
		return "", err
	}
	binary = filepath.Join(dir, "sim.test")
	args := []string{"test", "-c", "-overlay", file, "-o", binary}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "-race" || s.Key == "-tags" {
				args = append(args, s.Key+"="+s.Value)
			}
		}
	}
	if out, err := exec.Command("go", append(append(args, more...), ".")...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("go %v: %w\n%s", args, err, out)
	}
	return binary, nil
}
