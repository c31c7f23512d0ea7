package server

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// lowerPassesMax is how often the threads are looked through; twice is enough nearly always.
const lowerPassesMax = 20

// lowerOthers has the threads of this process give way to those, by so much niceness:
// garbage is collected, checkpoints are written and tables compacted when those that
// serve have nothing to do, be they of this process or of another node's on this machine.
//
// They are all but those that serve: also who commits for a loop, probes the other nodes or holds a lock that a loop
// waits for, so it must not be by much.
//
// A thread that is started later is like the one that started it, and the loops' start
// none: the runtime has those that goroutines are locked to never do that.
func lowerOthers(threads []int, by int) error {
	own, err := unix.Getpriority(unix.PRIO_PROCESS, threads[0])
	if err != nil {
		return fmt.Errorf("read a thread's priority: %w", err)
	}
	lowered := max(own-by, 1) // the system counts from 40, the highest, down to 1
	again := true             // until none has been started meanwhile by one that was still to come
	for passes := 0; again && passes < lowerPassesMax; passes++ {
		again = false
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("list threads: %w", err)
		}
		for _, task := range tasks {
			id, err := strconv.Atoi(task.Name())
			if err != nil || slices.Contains(threads, id) {
				continue
			}
			was, err := unix.Getpriority(unix.PRIO_PROCESS, id)
			if err != nil || was <= lowered { // it has ended, or is lowered
				continue
			}
			if err := unix.Setpriority(unix.PRIO_PROCESS, id, 20-lowered); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("lower a thread's priority: %w", err)
			}
			again = true
		}
	}
	return nil
}
