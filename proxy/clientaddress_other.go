//go:build !linux

package proxy

import (
	"context"
	"errors"
	"net"
	"net/netip"
)

// connectFrom is never called: New refuses the option.
func connectFrom(context.Context, netip.Addr, string, string) (net.Conn, error) {
	return nil, errors.ErrUnsupported
}
