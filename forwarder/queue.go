package forwarder

import (
	"context"
	"sync"

	"github.com/openreplay/log-sidecar/enrich"
)

// The queue takes no more than this; whoever puts waits. The log files are the buffer, memory is not.
const (
	queueFindings = 500
	queueBytes    = 2 << 20
)

// A queue is what was found and is not sealed, in order. Any number may put, one takes.
type queue struct {
	mu       sync.Mutex
	findings []*enrich.Finding
	bytes    int
	closed   bool
	come     chan struct{} // something may be there to be taken
	room     chan struct{} // there may be room for more
}

func newQueue() *queue { return &queue{come: make(chan struct{}, 1), room: make(chan struct{}, 1)} }

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func size(f *enrich.Finding) int { return len(f.Record.Text) + len(f.Record.Fields) + 500 }

func (q *queue) put(ctx context.Context, f *enrich.Finding) error {
	for {
		q.mu.Lock()
		fits := len(q.findings) == 0 || len(q.findings) < queueFindings && q.bytes+size(f) <= queueBytes
		if fits {
			q.findings, q.bytes = append(q.findings, f), q.bytes+size(f)
		}
		q.mu.Unlock()
		if fits {
			poke(q.come)
			poke(q.room) // for the next who waits
			return nil
		}
		select {
		case <-q.room:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// take waits for a finding and then takes all that stand there, up to count of them and bytes bytes. It gives none once
// the queue is closed and empty, or ctx is done.
func (q *queue) take(ctx context.Context, count, bytes int) []*enrich.Finding {
	for {
		q.mu.Lock()
		n := 0
		for n < len(q.findings) && n < count && (n == 0 || bytes >= size(q.findings[n])) {
			bytes -= size(q.findings[n])
			q.bytes -= size(q.findings[n])
			n++
		}
		if n > 0 {
			taken := append([]*enrich.Finding(nil), q.findings[:n]...)
			q.findings = append(q.findings[:0], q.findings[n:]...)
			clear(q.findings[len(q.findings):cap(q.findings)])
			q.mu.Unlock()
			poke(q.room)
			return taken
		}
		closed := q.closed
		q.mu.Unlock()
		if closed {
			return nil
		}
		select {
		case <-q.come:
		case <-ctx.Done():
			return nil
		}
	}
}

func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	poke(q.come)
}

// rest takes all that is left, at the end.
func (q *queue) rest() []*enrich.Finding {
	q.mu.Lock()
	rest := q.findings
	q.findings, q.bytes = nil, 0
	q.mu.Unlock()
	poke(q.room)
	return rest
}

func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.findings)
}
