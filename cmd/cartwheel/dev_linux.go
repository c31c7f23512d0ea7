package main

import "syscall"

// devChild has the kernel kill a child with its parent, and keeps the terminal's
// Ctrl-C from it: the parent stops its children.
func devChild() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
