package proxy

import (
	"context"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// connectFrom connects from an address that is not this machine's own. The kernel allows it to whoever has NET_ADMIN or
// NET_RAW (ip(7), IP_TRANSPARENT).
func connectFrom(ctx context.Context, client netip.Addr, network, addr string) (net.Conn, error) {
	dialer := &net.Dialer{
		LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(client, 0)),
		KeepAlive: 30 * time.Second,
		Control:   beTransparent,
	}
	return dialer.DialContext(ctx, network, addr)
}

// beTransparent lets the socket have any address. Its port is left to the moment of connecting: chosen before, each would
// be taken for all of the app's ports at once.
func beTransparent(network, _ string, conn syscall.RawConn) (err error) {
	outer := conn.Control(func(fd uintptr) {
		level, option := unix.SOL_IP, unix.IP_TRANSPARENT
		if network == "tcp6" {
			level, option = unix.SOL_IPV6, unix.IPV6_TRANSPARENT
		}
		if err = unix.SetsockoptInt(int(fd), level, option, 1); err == nil {
			err = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
		}
	})
	if outer != nil {
		return outer
	}
	return err
}
