package enrich

import (
	"cmp"
	"context"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/openreplay/log-sidecar/enrich/record"
	"github.com/openreplay/log-sidecar/enrich/tail"
)

// Hindsight matches a log that is read long after it was written: the records' own times stand for their arrival. Where those
// are whole seconds, only what is alone in such a second is inferred; a record without a time has its IDs alone.
type Hindsight struct {
	Config
	From, To time.Time // when the first exchange began and the last one ended
}

// literal has a glob mean one path.
var literal = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)

// Match reads the file and gives Out what the joiner would have given, and all other error records with Config.Unmatched.
func (h Hindsight) Match(ctx context.Context, path string) error {
	shift, slack, err := h.clockOf(path)
	if err != nil {
		return err
	}
	view := &hindView{Exchanges: h.Exchanges, slack: slack, blind: slack < 0}
	if h.Config.Exchanges = view; slack != 0 {
		h.Infer = min(h.Infer, InferPath)
	}
	logs, err := tail.New(tail.Config{Globs: []string{literal.Replace(path)}, From: tail.Beginning})
	if err != nil {
		return err
	}
	defer logs.Close()
	past := &past{h: h, j: New(h.Config), cut: record.New(record.Options{All: true}, nil), shift: shift}
	if view.blind {
		past.now = h.To
	}
	past.j.afterwards = true
	past.j.begin(time.Time{}) // nothing stood there before
	ended, end := context.WithCancel(ctx)
	end() // Run reads to the present end and returns
	if err := logs.Run(ended, func(b *tail.Block) error { return past.read(ctx, b) }); err != nil {
		return err
	}
	return past.finish(ctx)
}

// sampled is how many bytes of a file tell of its stamps.
const sampled = 8 << 20

// clockOf says what is to be added to the file's stamps that name no zone, so that most are from when there were exchanges,
// and how much later than its stamp a line may have been written: negative where there are no stamps.
func (h Hindsight) clockOf(path string) (shift, slack time.Duration, err error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, 0, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, sampled))
	if err != nil {
		return 0, 0, err
	}
	slack = -1
	var local []time.Time
	take := func(r *record.Record) {
		switch {
		case r.Time.IsZero():
		case fine(r.Time):
			slack = 0
		case slack < 0:
			slack = time.Second
		}
		if !r.Time.IsZero() && !r.ZoneGiven {
			local = append(local, r.Time)
		}
	}
	s := record.New(record.Options{All: true}, nil)
	s.Feed(0, data, time.Time{}, take)
	s.Flush(take)
	return h.shiftOf(local), slack, nil
}

func (h Hindsight) shiftOf(local []time.Time) (best time.Duration) {
	const step, most = 15 * time.Minute, 14 * time.Hour
	within := func(shift time.Duration) (n int) {
		for _, t := range local {
			if t = t.Add(shift); t.After(h.From.Add(-time.Second)) && t.Before(h.To.Add(time.Second)) {
				n++
			}
		}
		return n
	}
	n := within(0)
	for shift := step; shift <= most; shift += step {
		for _, shift := range []time.Duration{shift, -shift} {
			if m := within(shift); m > n {
				best, n = shift, m
			}
		}
	}
	return best
}

// A hindView shows all exchanges of the moment that a line may have been written in.
type hindView struct {
	Exchanges
	slack time.Duration
	blind bool
}

func (v *hindView) During(from, to time.Time, yield func(Exchange) bool) {
	if !v.blind {
		v.Exchanges.During(from, to.Add(v.slack), yield)
	}
}

func (v *hindView) ByUpstream(addr netip.AddrPort, at time.Time, yield func(Exchange) bool) {
	if v.slack == 0 { // a connection serves many within a second
		v.Exchanges.ByUpstream(addr, at, yield)
	}
}

// EvictedSince is about what was forgotten under load: here all is there that was recorded.
func (v *hindView) EvictedSince(time.Time) bool { return v.blind }

// A past has the joiner live through a file.
type past struct {
	h     Hindsight
	j     *Joiner
	cut   *record.Splitter
	shift time.Duration

	file    *tail.File
	pending []byte // what was not given on
	base    int64  // where it stands in the file
	marks   []mark
	now     time.Time
}

type mark struct {
	offset int64
	at     time.Time
}

func (p *past) take(r *record.Record) {
	t := r.Time
	if !t.IsZero() && !r.ZoneGiven {
		t = t.Add(p.shift)
	}
	if fine(t) {
		t = t.Add(time.Millisecond) // it is cut off to whole ones, and could be before its exchange
	}
	p.marks = append(p.marks, mark{r.Offset, t})
}

func (p *past) read(ctx context.Context, b *tail.Block) error {
	if len(p.pending) == 0 {
		p.base = b.Offset
	}
	p.file = b.File
	p.pending = append(p.pending, b.Data...)
	p.cut.Feed(b.Offset, b.Data, time.Time{}, p.take)
	return p.give(ctx)
}

// give hands on all records whose end is known.
func (p *past) give(ctx context.Context) error {
	slices.SortFunc(p.marks, func(a, b mark) int { return cmp.Compare(a.offset, b.offset) })
	for i := 0; i+1 < len(p.marks); i++ {
		if err := p.live(ctx, p.marks[i], p.marks[i+1].offset); err != nil {
			return err
		}
	}
	p.marks = slices.Delete(p.marks, 0, max(0, len(p.marks)-1))
	return nil
}

// live lets time pass until a record was written, and has it read up to end.
func (p *past) live(ctx context.Context, m mark, end int64) error {
	n := min(end-p.base, int64(len(p.pending)))
	if n <= 0 {
		return nil
	}
	if p.now.IsZero() && m.at.IsZero() {
		m.at = p.h.From
	}
	if m.at.After(p.now) && m.at.Before(p.h.To.Add(aDay)) {
		if err := p.pass(ctx, m.at); err != nil {
			return err
		}
	}
	b := &tail.Block{File: p.file, Offset: p.base, Data: p.pending[:n], Arrived: p.now}
	p.base, p.pending = p.base+n, p.pending[n:]
	return p.j.Read(ctx, b)
}

// aDay bounds what is believed of stamps that are later than all exchanges.
const aDay = 24 * time.Hour

// pass lets time pass until t. Nothing waits for longer than some seconds.
func (p *past) pass(ctx context.Context, t time.Time) error {
	for next := p.j.nextLook(); !next.IsZero() && next.Before(t); next = p.j.nextLook() {
		if next.After(p.now) {
			p.now = next
		}
		if err := p.j.pass(ctx, p.now, 0); err != nil {
			return err
		}
	}
	p.now = t
	return nil
}

func (p *past) finish(ctx context.Context) error {
	if p.file == nil {
		return nil
	}
	p.cut.Flush(p.take)
	if err := p.give(ctx); err != nil {
		return err
	}
	for _, m := range p.marks {
		if err := p.live(ctx, m, p.base+int64(len(p.pending))); err != nil {
			return err
		}
	}
	if err := p.pass(ctx, p.now.Add(2*enough)); err != nil {
		return err
	}
	return p.j.Finish(ctx)
}
