package proxy

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// client is a client's connection.
//
// The HTTP server costs it two things for each request that are seldom needed: a goroutine that reads one byte, to notice
// that the client goes while it waits for its answer, and six deadlines. The first is put off here until an exchange takes
// long, and a deadline that is later than the one that stands is set when that one passes.
type client struct {
	net.Conn
	release func()
	once    sync.Once
	ended   atomic.Bool // nothing more will come from it
	broken  atomic.Bool // reading failed with something else than the end
	own     atomic.Pointer[hops]
	serves  atomic.Pointer[exchange] // nil between two, and where nobody watches

	lookout  *lookout // nil where the connection cannot be looked at without reading
	deadline deadline
	hurried  atomic.Bool // there is a deadline for writing
}

func newClient(conn net.Conn, release func()) *client {
	c := &client{Conn: conn, release: release}
	c.lookout = newLookout(c)
	return c
}

func (c *client) Read(b []byte) (int, error) {
	if len(b) == 1 && c.lookout.begin() {
		return 0, nil
	}
	n, err := c.Conn.Read(b)
	for errors.Is(err, os.ErrDeadlineExceeded) && c.deadline.early(c.Conn) {
		n, err = c.Conn.Read(b)
	}
	if err != nil {
		c.failed(err)
	}
	return n, err
}

// failed notes that nothing more can be read.
func (c *client) failed(err error) {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return
	}
	c.broken.Store(err != io.EOF)
	c.ended.Store(true)
	if x := c.serves.Load(); x != nil {
		x.left(err != io.EOF)
	}
}

// ReadFrom must not get lost either: by it a body goes from socket to socket.
func (c *client) ReadFrom(r io.Reader) (int64, error) {
	if to, ok := c.Conn.(io.ReaderFrom); ok {
		return to.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{c.Conn}, r)
}

// watch lets x know when its client goes.
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

func (c *client) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *client) SetReadDeadline(t time.Time) error { return c.deadline.set(c.Conn, t) }

// SetWriteDeadline is asked after each answer to lift what nobody has set.
func (c *client) SetWriteDeadline(t time.Time) error {
	if t.IsZero() && !c.hurried.Load() {
		return nil
	}
	c.hurried.Store(!t.IsZero())
	return c.Conn.SetWriteDeadline(t)
}

// A deadline for reading is wanted at one time, and may stand earlier: reading goes on after that one.
type deadline struct {
	mu     sync.Mutex
	wanted time.Time
	stands time.Time
}

func (d *deadline) set(c net.Conn, t time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.wanted = t
	if d.stands.IsZero() && t.IsZero() || !d.stands.IsZero() && (t.IsZero() || t.After(d.stands)) {
		return nil
	}
	d.stands = t
	return c.SetReadDeadline(t)
}

// ring ends whatever reads or waits to read; the next one who does goes by what is wanted.
func (d *deadline) ring(c net.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stands = longAgo
	c.SetReadDeadline(longAgo)
}

var longAgo = time.Unix(1, 0)

// early says whether the deadline that has passed was not the one that is wanted, which stands from now on.
func (d *deadline) early(c net.Conn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.wanted.IsZero() && !time.Now().Before(d.wanted) {
		return false
	}
	d.stands = d.wanted
	return c.SetReadDeadline(d.wanted) == nil
}

// stateChanged tells a client's connection what the HTTP server does with it.
func stateChanged(c net.Conn, state http.ConnState) {
	if c, ok := c.(*client); ok {
		c.lookout.hear(state)
	}
}
