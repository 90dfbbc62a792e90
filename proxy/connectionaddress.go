package proxy

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// ownAddresses has each connection to the app come from an address that no other one has, out of 127.0.0.0/8: a log line that
// names its client's address then names the connection. Where that cannot be, the app sees 127.0.0.1 as it does without: it is
// counted and said, and no request fails of it.
type ownAddresses struct {
	connect     func(ctx context.Context, from netip.Addr, addr string) (net.Conn, error)
	lost        prometheus.Counter
	log         *zap.Logger
	said        sync.Once
	start, step uint32
	taken       atomic.Uint32
}

// The addresses lie from 127.1.0.0 on, and below 127.255.0.0: those that machines give to something, such as a name server, lie
// outside.
const (
	firstOwn = 127<<24 | 1<<16
	ownCount = 254 << 16
)

func newOwnAddresses() *ownAddresses {
	// With a step that has no divisor in common with the count (2 and 127) each address comes once before any comes again.
	step := 2*rand.Uint32N(ownCount/2) + 1
	if step%127 == 0 {
		step += 2
	}
	return &ownAddresses{connect: connectFromLoopback, start: rand.Uint32N(ownCount), step: step}
}

// next gives an address. The order is made by chance at each start: no client can foretell another one's.
func (o *ownAddresses) next() netip.Addr {
	n := firstOwn + uint32((uint64(o.start)+uint64(o.taken.Add(1))*uint64(o.step))%ownCount)
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}

func isOwn(a netip.Addr) bool {
	if !a.Is4() {
		return false
	}
	b := a.As4()
	return b[0] == 127 && b[1] != 0 && b[1] != 255
}

// dial connects from an address of the connection's own, or else as connections are made without.
func (o *ownAddresses) dial(ctx context.Context, addr string, plain func(context.Context) (net.Conn, error)) (net.Conn, error) {
	conn, reason := o.connect(ctx, o.next(), addr)
	if reason == nil {
		return conn, nil
	}
	conn, err := plain(ctx)
	if err == nil { // else the app is down, which says nothing
		o.lost.Inc()
		o.said.Do(func() {
			o.log.Warn("the app sees 127.0.0.1 in place of an address for each connection: it has to listen for IPv4", zap.Error(reason))
		})
	}
	return conn, err
}

func connectFromLoopback(ctx context.Context, from netip.Addr, addr string) (net.Conn, error) {
	dialer := &net.Dialer{
		Timeout:   dialLimit,
		LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0)),
		KeepAlive: 30 * time.Second,
	}
	return dialer.DialContext(ctx, "tcp4", addr)
}

// mayGiveAddresses says why connections cannot have addresses of their own.
func (a *app) mayGiveAddresses() error {
	host, _, _ := net.SplitHostPort(a.addr)
	ip, _ := netip.ParseAddr(host)
	switch {
	case runtime.GOOS != "linux":
		return fmt.Errorf("a connection can have an address of its own on Linux alone, and this is %s; leave that option out", runtime.GOOS)
	case a.network != "tcp" || host != "localhost" && !(ip.Is4() && ip.IsLoopback()):
		return fmt.Errorf("app %s: a connection can have an address of its own on the way to 127.0.0.1 alone; give that, or leave that option out", a.addr)
	case a.keepsClients:
		return fmt.Errorf("app %s: a connection can have the client's address or one of its own, not both; leave one of the two options out", a.addr)
	}
	return nil
}

// upstream is what the app knows a connection by: our address and port, or the address alone where no other connection has it.
func (a *app) upstream(c net.Conn) netip.AddrPort {
	at := local(c)
	if a.addresses != nil && isOwn(at.Addr()) {
		return netip.AddrPortFrom(at.Addr(), 0)
	}
	return at
}
