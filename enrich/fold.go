package enrich

import (
	"hash/maphash"
	"strings"
	"time"
)

const (
	// foldWait is how long a finding waits for the same error in another file, where more than one is followed.
	foldWait = 300 * time.Millisecond
	// foldTime is how much later the same text of the same exchange is still the same error.
	foldTime = 2 * time.Second
)

// Folds remember which errors were found, so that what an app writes into two or three files becomes one entry.
type folds struct {
	seed  maphash.Seed
	first map[foldKey]*fold
	order []*fold
}

type foldKey struct {
	exchange string
	text     uint64
}

type fold struct {
	foldKey
	c    *candidate // nil once it was given out
	file string
	at   time.Time
}

func newFolds() *folds { return &folds{seed: maphash.MakeSeed(), first: map[foldKey]*fold{}} }

// add says whether the same error was found in another file. Then its place is added to the first finding, as long as that
// was not given out.
func (f *folds) add(c *candidate, now time.Time) bool {
	f.forget(now)
	key := foldKey{c.match.exchange.ID, maphash.String(f.seed, essence(c.finding.Record.Text))}
	first := f.first[key]
	if first == nil {
		first = &fold{key, c, c.finding.File, now}
		f.first[key] = first
		f.order = append(f.order, first)
		c.fold = first
	}
	if first.file == c.finding.File {
		return false
	}
	r := c.finding.Record
	release := c.finding.Release
	if first.c == nil {
		release()
		return true
	}
	to := &first.c.finding
	before := to.Release
	to.Also = append(to.Also, Place{c.finding.Path, r.Offset, r.Length})
	to.Release = func() { before(); release() }
	return true
}

func (f *folds) forget(now time.Time) {
	for len(f.order) > 0 && now.Sub(f.order[0].at) > foldTime {
		delete(f.first, f.order[0].foldKey)
		f.order[0] = nil
		f.order = f.order[1:]
	}
}

// essence is what two files have in common of one error: the trace, or of a record without one, all of it.
func essence(text string) string {
	if _, trace, _ := strings.Cut(text, "\n"); len(trace) > 40 {
		return trace
	}
	return text
}
