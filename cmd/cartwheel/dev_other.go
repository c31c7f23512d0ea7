//go:build unix && !linux

package main

import "syscall"

// devChild keeps the terminal's Ctrl-C from a child: the parent stops its
// children. Without Linux nothing ends them when it is killed.
func devChild() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
