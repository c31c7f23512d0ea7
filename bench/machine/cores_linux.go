package machine

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// UseCores confines this process, and what it starts from now on, to its first n cores, and returns
// how many it then has: fewer than n where there are not as many.
func UseCores(n int) (int, error) {
	var allowed, chosen unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		return 0, fmt.Errorf("reading the processor affinity: %w", err)
	}
	if allowed.Count() <= n {
		return allowed.Count(), nil
	}
	for core := 0; chosen.Count() < n; core++ {
		if allowed.IsSet(core) {
			chosen.Set(core)
		}
	}
	// Affinity belongs to a thread, and a new thread takes that of the one that makes it. So all are
	// confined, again and again until a pass meets no thread that it has not met before.
	confined := map[string]bool{}
	for met := true; met; {
		met = false
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return 0, fmt.Errorf("listing threads: %w", err)
		}
		for _, thread := range threads {
			if confined[thread.Name()] {
				continue
			}
			id, err := strconv.Atoi(thread.Name())
			if err != nil {
				return 0, fmt.Errorf("listing threads: %w", err)
			}
			if err := unix.SchedSetaffinity(id, &chosen); err != nil && !errors.Is(err, unix.ESRCH) {
				return 0, fmt.Errorf("setting the processor affinity: %w", err)
			}
			confined[thread.Name()], met = true, true
		}
	}
	return n, nil
}
