//go:build e2e

package noharm

import (
	"io"
	"net"
	"sync"
	"testing"
)

// A relay is a way to a server that can turn into a black hole: connections stay open, nothing comes through.
type relay struct {
	Address  string
	to       string
	listener net.Listener
	group    sync.WaitGroup

	mu    sync.Mutex
	black bool
	free  *sync.Cond // black has changed, or the relay was closed
	conns map[net.Conn]bool
	done  bool
}

func newRelay(t *testing.T, to string) *relay {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{Address: listener.Addr().String(), to: to, listener: listener, conns: map[net.Conn]bool{}}
	r.free = sync.NewCond(&r.mu)
	r.group.Go(r.accept)
	t.Cleanup(r.close)
	return r
}

func (r *relay) swallow() { r.turn(true) }

// pass lets everything through again, also what was held back.
func (r *relay) pass() { r.turn(false) }

func (r *relay) turn(black bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.black = black
	r.free.Broadcast()
}

func (r *relay) close() {
	r.listener.Close()
	r.mu.Lock()
	r.done = true
	for c := range r.conns {
		c.Close()
	}
	r.free.Broadcast()
	r.mu.Unlock()
	r.group.Wait()
}

func (r *relay) accept() {
	for {
		c, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.keep(c)
		r.group.Go(func() { r.serve(c) })
	}
}

func (r *relay) keep(c net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conns[c] = true
	if r.done {
		c.Close()
	}
}

func (r *relay) serve(client net.Conn) {
	defer client.Close()
	if !r.wait() {
		return
	}
	server, err := net.Dial("tcp", r.to)
	if err != nil {
		return
	}
	r.keep(server)
	r.group.Go(func() { r.copy(client, server) })
	r.copy(server, client)
}

// wait returns when the way is free; false when it never will be.
func (r *relay) wait() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.black && !r.done {
		r.free.Wait()
	}
	return !r.done
}

func (r *relay) copy(to, from net.Conn) {
	defer to.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && (!r.wait() || write(to, buf[:n]) != nil) || err != nil {
			return
		}
	}
}

func write(w io.Writer, b []byte) error {
	_, err := w.Write(b)
	return err
}
