//go:build unix

package proxy

import (
	"io"
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

// canLook says that look can.
const canLook = true

// look says whether something is known of the other side, without taking what it sent: gone is nil where it sent
// something, and io.EOF where it has closed its side.
func look(fd uintptr) (known bool, gone error) {
	var b [1]byte
	for {
		n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return false, nil
		case err != nil:
			return true, err
		case n == 0:
			return true, io.EOF
		}
		return true, nil
	}
}
