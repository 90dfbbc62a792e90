package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// clientSide connects to the app from a client's own address, as a transparent proxy does. Where that cannot be, the app
// sees ours, as it does without: it is counted and said, and no request fails of it.
type clientSide struct {
	connect func(ctx context.Context, client netip.Addr, network, addr string) (net.Conn, error)
	lost    *prometheus.CounterVec
	log     *zap.Logger
	said    sync.Once

	mu     sync.Mutex
	again4 time.Time // until then it is not tried for clients of IPv4
	again6 time.Time // the same for IPv6, which has routes of its own
}

const (
	// clientSideLimit is how long a connection from a client's address may take to come about. The app is on this machine,
	// where the kernel alone takes part in that; without the routing rules its answer never comes.
	clientSideLimit = 500 * time.Millisecond
	// clientSideRest is how long it is not tried after that, or after the kernel has refused it.
	clientSideRest = time.Minute
	// clientSideIdle is how many idle connections are kept for all clients together. The ones longest idle go first.
	clientSideIdle = 256
)

var errResting = errors.New("it failed a moment ago")

// mayKeepClients says why the client's address cannot be kept. Beyond the loopback the app's answers would go to the client
// by themselves.
func (a *app) mayKeepClients() error {
	host, _, _ := net.SplitHostPort(a.addr)
	ip, _ := netip.ParseAddr(host)
	switch {
	case runtime.GOOS != "linux":
		return fmt.Errorf("the client's address can be kept on Linux alone, and this is %s; leave that option out", runtime.GOOS)
	case a.network != "tcp" || host != "localhost" && !ip.IsLoopback():
		return fmt.Errorf("app %s: the client's address can be kept on the way to 127.0.0.1 and [::1] alone; give one of them, or leave that option out", a.addr)
	}
	return nil
}

// pool is the host of outgoing URLs, by which http.Transport keeps connections apart. It is the client's address where that
// is kept, with port 0, so that it cannot be taken for the app's. A client on this machine looks to the app as we do.
func (a *app) pool(client string) string {
	if !a.keepsClients {
		return a.host
	}
	if addr, err := netip.ParseAddr(client); err != nil || addr.IsLoopback() {
		return a.host
	}
	return net.JoinHostPort(client, "0")
}

// clientOfPool is the address in a pool's name, not valid where the pool is everybody's.
func clientOfPool(pool string) netip.Addr {
	if at, err := netip.ParseAddrPort(pool); err == nil && at.Port() == 0 {
		return at.Addr()
	}
	return netip.Addr{}
}

// connectFor connects for those who use the pool.
func (a *app) connectFor(ctx context.Context, pool string) (net.Conn, error) {
	plain := func(ctx context.Context) (net.Conn, error) { return a.connect(ctx, a.network, a.addr) }
	if a.addresses != nil {
		return a.addresses.dial(ctx, a.addr, plain)
	}
	client := clientOfPool(pool)
	if !client.IsValid() {
		return plain(ctx)
	}
	conn, reason := a.clients.try(ctx, client, a.network, a.addr)
	if reason == nil {
		return conn, nil
	}
	conn, err := plain(ctx)
	if err == nil {
		a.clients.failed(client, reason) // else the app is down, which says nothing
	}
	return conn, err
}

func (s *clientSide) try(ctx context.Context, client netip.Addr, network, addr string) (net.Conn, error) {
	if s.resting(client) {
		return nil, errResting
	}
	ctx, cancel := context.WithTimeout(ctx, clientSideLimit)
	defer cancel()
	return s.connect(ctx, client, network, addr)
}

func (s *clientSide) resting(client netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Before(*s.again(client))
}

func (s *clientSide) again(client netip.Addr) *time.Time {
	if client.Is4() {
		return &s.again4
	}
	return &s.again6
}

// failed counts why the app did not see the client. What would fail for all others too is not tried for a while.
func (s *clientSide) failed(client netip.Addr, err error) {
	reason := clientSideReason(err)
	s.lost.WithLabelValues(reason).Inc()
	if reason == "unfit" || reason == "resting" {
		return
	}
	s.mu.Lock()
	*s.again(client) = time.Now().Add(clientSideRest)
	s.mu.Unlock()
	s.said.Do(func() {
		s.log.Warn("the app sees this machine's address in place of its clients': give the sidecar NET_ADMIN or NET_RAW, and the pod the two routing rules; docs/CLIENT-ADDRESS.md has both",
			zap.String("reason", reason), zap.Error(err))
	})
}

// clientSideReason is "unfit" where others may still do: a client of IPv6 and an app that listens for IPv4 alone.
func clientSideReason(err error) string {
	var timeout net.Error
	switch {
	case errors.Is(err, errResting):
		return "resting"
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EACCES):
		return "not_permitted"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "no_route"
	}
	return "unfit"
}
