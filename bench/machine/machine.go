// Package machine says on what a benchmark ran, as far as it explains the figures: no names of
// hosts, users or paths.
package machine

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
)

// Facts are what a reader needs to compare two reports.
type Facts struct {
	Cores     int    `json:"cores"`
	CPU       string `json:"cpu,omitempty"`
	MemoryMiB int64  `json:"memory_mib,omitempty"`
	System    string `json:"system"`
	Kernel    string `json:"kernel,omitempty"`
	Go        string `json:"go"`
	Redis     string `json:"redis,omitempty"`
}

var redisVersion = regexp.MustCompile(`v=(\S+)`)

// Read looks at this machine. What it cannot find out stays empty.
func Read(ctx context.Context) Facts {
	facts := Facts{
		Cores:  runtime.NumCPU(),
		CPU:    procField("/proc/cpuinfo", "model name"),
		System: runtime.GOOS + "/" + runtime.GOARCH,
		Go:     runtime.Version(),
	}
	if kernel, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		facts.Kernel = strings.TrimSpace(string(kernel))
	}
	var kib int64
	if _, err := fmt.Sscan(procField("/proc/meminfo", "MemTotal"), &kib); err == nil {
		facts.MemoryMiB = kib >> 10
	}
	if said, err := exec.CommandContext(ctx, "redis-server", "--version").Output(); err == nil {
		if version := redisVersion.FindSubmatch(said); version != nil {
			facts.Redis = string(version[1])
		}
	}
	return facts
}

// String is one line.
func (f Facts) String() string {
	line := fmt.Sprintf("%d cores", f.Cores)
	if f.CPU != "" {
		line += " (" + f.CPU + ")"
	}
	if f.MemoryMiB > 0 {
		line += fmt.Sprintf(", %d MiB memory", f.MemoryMiB)
	}
	line += fmt.Sprintf(", %s %s, %s", f.System, f.Kernel, f.Go)
	if f.Redis != "" {
		line += ", Redis " + f.Redis
	}
	return line
}

// procField is the value of the first "name : value" line of a file under /proc, or "".
func procField(path, name string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		field, value, found := strings.Cut(line, ":")
		if found && strings.TrimSpace(field) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
