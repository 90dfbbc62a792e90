//go:build !unix

package proxy

import "net"

// silent cannot look here. A request that meets a closed connection is sent again only if none of it was written.
func silent(net.Conn) func() bool { return func() bool { return true } }
