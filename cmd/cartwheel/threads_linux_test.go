package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"
)

// threadsByNice counts the threads of a process.
func threadsByNice(t *testing.T, pid int) map[int]int {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	threads := map[int]int{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		nice, err := strconv.Atoi(fields[16])
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		threads[nice]++
	}
	return threads
}

// What serves connections goes before what runs in the background, also where that
// has been started later.
func TestThreadsThatServeGoFirst(t *testing.T) {
	raw, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0)
	if err != nil {
		t.Fatal(err)
	}
	own, loops := 20-raw, max(1, runtime.GOMAXPROCS(0)*3/4)
	lowered := min(own+7, 19)
	if lowered == own {
		t.Skip("this test runs with the lowest priority")
	}
	s := &shell{t: t, dir: t.TempDir()}
	n := s.serve("a", "--sync", "always", "--background-nice", "7")
	client := redis.NewClient(&redis.Options{Addr: n.addr})
	defer client.Close()
	before := threadsByNice(t, n.process.Pid)
	var writers sync.WaitGroup
	for i := range 20 {
		writers.Go(func() {
			for j := range 100 {
				if err := client.Set(context.Background(), fmt.Sprint(i, "/", j), "v", 0).Err(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	for _, threads := range []map[int]int{before, threadsByNice(t, n.process.Pid)} {
		if threads[own] != loops || threads[lowered] == 0 || len(threads) != 2 {
			t.Errorf("by their niceness there are %v threads, want %d of %d and the others of %d", threads, loops, own, lowered)
		}
	}
	s.end(n)
	n = s.serve("a", "--background-nice", "0")
	if threads := threadsByNice(t, n.process.Pid); len(threads) != 1 || threads[own] == 0 {
		t.Errorf("by their niceness there are %v threads, want all of %d", threads, own)
	}
}
