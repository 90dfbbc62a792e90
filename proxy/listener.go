package proxy

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
)

// limited accepts no more clients than there are slots. A slot is free again when its connection is closed, also where
// the HTTP server has given the connection away to a tunnel.
type limited struct {
	net.Listener
	slots  chan struct{}
	once   sync.Once
	closed chan struct{}
}

func newLimited(l net.Listener, slots chan struct{}) *limited {
	return &limited{Listener: l, slots: slots, closed: make(chan struct{})}
}

func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return newClient(conn, func() { <-l.slots }), nil
}

func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type clientKey struct{}

// clientOf is the connection that the request came by.
func clientOf(r *http.Request) *client {
	c, _ := r.Context().Value(clientKey{}).(*client)
	return c
}

// rememberClient lets a request find the connection that it came by.
func rememberClient(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	return context.WithValue(ctx, clientKey{}, c)
}

// gate counts who is inside, so that somebody can wait until nobody is.
type gate struct {
	mu     sync.Mutex
	inside int
	empty  chan struct{} // not nil while somebody waits; closed when the last one has left
}

// enter says no once somebody waits.
func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.empty != nil {
		return false
	}
	g.inside++
	return true
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inside--; g.inside == 0 && g.empty != nil {
		close(g.empty)
	}
}

func (g *gate) wait(ctx context.Context) error {
	g.mu.Lock()
	if g.empty == nil {
		g.empty = make(chan struct{})
		if g.inside == 0 {
			close(g.empty)
		}
	}
	g.mu.Unlock()
	select {
	case <-g.empty:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
