package enrich

import (
	"slices"
	"strings"
	"time"
)

const (
	// slip is how much later than it was written a line may arrive. An app answers right after it wrote of its error, so
	// that the exchange has ended by then.
	slip = 5 * time.Millisecond
	// settling is how long after a record the answers are awaited that may follow on it.
	settling = 80 * time.Millisecond
	// enough is how long a record waits for its exchange's end, or for evidence.
	enough = 10 * time.Second
	// streaming is how long after its head an exchange that goes on streaming may have written a record.
	streaming = 3 * time.Second
	// maxOpen is how many exchanges open at once are looked at.
	maxOpen = 64
)

// An observation is what the proxy saw when a record was written.
type observation struct {
	at      time.Time
	open    []*Exchange // those that may have written it
	blind   bool        // it cannot be known who was there
	learned bool        // it has counted as evidence
	looked  bool        // other lines were looked at
}

func (j *Joiner) observe(c *candidate) *observation {
	r := c.finding.Record
	o := &observation{at: c.source.written(r)}
	from := o.at.Add(-slip)
	o.blind = c.source.late(r) || c.source.backlog(r) || j.config.Exchanges.EvictedSince(from)
	if o.blind {
		return o
	}
	j.config.Exchanges.During(from, o.at, func(x Exchange) bool {
		if !x.Streams || x.Head.IsZero() || o.at.Sub(x.Head) < streaming {
			o.open = append(o.open, &x)
		}
		o.blind = len(o.open) > maxOpen
		return !o.blind
	})
	return o
}

// refresh takes in what became of the exchanges whose answer was not known yet.
func (j *Joiner) refresh(o *observation) {
	for i, x := range o.open {
		if x.End.IsZero() {
			o.open[i] = j.now(x)
		}
	}
}

// infer looks for the one exchange that evidence speaks for. It never guesses between two.
func (j *Joiner) infer(c *candidate, now time.Time) match {
	o := c.observed
	// What an answer's head or body gives away is known only after the record was written.
	if m := j.byWords(c.source, c.finding.Record); m.exchange != nil || m.reason == ambiguous {
		return m
	}
	if !o.looked {
		o.looked = true
		if m := j.byOtherLines(c); m.exchange != nil {
			return m
		}
	}
	settled := now.Sub(o.at) >= settling
	switch {
	case o.blind:
		return none(blind)
	case !settled && len(o.open) > 0:
		return match{reason: noID, wait: true}
	}
	j.refresh(o)
	if !o.learned {
		o.learned = true
		j.grown++
		j.evidence.learn(c, nil, j.config.Exchanges)
	}
	for _, way := range ways {
		if c.source.ways.off(way.name) || !j.config.Infer.allows(way.name) {
			continue
		}
		if x := way.find(j, c); x != nil {
			return match{exchange: x, by: way.name, inferred: true}
		}
	}
	switch {
	case len(o.open) == 0:
		return none(nobody)
	case len(o.open) == 1:
		return match{reason: noEvidence, wait: true}
	}
	return match{reason: ambiguous, wait: true}
}

// The inferred ways that need no other line, the strongest first.
var ways = []struct {
	name string
	find func(*Joiner, *candidate) *Exchange
}{
	{byPath, (*Joiner).onPath},
	{byKind, (*Joiner).failing},
}

// onPath gives the one exchange that is of the request the record names. Of several, the one that failed as errors of
// this kind do.
func (j *Joiner) onPath(c *candidate) *Exchange {
	r := c.finding.Record
	if r.Path == "" {
		return nil
	}
	var fit []*Exchange
	for _, x := range c.observed.open {
		if isOf(x, r.Method, r.Path, r.Query) && (r.Status < 400 || x.Status == 0 || x.Status == r.Status) {
			fit = append(fit, x)
		}
	}
	if len(fit) > 1 {
		if failed := only(fit, func(x *Exchange) bool { return x.Status >= 500 }); failed != nil && j.evidence.trusts(c, failures) {
			return failed
		}
		return nil
	}
	return first(fit)
}

// isOf says whether an exchange is of a request, as far as it is named. Loggers leave the query out.
func isOf(x *Exchange, method, path, query string) bool {
	xpath, xquery, _ := strings.Cut(x.Target, "?")
	return xpath == path && (method == "" || x.Method == method) && (query == "" || xquery == query)
}

// failing gives the one exchange whose answer failed just when the record was written, where errors of this kind are known
// to make answers fail.
func (j *Joiner) failing(c *candidate) *Exchange {
	for s := range signs {
		if sign(s) < present && j.evidence.trusts(c, sign(s)) {
			o := c.observed
			return only(o.open, func(x *Exchange) bool { return sign(s).of(x, o.at) })
		}
	}
	return nil
}

// only gives the exchange that fits, if no other does.
func only(list []*Exchange, fits func(*Exchange) bool) (found *Exchange) {
	for _, x := range list {
		if fits(x) {
			if found != nil {
				return nil
			}
			found = x
		}
	}
	return found
}

func first(list []*Exchange) *Exchange {
	if len(list) == 1 {
		return list[0]
	}
	return nil
}

// A tally counts how often inferred ways agreed with exact matches in one file.
type tally map[string]*struct{ agreed, differed int }

func (t tally) count(way string, agreed bool) {
	n := t[way]
	if n == nil {
		n = new(struct{ agreed, differed int })
		t[way] = n
	}
	if agreed {
		n.agreed++
	} else {
		n.differed++
	}
}

// off says whether a way was wrong too often here to be used.
func (t tally) off(way string) bool {
	n := t[way]
	return n != nil && n.agreed < 99*n.differed
}

// audit infers silently what is known for sure.
func (j *Joiner) audit(c *candidate) {
	x := c.match.exchange
	if c.observed == nil || c.observed.blind || x.End.IsZero() {
		return
	}
	j.refresh(c.observed)
	if c.match.by == byConnection && !failures.of(x, c.observed.at) && slices.ContainsFunc(c.observed.open, func(x *Exchange) bool { return failures.of(x, c.observed.at) }) {
		return // not certain enough to learn from
	}
	for _, way := range ways {
		if got := way.find(j, c); got != nil {
			agreed := got.Ref == x.Ref && got.ID == x.ID
			c.source.ways.count(way.name, agreed)
			j.metrics.agreement.WithLabelValues(way.name, map[bool]string{true: "yes", false: "no"}[agreed]).Inc()
		}
	}
	j.evidence.learn(c, x, j.config.Exchanges)
}
