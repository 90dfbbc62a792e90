package enrich

import (
	"slices"
	"strings"
	"time"
)

const (
	// slip is how much later than it was written a line may arrive where nothing holds it up.
	slip = 5 * time.Millisecond
	// settling is how long after a record the answers are awaited that may follow on it.
	settling = 80 * time.Millisecond
	// enough is how long a record waits for its exchange's end, or for evidence.
	enough = 10 * time.Second
	// streaming is how long after its head an exchange that goes on streaming may have written a record.
	streaming = 3 * time.Second
	// behind is how long before a record an exchange may have ended that wrote it: some work goes on behind the answer, and
	// bytes may be held up on their way.
	behind = 160 * time.Millisecond
	// maxNear is how many exchanges are weighed for one record.
	maxNear = 64
)

// An observation is what the proxy saw when a record was written.
type observation struct {
	at    time.Time
	early time.Duration // by how much earlier it may have been
	open  []*Exchange   // those that were open then or had just ended
	near  []*Exchange   // these, and those that had ended not long before
	blind bool          // it cannot be known who was there

	sighting *sighting // nil until it is shared out
	looked   bool      // other lines were looked at
	shown    time.Time // when its kind was last told of it
}

func (j *Joiner) observe(c *candidate) *observation {
	r := c.finding.Record
	o := &observation{at: c.source.written(r), early: c.source.spread(r)}
	o.blind = j.afterwards && r.Time.IsZero() || o.early > behind || c.source.late(r) || c.source.backlog(r) || j.config.Exchanges.EvictedSince(o.at.Add(-slip))
	if !o.blind {
		o.near, o.blind = j.nearAt(o.at)
	}
	for _, x := range o.near {
		if x.End.IsZero() || !x.End.Before(o.at.Add(-slip)) {
			o.open = append(o.open, x)
		}
	}
	return o
}

// nearAt gives the exchanges that were open at t or had ended not long before; where these are too many, it is blind.
func (j *Joiner) nearAt(t time.Time) (near []*Exchange, blind bool) {
	for back := behind; back == behind || len(near) > maxNear; back /= 4 {
		if back < slip {
			return near, true
		}
		near = near[:0]
		j.config.Exchanges.During(t.Add(-back), t, func(x Exchange) bool {
			if !x.Streams || x.Head.IsZero() || t.Sub(x.Head) < streaming {
				x.IDs = nil // they would be most of what a waiting record keeps in memory
				near = append(near, &x)
			}
			return len(near) <= maxNear
		})
	}
	return near, false
}

