package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/textproto"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A hop is a connection to the app on which HTTP/1 exchanges follow on each other, each in its own goroutine from end to
// end. http.Transport keeps two goroutines for every connection: to hand each request and each answer over to them costs
// more than all else that the proxy does.
type hop struct {
	hops *hops
	pool string   // whose it is, see app.pool
	conn net.Conn // TCP, unix or TLS
	raw  *appConn // the same, below TLS
	r    *bufio.Reader
	peek func() bool
	own  netip.AddrPort

	left int64     // what may still come of an answer's head; negative: a body, which has no bound
	idle time.Time // since when nobody uses it
}

// maxAnswerHead bounds what an app makes us hold, as http.Transport does.
const maxAnswerHead = 10 << 20

var errAnswerHead = errors.New("the answer's head is too long")

func newHop(s *hops, pool string, conn net.Conn) *hop {
	h := &hop{hops: s, pool: pool, conn: conn, raw: rawConn(conn), own: s.app.upstream(conn), left: -1}
	h.peek = silent(h.raw.Conn)
	h.r = bufio.NewReader(h)
	return h
}

// Read is what the answer's reader reads by.
func (h *hop) Read(p []byte) (int, error) {
	switch {
	case h.left < 0:
		return h.conn.Read(p)
	case h.left == 0:
		return 0, errAnswerHead
	}
	n, err := h.conn.Read(p[:min(int64(len(p)), h.left)])
	h.left -= int64(n)
	return n, err
}

// answer reads the answer's head; interim answers go to their own ends.
func (h *hop) answer(x *exchange, r *http.Request) (*http.Response, error) {
	h.left = maxAnswerHead
	for {
		resp, err := http.ReadResponse(h.r, r)
		switch {
		case err == io.EOF:
			return nil, io.ErrUnexpectedEOF
		case err != nil:
			return nil, err
		case resp.StatusCode == http.StatusContinue:
			x.body.agree()
		case resp.StatusCode < 200 && resp.StatusCode != http.StatusSwitchingProtocols:
			x.answer.informational(resp.StatusCode, textproto.MIMEHeader(resp.Header))
		default:
			h.left = -1
			return resp, nil
		}
	}
}

// isFit says whether another request may go out here: the app has not closed, has said nothing unasked, and was not told
// that nothing more will come.
func (h *hop) isFit() bool { return h.r.Buffered() == 0 && !h.raw.ended.Load() && h.peek() }

func (h *hop) close() { h.conn.Close() }

// hops are the app's connections that nobody uses at the moment.
type hops struct {
	app  *app
	most int
	keep atomic.Int64 // how long one is kept, in nanoseconds

	mu    sync.Mutex
	free  []*hop // the longest idle first
	timer *time.Timer
	over  bool
}

func newHops(a *app, keep time.Duration) *hops {
	s := &hops{app: a, most: 1 << 12}
	if a.keepsClients {
		s.most = clientSideIdle
	}
	s.keep.Store(int64(keep))
	return s
}

func (s *hops) kept() time.Duration { return time.Duration(s.keep.Load()) }

// take gives a connection that was used last of those that are fit, or a new one.
func (s *hops) take(ctx context.Context, pool string) (h *hop, reused bool, err error) {
	for h := s.last(pool); h != nil; h = s.last(pool) {
		if time.Since(h.idle) < s.kept() && h.isFit() {
			return h, true, nil
		}
		h.close()
	}
	conn, err := s.app.dial(ctx, s.app.network, pool)
	if err != nil {
		return nil, false, err
	}
	if s.app.tls != nil {
		if conn, err = s.app.shake(ctx, conn); err != nil {
			return nil, false, err
		}
	}
	return newHop(s, pool, conn), false, nil
}

func (s *hops) last(pool string) *hop {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, h := range slices.Backward(s.free) {
		if h.pool == pool {
			s.free = slices.Delete(s.free, i, i+1)
			return h
		}
	}
	return nil
}

// put keeps a connection for the next exchange.
func (s *hops) put(h *hop) {
	keep := s.kept()
	h.idle = time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if keep <= 0 || s.over {
		h.close()
		return
	}
	if len(s.free) >= s.most {
		s.free[0].close()
		s.free = slices.Delete(s.free, 0, 1)
	}
	s.free = append(s.free, h)
	if len(s.free) == 1 {
		s.wake(keep)
	}
}

// wake lets the connections be looked through. The caller holds mu.
func (s *hops) wake(after time.Duration) {
	if s.timer == nil {
		s.timer = time.AfterFunc(after, s.sweep)
	} else {
		s.timer.Reset(after)
	}
}

// sweep closes what has been idle for long enough, and what the app has closed.
func (s *hops) sweep() {
	keep := s.kept()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free = slices.DeleteFunc(s.free, func(h *hop) bool {
		unfit := time.Since(h.idle) >= keep || !h.isFit()
		if unfit {
			h.close()
		}
		return unfit
	})
	if len(s.free) > 0 {
		s.wake(max(keep-time.Since(s.free[0].idle), time.Millisecond))
	}
}

// shorten keeps connections for no longer than this from now on.
func (s *hops) shorten(keep time.Duration) {
	s.keep.Store(int64(keep))
	s.sweep()
}

// close closes what is idle, and what becomes so.
func (s *hops) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	for _, h := range s.free {
		h.close()
	}
	s.free = nil
	if s.timer != nil {
		s.timer.Stop()
	}
}

// shake speaks TLS with the app.
func (a *app) shake(ctx context.Context, conn net.Conn) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	secured := tls.Client(conn, a.tls)
	if err := secured.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secured, nil
}
