//go:build e2e

package delivery

import (
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/openreplay/log-sidecar/internal/testcert"
)

// A state says what a relay does with connections.
type state string

const (
	passing   state = ""
	refusing  state = "refuses"  // nobody listens
	resetting state = "resets"   // each connection ends with a reset after some bytes
	hanging   state = "hangs"    // new connections are accepted and never served; the present ones are reset
	swallows  state = "swallows" // connections stay up, and what goes over them is gone
	distrust  state = "distrust" // who answers shows a certificate that nobody trusts; the present connections are reset
)

// A relay stands for the network between the sidecar and the stand-in, and for the TLS in which Google wraps it.
type relay struct {
	t       *testing.T
	address string
	to      string
	shown   testcert.Pair // to clients, who trust it

	mu       sync.Mutex
	state    state
	rand     *rand.Rand
	listener net.Listener
	pairs    map[*pair]struct{}
	group    sync.WaitGroup
}

// A pair is one connection and its other side.
type pair struct {
	client, server net.Conn // server is nil where it hangs
	mu             sync.Mutex
	budget         int  // bytes until it is reset; negative: none
	dead           bool // swallows for good: a middle box has forgotten it
}

func newRelay(t *testing.T, to string, r *rand.Rand) *relay {
	l := &relay{t: t, address: address(t), to: to, rand: rand.New(rand.NewPCG(r.Uint64(), 0)), pairs: map[*pair]struct{}{}}
	l.shown = testcert.New(t, host(l.address))
	l.listen()
	t.Cleanup(l.close)
	return l
}

// set changes the network. What was swallowing goes on to do so: only new connections work again.
func (l *relay) set(s state) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state = s
	switch {
	case s == refusing:
		l.listener.Close()
		l.listener = nil
	case l.listener == nil:
		l.listen()
	}
	for p := range l.pairs {
		switch s {
		case refusing, hanging, distrust:
			p.reset()
		case resetting:
			p.arm(l.rand.IntN(2000))
		case swallows:
			p.kill()
		}
	}
}

func (l *relay) listen() {
	listener, err := net.Listen("tcp", l.address)
	// A program that is being started has our sockets until it runs, those that we have closed too.
	for until := time.Now().Add(5 * time.Second); err != nil && time.Now().Before(until); listener, err = net.Listen("tcp", l.address) {
		<-time.After(10 * time.Millisecond)
	}
	if err != nil {
		l.t.Errorf("listen again: %v", err)
		return
	}
	l.listener = listener
	l.group.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			l.take(conn)
		}
	})
}

func (l *relay) take(conn net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	shown := l.shown
	if l.state == distrust {
		shown = testcert.New(l.t, host(l.address))
	}
	client := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{shown.TLS}, NextProtos: []string{"h2"}})
	p := &pair{client: client, budget: -1}
	l.pairs[p] = struct{}{}
	switch l.state {
	case hanging:
		return
	case resetting:
		p.budget = l.rand.IntN(2000)
	case swallows:
		p.dead = true
	}
	server, err := net.Dial("tcp", l.to)
	if err != nil {
		p.reset()
		return
	}
	p.server = server
	l.group.Go(func() { p.pipe(client, server) })
	l.group.Go(func() { p.pipe(server, client) })
}

func (l *relay) close() {
	l.mu.Lock()
	if l.listener != nil {
		l.listener.Close()
	}
	for p := range l.pairs {
		p.reset()
	}
	l.mu.Unlock()
	l.group.Wait()
}

// pipe carries bytes one way until an end closes or the budget is spent.
func (p *pair) pipe(from, to net.Conn) {
	defer p.reset()
	buf := make([]byte, 4<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			n, err = p.allowed(n, err)
			if _, werr := to.Write(buf[:n]); werr != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// allowed says how many of n bytes pass, and with an error that they were the last.
func (p *pair) allowed(n int, err error) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.dead:
		return 0, err
	case p.budget < 0:
		return n, err
	case n >= p.budget:
		return p.budget, io.ErrUnexpectedEOF
	}
	p.budget -= n
	return n, err
}

func (p *pair) arm(budget int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.budget = budget
}

func (p *pair) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dead = true
}

// reset ends both sides with RST.
func (p *pair) reset() {
	for _, conn := range []net.Conn{p.client, p.server} {
		if secure, ok := conn.(*tls.Conn); ok {
			conn = secure.NetConn()
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			tcp.SetLinger(0)
			tcp.Close()
		}
	}
}

func host(address string) string {
	name, _, _ := net.SplitHostPort(address)
	return name
}

// address gives a loopback address that stays free while nobody listens there: its port lies below those that a system gives
// to whoever asks for any, and its host is nobody's end of a connection.
func address(t *testing.T) string {
	t.Helper()
	for range 100 {
		addr := fmt.Sprintf("127.%d.%d.%d:%d", 1+rand.IntN(250), rand.IntN(250), 1+rand.IntN(250), 10000+rand.IntN(20000))
		if listener, err := net.Listen("tcp", addr); err == nil {
			listener.Close()
			return addr
		}
	}
	t.Fatal("no loopback address is free")
	return ""
}
