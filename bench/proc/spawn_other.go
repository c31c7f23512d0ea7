//go:build unix && !linux

package proc

import (
	"os/exec"
	"syscall"
)

// spawn starts cmd in a process group of its own. Without Linux nothing ends it when we are killed.
func spawn(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd.Start()
}
