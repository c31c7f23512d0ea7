package proc

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// starter runs what it is sent on one thread that lives as long as this process. The kernel sends
// a child its parent-death signal when the *thread* that started it ends (prctl(2),
// PR_SET_PDEATHSIG; golang.org/issue/27505), and Go's threads may end at any time.
var starter = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
})

// spawn starts cmd so that the kernel kills it when this process dies, in a process group of its
// own: a Ctrl-C then reaches only us, and we stop our children in order.
func spawn(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	starter() <- func() { started <- cmd.Start() }
	return <-started
}
