package enrich

import (
	"hash/maphash"
	"strconv"
	"strings"
	"time"

	"github.com/openreplay/log-sidecar/enrich/record"
)

const (
	// foldWait is how long a finding waits for the same error in another file, where more than one is followed.
	foldWait = 300 * time.Millisecond
	// foldTime is how much later the same text of the same exchange is still the same error.
	foldTime = 2 * time.Second
	// twinTime is how much apart the same error may seem to be written in two files.
	twinTime = 10 * time.Millisecond
	// maxTwins is how many of the latest are looked at: in a flood all may say the same.
	maxTwins = 64
	// foldsKept is how long what was found is remembered: a record may wait so long for its exchange. Of a flood, the latest are.
	foldsKept = enough + foldTime
	maxFolds  = 1024
)

// Folds remember which errors were found, so that what an app writes into two or three files becomes one entry.
type folds struct {
	seed  maphash.Seed
	first map[foldKey]*fold
	texts map[uint64][]*fold
	order []*fold
}

type foldKey struct {
	exchange string // its ID, or the session where only that is known
	text     uint64
}

type fold struct {
	foldKey
	c     *candidate // nil once it was given out
	file  string
	match match
	stamp time.Time // as the record has it
	wrote time.Time // when it was written, by our clock
	at    time.Time
}

func newFolds() *folds {
	return &folds{seed: maphash.MakeSeed(), first: map[foldKey]*fold{}, texts: map[uint64][]*fold{}}
}

// twin gives whose the same error is that another file has: what is known of one is known of both.
func (f *folds) twin(c *candidate) (of match) {
	if len(f.texts) == 0 {
		return of
	}
	r := c.finding.Record
	same, whose := f.texts[f.essence(c)], ""
	for _, other := range same[max(0, len(same)-maxTwins):] {
		switch {
		case other.file == c.finding.File:
		case fine(r.Time) && fine(other.stamp) && !r.Time.Equal(other.stamp):
		case c.source.written(r).Sub(other.wrote).Abs() > twinTime:
		case of.exchange != nil && whose != other.exchange:
			return match{}
		default:
			of, whose = other.match, other.exchange
		}
	}
	return of
}

func (f *folds) essence(c *candidate) uint64 {
	if c.essence == 0 {
		c.essence = maphash.String(f.seed, essence(c.finding.Record))
	}
	return c.essence
}

// add says whether the same error was found in another file. Then its place is added to the first finding, as long as that
// was not given out.
func (f *folds) add(c *candidate, now time.Time) bool {
	f.forget(now)
	r := c.finding.Record
	wrote := c.source.written(r)
	x := c.match.exchange
	key := foldKey{x.ID, f.essence(c)}
	if x.ID == "" {
		key.exchange = x.Session + strconv.FormatUint(x.SessionID, 10)
	}
	first := f.first[key]
	if first == nil || wrote.Sub(first.wrote).Abs() > foldTime {
		first = &fold{key, c, c.finding.File, c.match, r.Time, wrote, now}
		f.first[key] = first
		f.texts[key.text] = append(f.texts[key.text], first)
		f.order = append(f.order, first)
		c.fold = first
	}
	if first.file == c.finding.File {
		return false
	}
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
	for len(f.order) > 0 && (len(f.order) > maxFolds || now.Sub(f.order[0].at) > foldsKept) {
		old := f.order[0]
		if f.first[old.foldKey] == old {
			delete(f.first, old.foldKey)
		}
		if f.texts[old.text] = f.texts[old.text][1:]; len(f.texts[old.text]) == 0 { // they are in order there too
			delete(f.texts, old.text)
		}
		f.order[0] = nil
		f.order = f.order[1:]
	}
}

// essence is what two files have in common of one error: the trace, or of a record without one, the message without what stands
// in brackets before it. Tomcat writes [http-nio-8080-exec-3] to one file and, where that thread is gone by then, [47] to another.
func essence(r *record.Record) string {
	if _, trace, _ := strings.Cut(r.Text, "\n"); len(trace) > 40 {
		return trace
	}
	message := strings.TrimSpace(r.Message())
	for strings.HasPrefix(message, "[") {
		_, rest, closed := strings.Cut(message, "]")
		if rest = strings.TrimSpace(rest); !closed || rest == "" {
			break
		}
		message = rest
	}
	return message
}
