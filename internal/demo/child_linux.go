package demo

import "syscall"

// childAttributes makes the kernel end a part when the demo is killed, and keeps the terminal's Ctrl-C from it: the demo
// ends its parts in order.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
