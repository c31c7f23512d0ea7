package compat

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"cartwheel/bench/proc"
)

// roleInside tells a copy of this test binary that it runs in a mount namespace of its own, and
// which directory it may mount over.
const roleInside = "COMPAT_MOUNT_OVER"

// inOwnMounts runs the test again in a mount namespace of its own, where it may mount what it likes:
// nobody else sees it, and it goes with the process. It returns where to mount in there, and "" in
// the outer process, when the inner one has ended.
func inOwnMounts(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv(roleInside); dir != "" {
		return dir
	}
	inner := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", fmt.Sprintf("-seed=%d", *seed))
	inner.Env = append(os.Environ(), roleInside+"="+t.TempDir())
	if !subjectIsRedis() {
		binary, err := proc.Binary(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		inner.Env = append(inner.Env, "CARTWHEEL_BINARY="+binary)
	}
	inner.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		inner.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		}
	}
	said, err := inner.CombinedOutput()
	if _, ran := errors.AsType[*exec.ExitError](err); err != nil && !ran {
		skip(t, "needs a mount namespace: %v", err)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	t.Logf("%s", said)
	return ""
}

// mountRAM mounts a file system of this size over a directory.
func mountRAM(t *testing.T, dir, size string, flags uintptr) {
	t.Helper()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", flags, "size="+size); err != nil {
		t.Fatalf("mounting %s of memory: %v", size, err)
	}
}

// TestFullDiskRefusesWritesAndKeepsTheRest fills the disk under a server, and then gives it room again.
func TestFullDiskRefusesWritesAndKeepsTheRest(t *testing.T) {
	const size, room, valueBytes, keysMax = "96m", "512m", 100_000, 3000
	dir := inOwnMounts(t)
	if dir == "" {
		return
	}
	mountRAM(t, dir, size, 0)
	set := settings{dir: dir, memory: abusedMemory, sync: "everysec"}
	server := startSubject(t, set)
	set.port = server.Port
	c := connect(t, server.Addr)
	acknowledged := 0
	for ; ; acknowledged++ {
		r, err := c.do("SET", numbered(acknowledged), valueOf(acknowledged, valueBytes))
		if err != nil {
			t.Fatalf("the disk is full, and a write ends in %v", err)
		}
		if r.kind == '-' {
			t.Logf("after %d writes: %s", acknowledged, r)
			break
		}
		if acknowledged == keysMax {
			t.Fatalf("%d MB went onto a disk of %s", keysMax*valueBytes>>20, size)
		}
	}
	check := func(c *conn) {
		t.Helper()
		for i := range acknowledged {
			if r, err := c.do("GET", numbered(i)); err != nil || r.text != valueOf(i, valueBytes) {
				t.Fatalf("GET %s of %d: %s, %v", numbered(i), acknowledged, shorten(r.String()), err)
			}
		}
	}
	check(c)
	if subjectIsRedis() {
		return // it refuses PING too, and acknowledges the write that did not reach its log
	}
	c.want(t, "+PONG\r\n", "PING")
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	mountRAM(t, dir, room, syscall.MS_REMOUNT)
	c = connect(t, startSubject(t, set).Addr)
	check(c)
	c.want(t, "+OK\r\n", "SET", "after", "v")
}

func TestReadOnlyDirectoryIsRefusedInASentence(t *testing.T) {
	if subjectIsRedis() {
		t.Skip("is about Cartwheel's start")
	}
	dir := inOwnMounts(t)
	if dir == "" {
		return
	}
	mountRAM(t, dir, "1m", syscall.MS_RDONLY)
	refused(t, dir)
}
