package main

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// devPatience bounds the wait for a line of dev: starting nodes takes a while on a busy machine.
const devPatience = 60 * time.Second

// A devRun is `cartwheel dev` as its user sees it.
type devRun struct {
	t     *testing.T
	base  int
	cmd   *exec.Cmd
	lines chan string // closed at the end of its output
	said  strings.Builder
}

// runDev runs dev in this test's binary, which is also cartwheel.
func runDev(t *testing.T, base int, args ...string) *devRun {
	t.Helper()
	d := &devRun{t: t, base: base, lines: make(chan string, 1000)}
	d.cmd = &exec.Cmd{
		Path: os.Args[0],
		Args: append([]string{"cartwheel", "dev", "--base-port", strconv.Itoa(base), "--memory", "16MB"}, args...),
		Env:  append(os.Environ(), "CARTWHEEL_LISTEN=not for dev"),
	}
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	d.cmd.Stderr = d.cmd.Stdout
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(d.lines)
		for in := bufio.NewScanner(out); in.Scan(); {
			d.lines <- in.Text()
		}
	}()
	t.Cleanup(func() {
		_ = d.cmd.Process.Kill()
		_ = d.cmd.Wait()
		if t.Failed() {
			t.Logf("dev said:\n%s", d.said.String())
		}
	})
	return d
}

// says waits for a line that matches, and returns what its groups have matched.
func (d *devRun) says(pattern string) []string {
	d.t.Helper()
	want, late := regexp.MustCompile(pattern), time.After(devPatience)
	for {
		select {
		case line, more := <-d.lines:
			if !more {
				d.t.Fatalf("dev has ended and never said %q", pattern)
			}
			d.said.WriteString(line + "\n")
			if found := want.FindStringSubmatch(line); found != nil {
				return found[1:]
			}
		case <-late:
			d.t.Fatalf("dev does not say %q", pattern)
		}
	}
}

// pids are those of the nodes in its table.
func (d *devRun) pids(nodes int) (pids []int) {
	d.t.Helper()
	for i := range nodes {
		pid, err := strconv.Atoi(d.says(fmt.Sprintf(`^%d +(\d+) +127.0.0.1:%d +127.0.0.1:%d +127.0.0.1:%d +`,
			i+1, d.base+i, d.base+devClusterPorts+i, d.base+devPeerPorts+i))[0])
		if err != nil {
			d.t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	d.says("^Ctrl-C stops all nodes")
	return pids
}

// answers asks a node by its number.
func (d *devRun) answers(node int, want string, command ...string) {
	d.t.Helper()
	n := asked{addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(d.base+node-1)), timeout: devPatience}
	if got, err := n.ask(command...); err != nil || got != want {
		d.t.Errorf("node %d answers %q with %q, %v", node, command, got, err)
	}
}

// ends presses Ctrl-C.
func (d *devRun) ends(nodes int) {
	d.t.Helper()
	kill(d.t, d.cmd.Process.Pid, syscall.SIGINT)
	d.says(fmt.Sprintf(`stopping %d nodes`, nodes))
	for line := range d.lines {
		d.said.WriteString(line + "\n")
	}
	if err := d.cmd.Wait(); err != nil {
		d.t.Errorf("dev ends with %v", err)
	}
	d.gone()
}

// gone waits until nobody listens on the nodes' ports.
func (d *devRun) gone() {
	d.t.Helper()
	deadline := time.Now().Add(devPatience)
	for (&devCommand{Nodes: 3, BasePort: d.base}).check() != nil {
		if time.Now().After(deadline) {
			d.t.Fatal("the nodes are still there")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func kill(t *testing.T, pid int, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, sig); err != nil {
		t.Fatal(err)
	}
}

// freeBase finds a --base-port, below the ports that the system gives to outgoing connections.
func freeBase(t *testing.T) int {
	t.Helper()
	for range 100 {
		base := 12000 + rand.IntN(20000)
		if (&devCommand{Nodes: 3, BasePort: base}).check() == nil {
			return base
		}
	}
	t.Fatal("no free ports")
	return 0
}

func TestDevTellsWhoIsUpAndLosesNothing(t *testing.T) {
	base, dir := freeBase(t), t.TempDir()
	d := runDev(t, base, "--data", dir)
	pids := d.pids(3)
	d.answers(1, "OK", "SET", "greeting", "hello")
	d.answers(3, "hello", "GET", "greeting")
	if err := (&devCommand{Nodes: 3, BasePort: base}).check(); err == nil {
		t.Error("a second cluster is let onto the ports of the first")
	}

	kill(t, pids[0], syscall.SIGKILL)
	d.answers(3, "hello", "GET", "greeting")
	d.answers(2, "OK", "SET", "greeting", "goodbye")
	d.says(fmt.Sprintf(`node 1, pid %d, is down: signal: killed$`, pids[0]))
	kill(t, pids[1], syscall.SIGSTOP)
	d.says(fmt.Sprintf(`node 2, pid %d, does not answer$`, pids[1]))
	kill(t, pids[1], syscall.SIGCONT)
	d.says(`node 2 is up$`)
	kill(t, pids[2], syscall.SIGSTOP) // one that is stopped ends as well
	d.ends(2)

	again := runDev(t, base, "--data", dir)
	again.pids(3)
	for node := 1; node <= 3; node++ {
		again.answers(node, "goodbye", "GET", "greeting")
	}
	again.ends(3)
}

func TestDevStartsDeadNodesAgain(t *testing.T) {
	d := runDev(t, freeBase(t), "--restart", "--zones", "3")
	pids := d.pids(3)
	kill(t, pids[1], syscall.SIGKILL)
	d.says(fmt.Sprintf(`node 2, pid %d, is down: signal: killed$`, pids[1]))
	if d.says(`node 2 is started again, pid (\d+)$`)[0] == strconv.Itoa(pids[1]) {
		t.Error("the pid is that of the dead one")
	}
	d.says(`node 2 is up$`)
	d.answers(2, "PONG", "PING")
	d.ends(3)
}

func TestDevNodesDieWithIt(t *testing.T) {
	dir := t.TempDir()
	d := runDev(t, freeBase(t), "--data", dir)
	d.pids(3)
	kill(t, d.cmd.Process.Pid, syscall.SIGKILL)
	d.gone()
}

func TestDevEndsWhenNoNodeIsLeft(t *testing.T) {
	d := runDev(t, freeBase(t), "--nodes", "1")
	kill(t, d.pids(1)[0], syscall.SIGKILL)
	d.says(`^cartwheel: no node is left$`)
}

func TestDevSaysWhyANodeDoesNotStart(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(dir+"/node1", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/node1/thesis.txt", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d := runDev(t, freeBase(t), "--nodes", "1", "--data", dir)
	d.says(`^cartwheel: node 1 has ended, exit status 1; the end of its log:`)
	d.says(`is not a Cartwheel data directory: it has "thesis.txt"`)
}
