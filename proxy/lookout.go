package proxy

import (
	"errors"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"
)

// lookAfter is from when on it is watched whether the client of an exchange goes. To watch costs a goroutine and a system
// call, and most exchanges are over sooner.
const lookAfter = 5 * time.Millisecond

// A lookout notices that a client goes while it waits for its answer. The HTTP server would do so by reading one byte
// from the request's end on. That read gets nothing here, which ends it (a test holds net/http to that), and the lookout
// begins: later, and without taking a byte.
type lookout struct {
	client *client
	raw    syscall.RawConn
	timer  *time.Timer

	mu      sync.Mutex
	busy    bool          // the HTTP server has a request
	wanted  bool          // it has read that one to its end
	looking chan struct{} // closed when the look ends; nil while there is none
}

// newLookout gives nil, which leaves all to the HTTP server, where the connection cannot be looked at.
func newLookout(c *client) *lookout {
	if sc, ok := c.Conn.(syscall.Conn); ok && canLook {
		if raw, err := sc.SyscallConn(); err == nil {
			return &lookout{client: c, raw: raw}
		}
	}
	return nil
}

// begin is called for a read of one byte, and says whether it was the HTTP server's look.
func (l *lookout) begin() bool {
	if l == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.busy {
		return false // somebody wants this byte
	}
	l.wanted = true
	if l.timer == nil {
		l.timer = time.AfterFunc(lookAfter, l.look)
	} else {
		l.timer.Reset(lookAfter)
	}
	return true
}

// hear is told what the HTTP server does: while it reads a request's head nobody else looks.
func (l *lookout) hear(state http.ConnState) {
	if l == nil {
		return
	}
	l.mu.Lock()
	l.busy = state == http.StateActive
	if l.wanted {
		l.timer.Stop()
	}
	l.wanted = false
	looking := l.looking
	l.mu.Unlock()
	if looking != nil {
		l.client.deadline.ring(l.client.Conn)
		<-looking
	}
}

func (l *lookout) look() {
	l.mu.Lock()
	if !l.wanted || l.looking != nil {
		l.mu.Unlock()
		return
	}
	over := make(chan struct{})
	l.looking = over
	l.mu.Unlock()
	gone := l.wait()
	l.mu.Lock()
	l.looking = nil
	l.mu.Unlock()
	close(over)
	if gone != nil {
		l.client.failed(gone)
	}
}

// wait gives io.EOF when the client has closed its side, another error when the connection broke, and nil when the client
// sends another request or nobody wants to know any more.
func (l *lookout) wait() (gone error) {
	for {
		err := l.raw.Read(func(fd uintptr) (known bool) {
			known, gone = look(fd)
			return known
		})
		switch {
		case err == nil:
			return gone
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return err
		case !l.isWanted() || !l.client.deadline.early(l.client.Conn):
			return nil
		}
	}
}

func (l *lookout) isWanted() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.wanted
}
