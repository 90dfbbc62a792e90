package forwarder

import (
	"context"
	"sync"

	"github.com/openreplay/log-sidecar/enrich"
)

// The queue takes no more than this; whoever puts waits. The log files are the buffer, memory is not.
const (
	queueFindings = 1000
	queueBytes    = 2 << 20
)

// A queue is what was found and is not sealed, in order.
type queue struct {
	mu       sync.Mutex
	findings []*enrich.Finding
	bytes    int
	closed   bool
	changed  chan struct{} // closed, and replaced, at each change
}

func newQueue() *queue { return &queue{changed: make(chan struct{})} }

func (q *queue) signal() {
	close(q.changed)
	q.changed = make(chan struct{})
}

func size(f *enrich.Finding) int { return len(f.Record.Text) + len(f.Record.Fields) + 500 }

func (q *queue) put(ctx context.Context, f *enrich.Finding) error {
	for {
		q.mu.Lock()
		if len(q.findings) == 0 || len(q.findings) < queueFindings && q.bytes+size(f) <= queueBytes {
			q.findings, q.bytes = append(q.findings, f), q.bytes+size(f)
			q.signal()
			q.mu.Unlock()
			return nil
		}
		changed := q.changed
		q.mu.Unlock()
		select {
		case <-changed:
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
			q.signal()
			q.mu.Unlock()
			return taken
		}
		closed, changed := q.closed, q.changed
		q.mu.Unlock()
		if closed {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.closed = true
		q.signal()
	}
}

// rest takes all that is left, at the end.
func (q *queue) rest() []*enrich.Finding {
	q.mu.Lock()
	defer q.mu.Unlock()
	rest := q.findings
	q.findings, q.bytes = nil, 0
	q.signal()
	return rest
}

func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.findings)
}