// refresh takes in what became of the exchanges whose answer was not known yet.
func (j *Joiner) refresh(o *observation) {
	for i, x := range o.near {
		if !x.End.IsZero() {
			continue
		}
		now := *j.now(x)
		now.IDs = nil
		o.near[i] = &now
		if k := slices.Index(o.open, x); k >= 0 {
			o.open[k] = &now
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
	if m := j.folds.twin(c); m.exchange != nil {
		return m
	}
	if !o.looked {
		o.looked = true
		if m := j.byOtherLines(c, now); m.exchange != nil {
			return m
		}
	}
	switch {
	case o.blind:
		return match{reason: blind, wait: true} // an answer may yet give its ID away
	case !o.ready(now):
		return match{reason: noID, wait: true}
	}
	last := !now.Before(c.until)
	j.weigh(c, now, last)
	for _, way := range ways {
		if c.source.ways.off(way.name) || !j.config.Infer.allows(way.name) {
			continue
		}
		if x := way.find(j, c, last, now); x != nil {
			return match{exchange: j.now(x), by: way.name, inferred: true}
		}
	}
	switch {
	case len(o.open) == 0:
		return match{reason: nobody, wait: len(o.near) > 0}
	case len(o.open) == 1:
		return match{reason: noEvidence, wait: true}
	}
	return match{reason: ambiguous, wait: true}
}

// weigh shares a record out over the exchanges that may have written it, by what is known of its kind from other records.
func (j *Joiner) weigh(c *candidate, now time.Time, last bool) {
	j.show(c, now)
	k := c.kind
	if k.changed && (last || len(k.seen) < maxSeen || now.Sub(k.fitted) > fitting) {
		k.fit()
		k.changed, k.fitted = false, now
	}
}

// ready says whether all is there by now that tells on the record.
func (o *observation) ready(now time.Time) bool {
	return o.looked && !o.blind && (now.Sub(o.at) >= settling || len(o.near) == 0)
}

// show lets the record's kind know what became of the exchanges that may have written it.
func (j *Joiner) show(c *candidate, now time.Time) {
	o, k := c.observed, j.evidence.kindOf(c)
	if o.shown.Equal(now) {
		return
	}
	o.shown = now
	j.refresh(o)
	if o.sighting == nil {
		j.evidence.traffic.watch(now, j.config.Exchanges)
		o.sighting = &sighting{at: o.at, early: milliseconds(o.early), rate: j.evidence.traffic.rate(o.at), parts: make([]part, len(o.near))}
		k.add(o.sighting)
	}
	named := c.names(o.near)
	for i, x := range o.near {
		p := &o.sighting.parts[i]
		if p.chance != 0 && p.class != unanswered {
			continue
		}
		before := *p
		*p = j.evidence.traffic.partOf(x, o.sighting, o.at, now)
		p.weight, p.other = before.weight, named != nil && !named[i]
		k.changed = k.changed || *p != before
	}
}

// fitting is how often a kind that was seen many times is shared out anew.
const fitting = 300 * time.Millisecond

// settle tells a sighting whose it was.
func (s *sighting) settle(x *Exchange) {
	s.sure, s.nobody = true, 0
	for i := range s.parts {
		s.parts[i].weight = 0
		if s.parts[i].to == nameFor(x) {
			s.parts[i].weight = 1
		}
	}
}

func nameFor(x *Exchange) exchangeName { return exchangeName{x.Ref, x.Begin.UnixNano()} }

// leadAt is how long after t the answer came; of one that is awaited still, how long it has been awaited.
func leadAt(x *Exchange, t, now time.Time) float64 {
	at := answered(x)
	if at.IsZero() {
		at = now
	}
	return milliseconds(at.Sub(t))
}

// names says which exchanges are of the request that the record names; nil where it names none that is among them.
func (c *candidate) names(near []*Exchange) (fits []bool) {
	r := c.finding.Record
	if r.Path == "" {
		return nil
	}
	some := r.Method != ""
	fits = make([]bool, len(near))
	for i, x := range near {
		fits[i] = isOf(x, r.Method, r.Path, r.Query) && (r.Status < 400 || x.Status == 0 || x.Status == r.Status)
		some = some || fits[i]
	}
	if !some {
		return nil
	}
	return fits
}

// The inferred ways that need no other line, the strongest first.
var ways = []struct {
	name string
	find func(j *Joiner, c *candidate, last bool, now time.Time) *Exchange
}{
	{byPath, (*Joiner).onPath},
	{byKind, (*Joiner).ofKind},
}

// onPath gives the one exchange that is of the request the record names; of several, the one that evidence speaks for, if no
// other one of them failed about then.
func (j *Joiner) onPath(c *candidate, last bool, _ time.Time) *Exchange {
	near := c.observed.near
	var fit []*Exchange
	for i, fits := range c.names(near) {
		if fits {
			fit = append(fit, near[i])
		}
	}
	switch len(fit) {
	case 0:
		return nil
	case 1:
		return fit[0]
	}
	if x := j.likeliest(c, last); x != nil && c.observed.sighting.alone(x) {
		return x
	}
	return nil
}

// isOf says whether an exchange is of a request, as far as it is named. Loggers leave the query out.
func isOf(x *Exchange, method, path, query string) bool {
	xpath, xquery, _ := strings.Cut(x.Target, "?")
	return xpath == path && (method == "" || x.Method == method) && (query == "" || xquery == query)
}

// convincing is how likely it must be that an exchange wrote a record, at once and when no more is awaited.
const convincing, convincingAtLast = 0.98, 0.96

// ofKind gives the exchange that what is known of the record's kind speaks for, if chance does not find somebody for such
// records as easily. There is no link but the moment, and chance finds somebody for every record, of a background job too. Where
// chance cannot be told from it, the exchange must at least have failed, as the only one about then, and some of the kind must
// have found their own.
func (j *Joiner) ofKind(c *candidate, last bool, now time.Time) *Exchange {
	x, s := j.likeliest(c, last), c.observed.sighting
	if x == nil {
		return nil
	}
	found, owned, doubt := j.doubt(c, now)
	switch {
	case found < enoughFound, classOf(x) == failed && !s.alone(x) && s.weight(x) < beyondRivals:
		return nil
	case doubt <= beyondChance, doubt <= notByChance && classOf(x) == failed && owned >= enoughOwned:
		return x
	}
	return nil
}

// Of the records of a kind that have found somebody, so many may be somebody else's: where nothing else is asked for, and where
// it is.
const beyondChance, notByChance = 0.05, 0.3

// enoughOwned is what share of a kind must have found somebody where its doubt is larger, and enoughFound is how many others must
// have in any case: of two records of a background job one finds somebody easily.
const enoughOwned, enoughFound = 0.3, 3

// beyondRivals is how likely it must be that an exchange wrote a record where another one failed about then.
const beyondRivals = 0.999

func (s *sighting) weight(x *Exchange) (sum float64) {
	for _, p := range s.parts {
		if p.to == nameFor(x) {
			sum += p.weight
		}
	}
	return sum
}

// alone says that no other exchange which may have written the record failed about then, or may yet.
func (s *sighting) alone(x *Exchange) bool {
	own := nameFor(x)
	return !slices.ContainsFunc(s.parts, func(p part) bool {
		return p.to != own && !p.other && (p.class == failed || p.class == unanswered) && p.lead > -justBefore
	})
}

// justBefore is within how many milliseconds before a record another answer may have failed that it was written for.
const justBefore = 15

func (j *Joiner) likeliest(c *candidate, last bool) *Exchange {
	least := convincing
	if last {
		least = convincingAtLast
	}
	o := c.observed
	for i, p := range o.sighting.parts {
		if p.weight >= least && !o.near[i].End.IsZero() {
			return o.near[i]
		}
	}
	return nil
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

// audit infers silently what is known for sure, and learns from it.
func (j *Joiner) audit(c *candidate, now time.Time) {
	x, o := c.match.exchange, c.observed
	if o == nil || o.blind || x.End.IsZero() {
		return
	}
	if c.match.ofConnection() && x.End.Before(o.at.Add(-slip)) {
		if j.refresh(o); o.mayFail() {
			return // not certain enough to learn from
		}
	}
	if k := j.evidence.kindOf(c); len(k.seen) >= maxSeen && now.Sub(k.fitted) < fitting {
		return
	}
	j.weigh(c, now, true)
	for _, way := range ways {
		if got := way.find(j, c, true, now); got != nil {
			agreed := nameFor(got) == nameFor(x)
			c.source.ways.count(way.name, agreed)
			j.metrics.agreement.WithLabelValues(way.name, map[bool]string{true: "yes", false: "no"}[agreed]).Inc()
		}
	}
	for _, g := range c.kind.groups {
		g.count(o.sighting, -1)
	}
	o.sighting.settle(x)
	for _, g := range c.kind.groups {
		g.count(o.sighting, 1)
	}
	c.kind.changed = true
}

// contradicted says whether evidence speaks against the connection's exchange, which had ended when the record was written. A
// request that was sent anew on another connection leaves its errors under the old one's name: errors of this kind come from
// exchanges that fail, and not this one has failed just now but another one that was open.
func (j *Joiner) contradicted(c *candidate, now time.Time) bool {
	x, o := c.match.exchange, c.observed
	if x == nil || !c.afterwards() || o.blind {
		return false
	}
	if classOf(x) == failed && o.at.Sub(x.End) < heldUp {
		return false
	}
	j.refresh(o)
	if fails, n := j.evidence.kindOf(c).fails(o.sighting); n >= 1 {
		return fails > n/2
	}
	return o.mayFail()
}

// mayFail says whether an exchange that was open failed, or still may.
func (o *observation) mayFail() bool {
	return slices.ContainsFunc(o.open, func(x *Exchange) bool { return classOf(x) == failed || x.End.IsZero() })
}

// heldUp is by how much a line may be held up on its way on a machine that is busy.
const heldUp = 200 * time.Millisecond

// afterwards says whether the connection's exchange had ended when the record was written, and others were open: whether
// one of them fails is to be seen.
func (c *candidate) afterwards() bool {
	x, o := c.match.exchange, c.observed
	return c.match.ofConnection() && !x.End.IsZero() && o.at.Sub(x.End) > slip && len(o.open) > 0
}
