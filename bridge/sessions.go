package bridge

import (
	"context"
	"sync"
	"time"

	"github.com/openreplay/log-sidecar/session"
)

const (
	// fresh is how long an answer is given again; one that shows nothing, for which somebody may be waiting, not so long.
	fresh      = 10 * time.Second
	freshEmpty = 3 * time.Second
	// maxCached is the most bytes of hits that are kept to be given again.
	maxCached = 16 << 20
	// maxReads is how many reads of one source run at a time.
	maxReads = 8
	// maxMerged is the most sessions of one read: their filter stays far below Cloud Logging's 20,000 characters.
	maxMerged = 100
)

// A question is for the entries of one session in one source.
type question struct {
	source Source
	id     session.ID
}

// A call is a question on its way to Cloud Logging, or answered a short while ago. Whoever asks the same joins it.
type call struct {
	question
	done   chan struct{} // closed when the fields below are set
	answer *answer
	err    error
}

// sessions answers questions with as few calls as the quota asks for: equal ones share a call, and those that have to
// wait for their turn are asked in one.
type sessions struct {
	*reader
	ctx       context.Context // ends the reads
	settle    time.Duration
	perMinute int
	running   sync.WaitGroup

	mu     sync.Mutex
	calls  map[question]*call
	cached int
	desks  map[Source]*desk
	guards map[string]*guard // by project
}

// A desk is where the questions to one source wait.
type desk struct {
	source  Source
	guard   *guard
	turn    chan struct{} // has room for the one worker that waits for the quota
	workers int           // guarded by sessions.mu, as is what follows
	waiting []*call
}

func newSessions(ctx context.Context, r *reader, settle time.Duration, perMinute int) *sessions {
	return &sessions{reader: r, ctx: ctx, settle: settle, perMinute: perMinute,
		calls: map[question]*call{}, desks: map[Source]*desk{}, guards: map[string]*guard{}}
}

// find answers a question. The read goes on when ctx ends, for others who wait for it.
func (s *sessions) find(ctx context.Context, q question) (*answer, error) {
	c := s.join(q)
	select {
	case <-c.done:
		return c.answer, c.err
	case <-ctx.Done():
		return nil, explain(ctx, ctx.Err())
	}
}

func (s *sessions) join(q question) *call {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.calls[q]; c != nil {
		s.metrics.shared.Inc()
		return c
	}
	c := &call{question: q, done: make(chan struct{})}
	s.calls[q] = c
	d := s.desk(q.source)
	d.waiting = append(d.waiting, c)
	if d.workers < maxReads {
		d.workers++
		s.running.Go(func() { s.work(d) })
	}
	return c
}

func (s *sessions) desk(source Source) *desk {
	d := s.desks[source]
	if d == nil {
		g := s.guards[source.Project]
		if g == nil {
			g = newGuard(s.perMinute)
			s.guards[source.Project] = g
		}
		d = &desk{source: source, guard: g, turn: make(chan struct{}, 1)}
		s.desks[source] = d
	}
	return d
}

func (s *sessions) work(d *desk) {
	for {
		batch, err := s.next(d)
		if len(batch) == 0 {
			return
		}
		s.ask(d, batch, err)
	}
}

// next takes the questions of the next call, when its turn has come: this worker's share of those that wait, and where the
// quota has no room at once, all that have piled up meanwhile. err says that no turn comes.
func (s *sessions) next(d *desk) (batch []*call, err error) {
	d.turn <- struct{}{}
	defer func() { <-d.turn }()
	if s.leave(d) {
		return nil, nil
	}
	workers := maxReads
	if !d.guard.free() {
		workers, err = 1, d.guard.wait(s.ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min((len(d.waiting)+workers-1)/workers, maxMerged)
	batch, d.waiting = d.waiting[:n:n], d.waiting[n:]
	return batch, err
}

// leave ends a worker that has nothing to do.
func (s *sessions) leave(d *desk) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(d.waiting) > 0 {
		return false
	}
	if d.workers--; d.workers == 0 {
		delete(s.desks, d.source)
	}
	return true
}

func (s *sessions) ask(d *desk, batch []*call, err error) {
	var answers map[session.ID]*answer
	if err == nil {
		ids := make([]session.ID, len(batch))
		for i, c := range batch {
			ids[i] = c.id
		}
		answers, err = s.read(s.ctx, d.guard, d.source, ids)
	}
	for _, c := range batch {
		s.done(c, answers[c.id], err)
	}
}

// done hands the answer to all who wait for it, and keeps it for a short while; errors are not kept.
func (s *sessions) done(c *call, a *answer, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.answer, c.err = a, err
	if err != nil {
		c.answer = nil
	}
	close(c.done)
	if err != nil || s.cached+a.bytes > maxCached {
		delete(s.calls, c.question)
		return
	}
	s.cached += a.bytes
	time.AfterFunc(s.keep(a), func() { s.forget(c) })
}

// keep says how long an answer holds.
func (s *sessions) keep(a *answer) time.Duration {
	switch left := a.unsettled(s.settle); {
	case left > 0:
		return min(left, freshEmpty)
	case a.total == 0:
		return freshEmpty
	}
	return fresh
}

func (s *sessions) forget(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cached -= c.answer.bytes
	delete(s.calls, c.question)
}
