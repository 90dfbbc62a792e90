package enrich

import (
	"context"
	"fmt"
	"hash/fnv"
	"strings"
	"time"

	"github.com/openreplay/log-sidecar/enrich/record"
)

const (
	// readOn is how far all files must have been read past an exchange's end before it counts as silent.
	readOn = 2 * time.Second
	// searching is how often the exchanges are looked through for silent failures.
	searching = 2 * time.Second
	// maxSilent bounds what is remembered of exchanges, in each of two generations.
	maxSilent = 4096
	// starting is how long after its start the sidecar still finds what stood in the files before.
	starting = time.Second
	// bulk is a block's size in bytes from which on the file is being caught up with.
	bulk = 64 << 10
)

// Silent finds exchanges that failed and of which no record came.
type silent struct {
	from   time.Time // what ended before was looked at
	next   time.Time // when to look again
	asked  bool      // for what is owed from before
	behind time.Time // when a file was last seen to have much to read

	told, before map[name]bool // exchanges that have an entry: true where there was no record
}

// A name tells exchanges apart: clients may send an ID twice.
type name struct {
	id    string
	begin int64
}

func nameOf(x *Exchange) name { return name{x.ID, x.Begin.UnixNano()} }

func newSilent(now time.Time) *silent { return &silent{from: now, told: map[name]bool{}} }

func (s *silent) tell(x *Exchange, alone bool) {
	if len(s.told) >= maxSilent {
		s.told, s.before = map[name]bool{}, s.told
	}
	s.told[nameOf(x)] = alone
}

func (s *silent) knows(x *Exchange) (known, alone bool) {
	if alone, known = s.told[nameOf(x)]; !known {
		alone, known = s.before[nameOf(x)]
	}
	return known, alone
}

// searchSilent gives out a finding without a record of the log for each exchange that failed silently.
func (j *Joiner) searchSilent(ctx context.Context, now time.Time, all bool) error {
	s := j.silent
	if !j.config.SilentFailures || now.Before(s.next) && !all {
		return nil
	}
	s.next = now.Add(searching)
	to := now.Add(-readOn)
	if all {
		to = now
	}
	if now.Sub(s.behind) < readOn && !all || !to.After(s.from) {
		return nil
	}
	failed := j.owed()
	j.config.Exchanges.During(s.from, to, func(x Exchange) bool {
		if x.Status >= 500 && (x.HasSession() || x.AppSession != 0 && j.config.Sessions != nil) && x.End.After(s.from) && !x.End.After(to) {
			failed = append(failed, &x)
		}
		return true
	})
	s.from = to
	for _, x := range failed {
		if err := j.failedSilently(ctx, x, now, all); err != nil {
			return err
		}
	}
	return nil
}

// owed gives, once, what had failed when this life began. It is asked for no sooner than the first search: an exchange that had
// ended by then is kept a moment later, and would be in neither.
func (j *Joiner) owed() (before []*Exchange) {
	if j.silent.asked || j.config.Owed == nil {
		return nil
	}
	j.silent.asked = true
	for _, x := range j.config.Owed() {
		if !x.End.After(j.silent.from) {
			before = append(before, x)
		}
	}
	return before
}

// failedSilently gives out x, unless a record may still be found to be its own.
func (j *Joiner) failedSilently(ctx context.Context, x *Exchange, now time.Time, all bool) error {
	if known, _ := j.silent.knows(x); known {
		j.settling(x, func() {})()
		return nil
	}
	wait := j.whose(x, now)
	if !all && (wait || j.mayGet(x)) && len(j.later) < maxWaiting {
		j.later = append(j.later, x)
		return nil
	}
	if !x.HasSession() {
		return nil
	}
	j.silent.tell(x, true)
	j.metrics.silent.Inc()
	j.config.Ledger.Found(FromExchange, 1)
	path, _, _ := strings.Cut(x.Target, "?")
	return j.out(ctx, &Finding{
		Record: &record.Record{Offset: placeOf(x), Severity: record.Error, Time: x.End, ZoneGiven: true, Arrived: now, Status: x.Status,
			Text: fmt.Sprintf("%s %s answered %d, and no error was logged", x.Method, path, x.Status)},
		File: "exchange", Exchange: x, By: byTheExchange, Release: j.settling(x, func() {}),
	})
}

// mayGet says whether a record waits that may be the exchange's own.
func (j *Joiner) mayGet(x *Exchange) bool {
	for _, c := range j.waiting {
		if m := c.match.exchange; m != nil && m.is(x) {
			return true
		}
		if c.match.exchange == nil && c.observed != nil && among(c.observed.near, x) {
			return true
		}
	}
	return false
}

// placeOf stands for the offset that an exchange does not have: the same for the same one.
func placeOf(x *Exchange) int64 {
	h := fnv.New64a()
	fmt.Fprint(h, x.ID, " ", x.Begin.UnixNano())
	return int64(h.Sum64() >> 17)
}

// searchLater looks again at those whose records waited.
func (j *Joiner) searchLater(ctx context.Context, now time.Time, all bool) error {
	if now.Before(j.relook) && !all {
		return nil
	}
	j.relook = now.Add(sessionLook)
	later := j.later
	j.later = nil
	for _, x := range later {
		if err := j.failedSilently(ctx, x, now, all); err != nil {
			return err
		}
	}
	return nil
}
