package enrich

import (
	"time"

	"github.com/openreplay/log-sidecar/enrich/record"
)

// A lag is how far a file's stamps are behind the arrival of their bytes. The least one seen is what the two clocks and
// zones differ by, and what reading takes at best; what comes on top is delay.
type lag struct {
	least, next time.Duration // of the last generation of samples, and of this one
	n           int
}

// generation is how many samples are kept; a clock that was set is forgotten with them.
const generation = 32

func (l *lag) add(d time.Duration) {
	if l.n == 0 || l.n%generation == 0 {
		if l.n > 0 {
			l.least = l.next
		} else {
			l.least = d
		}
		l.next = d
	}
	l.n++
	l.next = min(l.next, d)
	l.least = min(l.least, d)
}

// maxDelay is how late bytes may come and still tell by their arrival when they were written.
const maxDelay = 1500 * time.Millisecond

// fine says whether a stamp is finer than a second.
func fine(t time.Time) bool { return !t.IsZero() && t.Nanosecond() != 0 }

// tells says whether the record's own stamp says when it was written.
func (s *source) tells(r *record.Record) bool { return fine(r.Time) && s.lag.n > 0 }

// written estimates, in the proxy's time, when the record was written: its arrival, or where its stamps are fine, what they
// say, with the clocks' difference taken off.
func (s *source) written(r *record.Record) time.Time {
	if !s.tells(r) {
		return r.Arrived
	}
	if t := r.Time.Add(s.lag.least); t.Before(r.Arrived) && r.Arrived.Sub(t) < maxDelay {
		return t
	}
	return r.Arrived
}

// spread is by how much earlier than written says the record may have been written.
func (s *source) spread(r *record.Record) time.Duration {
	if s.tells(r) {
		return 0
	}
	return s.history.late(r.Offset)
}

// late says whether the bytes came so long after they were written that their arrival tells nothing.
func (s *source) late(r *record.Record) bool {
	return s.lag.n > 0 && !r.Time.IsZero() && r.Arrived.Sub(r.Time)-s.lag.least > maxDelay
}

func (s *source) learnLag(r *record.Record) {
	if !r.Time.IsZero() && !r.Arrived.IsZero() {
		s.lag.add(r.Arrived.Sub(r.Time))
	}
}

// backlog says whether the record stood in the file when it was first read: nobody knows since when.
func (s *source) backlog(r *record.Record) bool { return r.Offset < s.start }

// Endings count when the records of a file were written that their connections tell apart: before their exchange ended, or after.
// What Apache reads of a CGI script's standard error it logs when the answer is out, and the next request may have begun.
type endings struct{ n, after, soon int }

func (e *endings) add(r *record.Record, wrote time.Time, x *Exchange) {
	if x.End.IsZero() || !fine(r.Time) {
		return
	}
	if e.n++; wrote.Sub(x.End) > time.Millisecond {
		e.after++
	}
	if wrote.Sub(x.Begin) < soon {
		e.soon++
	}
}

// late says whether records of the file are often written after their exchange has ended.
func (e *endings) late() bool { return e.after > 0 && 5*e.after >= e.n }

// slow says whether hardly any record of the file is written soon after its request, as where each needs a process, and some
// come after its end.
func (e *endings) slow() bool { return e.after > 0 && e.n >= 20 && 20*e.soon <= e.n }

// surprise counts a record that came too soon for slow: where many do, it does not hold.
func (e *endings) surprise() {
	e.n++
	e.soon++
}
