package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// tickPerSecond is the unit of CPU times in /proc, the same on every architecture (proc(5), USER_HZ).
const tickPerSecond = 100

// RSS is the process's resident memory now, in bytes. It needs Linux's /proc, as all figures here do.
func (s *Server) RSS() (int64, error) { return s.statusKB("VmRSS") }

// PeakRSS is the most resident memory, in bytes, that the process has had, as the kernel kept it.
func (s *Server) PeakRSS() (int64, error) { return s.statusKB("VmHWM") }

// CPU is the processor time that the process has used, to a hundredth of a second.
func (s *Server) CPU() (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.Pid))
	if err != nil {
		return 0, err
	}
	// The fields are counted from behind the program's name, which may hold spaces.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	const utime, stime = 11, 12
	if len(fields) <= stime {
		return 0, fmt.Errorf("reading the CPU time of process %d: %d fields", s.Pid, len(fields))
	}
	user, errUser := strconv.ParseInt(fields[utime], 10, 64)
	system, errSystem := strconv.ParseInt(fields[stime], 10, 64)
	return time.Duration(user+system) * (time.Second / tickPerSecond), errors.Join(errUser, errSystem)
}

// statusKB reads a line such as "VmRSS:  1944 kB" of /proc/PID/status, in bytes.
func (s *Server) statusKB(name string) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		rest, found := strings.CutPrefix(line, name+":")
		if !found {
			continue
		}
		kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("reading %s of process %d: %w", name, s.Pid, err)
		}
		return kb << 10, nil
	}
	return 0, fmt.Errorf("process %d has no %s: has it ended?", s.Pid, name)
}
