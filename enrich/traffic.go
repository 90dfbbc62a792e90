package enrich

import (
	"strings"
	"time"
)

// Traffic is what the proxy sees whatever is logged: how often answers come, of which routes, how they end and how long they
// take. It tells how easily a record and an exchange meet by chance.
type traffic struct {
	until  time.Time
	routes map[string]*[nclasses]float64
	total  float64
	lasted [nleads]float64 // how many exchanges took that long
	slots  [1024]slot      // how many were answered in the last minute
}

type slot struct {
	begin int64 // in units of slotTime
	n     int
}

const (
	slotTime = 50 * time.Millisecond
	// lately is how much before a record tells how busy it was then.
	lately = 20 * slotTime
	// manyRoutes bounds what is remembered of routes; memory of what was long ago is halved with each manyAnswers.
	manyRoutes, manyAnswers = 2048, 20000
)

// watch takes in what was answered until now.
func (t *traffic) watch(now time.Time, seen Exchanges) {
	from := t.until
	if start := now.Add(-3 * time.Second); from.Before(start) {
		from = start
	}
	if !now.After(from) {
		return
	}
	seen.During(from, now, func(x Exchange) bool {
		if x.End.After(from) && !x.End.After(now) {
			t.add(&x)
		}
		return true
	})
	t.until = now
}

func (t *traffic) add(x *Exchange) {
	name := routeOf(x)
	if t.routes == nil || len(t.routes) >= manyRoutes && t.routes[name] == nil {
		t.routes, t.total = map[string]*[nclasses]float64{}, 0
	}
	r := t.routes[name]
	if r == nil {
		r = new([nclasses]float64)
		t.routes[name] = r
	}
	r[classOf(x)]++
	t.total++
	t.lasted[leadOf(milliseconds(answered(x).Sub(x.Begin)))]++
	at := answered(x).UnixNano() / int64(slotTime)
	s := &t.slots[at%int64(len(t.slots))]
	if s.begin != at {
		*s = slot{begin: at}
	}
	s.n++
	if t.total > manyAnswers {
		t.halve()
	}
}

func (t *traffic) halve() {
	t.total = 0
	for name, r := range t.routes {
		sum := 0.0
		for c := range r {
			r[c] /= 2
			sum += r[c]
		}
		if t.total += sum; sum < 0.5 {
			delete(t.routes, name)
			t.total -= sum
		}
	}
	for i := range t.lasted {
		t.lasted[i] /= 2
	}
}

// rate is how many exchanges were answered in a millisecond around t.
func (t *traffic) rate(at time.Time) float64 {
	last := at.UnixNano()/int64(slotTime) + 1
	n := 0
	for begin := last - int64(lately/slotTime); begin <= last; begin++ {
		if s := &t.slots[begin%int64(len(t.slots))]; s.begin == begin {
			n += s.n
		}
	}
	return (float64(n) + 0.5) / milliseconds(lately+slotTime)
}

// share is what part of all exchanges is of a route, and ends so.
func (t *traffic) share(route string, c class) (ofRoute, ofBoth float64) {
	r := t.routes[route]
	if r == nil {
		r = new([nclasses]float64)
	}
	sum := 0.0
	for _, n := range r {
		sum += n
	}
	ofRoute = (sum + 0.5) / (t.total + 5)
	if c == unanswered {
		return ofRoute, ofRoute
	}
	return ofRoute, (r[c] + 0.2) / (t.total + 5)
}

// lasts is what part of all exchanges takes at least as long as the lead.
func (t *traffic) lasts(l lead) float64 {
	sum, all := 0.0, 0.0
	for i, n := range t.lasted {
		if all += n; lead(i) >= l {
			sum += n
		}
	}
	return (sum + 0.5) / (all + 1)
}

// routeOf is the method and the path without what differs from one time to the next.
func routeOf(x *Exchange) string {
	path, _, _ := strings.Cut(x.Target, "?")
	var b strings.Builder
	b.WriteString(x.Method)
	for part := range strings.SplitSeq(path[:min(len(path), 200)], "/") {
		b.WriteByte('/')
		switch digits := strings.ContainsAny(part, "0123456789"); {
		case digits && len(part) > 3 || digits && strings.Trim(part, "0123456789") == "":
			b.WriteByte('*')
		default:
			b.WriteString(part)
		}
	}
	return b.String()
}

// A class is how an exchange ended.
type class int

const (
	served class = iota
	refused
	failed
	unanswered
	nclasses
)

func classOf(x *Exchange) class {
	switch {
	case answered(x).IsZero():
		return unanswered
	case x.Status >= 500:
		return failed
	case x.Status >= 400:
		return refused
	}
	return served
}

// answered is when the answer began; where the app gave none, when the client was told.
func answered(x *Exchange) time.Time {
	if x.Head.IsZero() {
		return x.End
	}
	return x.Head
}

// A lead is by how much a record was ahead of the answer, in steps; negative ones are behind it.
type lead int

// The upper bounds of the leads, in milliseconds; the last has none.
var leads = [...]float64{-120, -60, -30, -15, -8, -4, -2, 0, 2, 4, 8, 15, 30, 60, 120, 500, 2000}

const nleads = len(leads) + 1

func leadOf(ms float64) lead {
	for i, upper := range leads {
		if ms < upper {
			return lead(i)
		}
	}
	return lead(len(leads))
}

// width of a lead, in milliseconds.
func (l lead) width() float64 {
	switch {
	case l == 0:
		return 500
	case int(l) == len(leads):
		return 8000
	}
	return leads[l] - leads[l-1]
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// partOf gives what x has to do with a sighting at t, before it is shared out.
func (t *traffic) partOf(x *Exchange, s *sighting, at, now time.Time) part {
	p := part{to: nameFor(x), route: routeOf(x), class: classOf(x), lead: leadAt(x, at, now) + s.early/2}
	t.expect(&p, s.rate)
	return p
}

// expect says how easily chance brings an exchange like the one of a part.
func (t *traffic) expect(p *part, rate float64) {
	ofRoute, ofBoth := t.share(p.route, p.class)
	p.ofRoute, p.chance = ofRoute, rate*ofBoth
	if p.lead > 0 {
		p.chance *= t.lasts(leadOf(p.lead))
	}
}
