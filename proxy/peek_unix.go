//go:build unix

package proxy

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// silent makes a function that says whether a connection is open and nothing waits to be read on it, without waiting.
func silent(c net.Conn) func() bool {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return func() bool { return true }
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return func() bool { return false }
	}
	var quiet bool
	ask := []unix.PollFd{{Events: unix.POLLIN}}
	look := func(fd uintptr) bool {
		ask[0].Fd = int32(fd)
		n, err := unix.Poll(ask, 0)
		quiet = n == 0 && err == nil
		return true
	}
	return func() bool {
		quiet = false
		return raw.Read(look) == nil && quiet
	}
}
