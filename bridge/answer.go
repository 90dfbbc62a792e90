package bridge

import (
	"slices"
	"time"

	"cloud.google.com/go/logging/apiv2/loggingpb"

	"github.com/openreplay/log-sidecar/session"
)

// maxAnswer is the bytes of hits after which no more are kept for a session; the rest counts as left out.
const maxAnswer = 4 << 20

// An answer is what Cloud Logging had of one session at one moment.
type answer struct {
	hits    []hit // those with the oldest timestamps, at most maxHits, in the order of their own time
	bytes   int
	full    bool // whether entries were left out
	total   int
	atLeast bool      // total is not all
	newest  time.Time // of the last one; zero where there is none
	read    time.Time
}

// add takes the entries in the order of their timestamps, so that what is left out is always later than what is kept.
func (a *answer) add(e *loggingpb.LogEntry, id session.ID) {
	a.total++
	a.date(e)
	if a.full = len(a.hits) == maxHits || a.bytes > maxAnswer; a.full {
		return
	}
	h := newHit(e, id)
	a.hits = append(a.hits, h)
	a.bytes += len(h.json)
}

func (a *answer) date(e *loggingpb.LogEntry) {
	if at := dated(e); at.After(a.newest) {
		a.newest = at
	}
}

// unsettled is how long the session must stay without another entry until it counts as over; 0: it does.
func (a *answer) unsettled(settle time.Duration) time.Duration {
	if a.total == 0 || settle == 0 {
		return 0
	}
	return max(a.newest.Add(settle).Sub(a.read), 0)
}

// first gives at most n hits; where there are more entries, the last one says how many.
func (a *answer) first(n int, id session.ID) (shown []hit, out int) {
	n = min(n, maxHits)
	if !a.full && len(a.hits) <= n {
		return a.hits, 0
	}
	if n < 2 { // no room to say it; total does
		return a.hits[:min(n, len(a.hits))], a.total - n
	}
	shown = a.hits[:min(n-1, len(a.hits))]
	out = a.total - len(shown)
	return append(slices.Clip(shown), leftOut(out, a.atLeast, id, shown[len(shown)-1].at)), out
}

// order sorts by the records' own times: the panel takes an answer to be in that order.
func (a *answer) order() {
	slices.SortStableFunc(a.hits, func(x, y hit) int { return x.at.Compare(y.at) })
}
