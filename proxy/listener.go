package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
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
	return &client{Conn: conn, release: func() { <-l.slots }}, nil
}

func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// client is a client's connection.
type client struct {
	net.Conn
	release func()
	once    sync.Once
	ended   atomic.Bool // nothing more will come from it
	broken  atomic.Bool // reading failed with something else than the end
	own     atomic.Pointer[hops]
	serves  atomic.Pointer[exchange] // nil between two, and where nobody watches
}

func (c *client) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		c.broken.Store(err != io.EOF)
		c.ended.Store(true)
		if x := c.serves.Load(); x != nil {
			x.left(err != io.EOF)
		}
	}
	return n, err
}

// ReadFrom must not get lost either: by it a body goes from socket to socket.
func (c *client) ReadFrom(r io.Reader) (int64, error) {
	if to, ok := c.Conn.(io.ReaderFrom); ok {
		return to.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{c.Conn}, r)
}

// watch lets x know when its client goes. The HTTP server reads while the exchange goes on, to notice just that.
func (c *client) watch(x *exchange) (stop func() bool) {
	c.serves.Store(x)
	if c.ended.Load() { // it may have done so at once
		x.left(c.broken.Load())
	}
	return c.forget
}

func (c *client) forget() bool {
	c.serves.Store(nil)
	return true
}

func (c *client) Close() error {
	err := c.Conn.Close()
	c.once.Do(c.release)
	if own := c.own.Load(); own != nil {
		own.close()
	}
	return err
}

// CloseWrite must not get lost in the wrapping: without it the HTTP server ends a connection with a reset, which can take
// the answer with it.
func (c *client) CloseWrite() error { return closeWrite(c.Conn) }

func closeWrite(c any) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// pin gives the client a way to the app that nobody else uses.
func (c *client) pin(a *app) *hops {
	s := newHops(a, clientIdle)
	c.own.Store(s)
	return s
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
