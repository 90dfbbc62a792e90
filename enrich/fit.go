package enrich

import (
	"math"
	"slices"
)

// A portrait is what is expected of the next record of a kind.
type portrait struct {
	classes [nclasses]float64
	leads   [nleads]float64
	nobody  float64
}

// What is expected before anything was seen: apps write most errors a few milliseconds before they answer.
var expected = portrait{
	classes: [nclasses]float64{served: 0.38, refused: 0.06, failed: 0.54, unanswered: 0.02},
	leads:   [nleads]float64{0.004, 0.006, 0.008, 0.008, 0.01, 0.012, 0.03, 0.12, 0.28, 0.14, 0.12, 0.09, 0.07, 0.05, 0.03, 0.012, 0.006, 0.004},
	nobody:  0.4,
}

const (
	// How many records it takes to believe a kind as much as the wider one that it is of.
	trustClass, trustLead, trustNobody = 2, 8, 1.5
	// surprise is the share of records that are written at another time than all others of their kind.
	surprise = 0.03
	rounds   = 8
	// oftenAgain is how often at least an exchange that has one record has another of another kind.
	oftenAgain = 0.3
)

// portraitOf gives what is expected of a kind by the groups that it is of, the widest last.
func portraitOf(groups []*group) portrait {
	p := expected
	for _, g := range slices.Backward(groups) {
		for c := range p.classes {
			p.classes[c] = (g.classes[c] + trustClass*p.classes[c]) / (g.n + trustClass)
		}
		for l := range p.leads {
			p.leads[l] = (g.leads[l] + trustLead*p.leads[l]) / (g.n + trustLead)
		}
		p.nobody = (g.nobody + trustNobody*p.nobody) / (g.n - g.sure + g.nobody + trustNobody)
	}
	return p
}

// at is the density of the leads at one of them, in a millisecond.
func (p *portrait) at(ms float64) float64 {
	l := leadOf(ms)
	return ((1-surprise)*p.leads[l] + surprise*expected.leads[l]) / l.width()
}

// fit shares out the sightings of a kind so that they fit each other best: by the routes that they come from, by how these
// exchanges end, and by how long before or after the answer they were written. Each is judged by the others alone. It is
// tried from two sides, since either way of looking at them proves itself: they are nobody's, or they are somebody's.
func (k *kind) fit() {
	for _, s := range k.seen {
		if !s.shared {
			s.shared, s.nobody = true, 1
		}
	}
	k.count(-1)
	share(k.seen, k.groups)
	k.count(1)
}

// count adds what the kind's sightings are to its groups, or takes it back.
func (k *kind) count(sign float64) {
	for _, g := range k.groups {
		for _, s := range k.seen {
			g.count(s, sign)
		}
	}
}

// share is fit for sightings that their groups do not count.
func share(seen []*sighting, groups []*group) {
	p := portraitOf(groups)
	f := newFit(seen, &p, groups[len(groups)-1])
	f.run(rounds)
	best, weights := f.score(), f.weights()
	f.presume()
	f.run(2 * rounds)
	if f.score() <= best {
		f.restore(weights)
	}
}

// beyondDoubt is how likely an owner must be to count as found.
const beyondDoubt = 0.8

// found is how many sightings other than s have an owner beyond doubt, of how many there are.
func (k *kind) found(s *sighting) (found, n int) {
	for _, other := range k.seen {
		if other == s {
			continue
		}
		n++
		if other.isFound() {
			found++
		}
	}
	return found, n
}

func (s *sighting) isFound() bool {
	return slices.ContainsFunc(s.parts, func(p part) bool { return p.weight >= beyondDoubt })
}

// fails is how many sightings other than s came from exchanges that failed, of how many that were somebody's.
func (k *kind) fails(s *sighting) (failing, n float64) {
	for _, other := range k.seen {
		if other == s {
			continue
		}
		for i := range other.parts {
			if n += other.parts[i].weight; other.parts[i].class == failed {
				failing += other.parts[i].weight
			}
		}
	}
	return failing, n
}

// A fit is the sums that a kind's sightings are shared out by.
type fit struct {
	seen    []*sighting
	parent  *portrait
	file    *group
	n       float64
	nobody  float64
	again   float64
	classes [nclasses]float64
	routes  []float64           // by number
	taken   []float64           // exchanges, by number
	near    [2 * middle]float64 // the density of the leads, over their steps
	sides   [][]side            // of each sighting's parts
	large   [][]int             // the parts of each sighting that matter

	byRoute, byLead blend
	odds            []float64 // of the sighting at hand
}

// A blend says how far what was seen of the kind itself is to be believed: how likely it is that one must have seen so many
// to know better than what is known of all. The last stands for never.
type blend [len(trusts)]float64

var trusts = [...]float64{1, 6, 30, math.Inf(1)}

// of gives the likelihood of what was seen in n of m cases and is expected with the likelihood p.
func (b *blend) of(n, m, p float64) (sum float64) {
	for i, trust := range trusts {
		sum += b[i] * trusted(n, m, p, trust)
	}
	return sum
}

func trusted(n, m, p, trust float64) float64 {
	if math.IsInf(trust, 1) {
		return p
	}
	return (n + trust*p) / (m + trust)
}

// learn counts how well each foretells a case of this weight.
func (b *blend) learn(n, m, p, weight float64) {
	for i, trust := range trusts {
		b[i] += weight * math.Log(trusted(n, m, p, trust))
	}
}

// settle turns what was counted into likelihoods.
func (b *blend) settle() {
	most := slices.Max(b[:])
	sum := 0.0
	for i := range b {
		b[i] = math.Exp(b[i] - most)
		sum += b[i]
	}
	for i := range b {
		b[i] /= sum
	}
}

// A side is what does not change of a part while it is shared out.
type side struct {
	route, to int       // their numbers
	from, end int       // the scale's steps that the lead may be at
	first     int       // the first step that the lead counts for
	alike     []float64 // how much it counts there, and at the next ones
	stretch   float64   // of the scale, summed over the steps that the lead may be at
	expected  float64   // the density of the leads there, by the wider kinds
	taken     float64   // records of the file that the exchange has already
}

func newFit(seen []*sighting, parent *portrait, file *group) *fit {
	f := &fit{seen: seen, parent: parent, file: file, large: make([][]int, len(seen)), sides: make([][]side, len(seen))}
	routes, names := map[string]int{}, map[exchangeName]int{}
	var expected [2 * middle]float64 // the density of the leads, by the wider kinds
	for i, step := range steps {
		expected[i] = parent.at(step.at)
	}
	for k, s := range seen {
		f.sides[k] = make([]side, len(s.parts))
		counts := make([]float64, 0, len(s.parts)*int(2*alike*perStep+1))
		for i := range s.parts {
			p := &s.parts[i]
			d := &f.sides[k][i]
			*d, counts = sideAt(p.lead, s.early, &expected, counts)
			d.route, d.to, d.taken = numberOf(routes, p.route), numberOf(names, p.to), file.taken.weight(p.to)
		}
	}
	f.routes, f.taken = make([]float64, len(routes)), make([]float64, len(names))
	return f
}

// sideAt is a part's side as far as its lead goes, which is not known better than early. What it counts is added to counts.
func sideAt(lead, early float64, expected *[2 * middle]float64, counts []float64) (d side, all []float64) {
	low, high := scaled(lead-early/2), scaled(lead+early/2)
	d.from, d.end = stepOf(low*perStep), stepOf(high*perStep)+1
	for step := d.from; step < d.end; step++ {
		d.stretch += steps[step].stretch
		d.expected += steps[step].stretch * expected[step]
	}
	d.expected /= d.stretch
	d.first = stepOf(math.Ceil((low - alike) * perStep))
	begin, sum := len(counts), 0.0
	for step := d.first; float64(step-middle) <= (high+alike)*perStep && step < 2*middle; step++ {
		at := float64(step-middle) / perStep
		like := likeness(max(0, low-at, at-high)) * steps[step].stretch // any moment is as likely as any other
		counts, sum = append(counts, like), sum+like
	}
	if d.alike = counts[begin:]; sum > 0 {
		for i := range d.alike {
			d.alike[i] *= perStep / sum
		}
	}
	return d, counts
}

// stepOf is the number of the scale's step next to a place on it.
func stepOf(place float64) int {
	return max(0, min(2*middle-1, int(math.Round(place))+middle))
}

// numberOf gives each of the keys a number, from 0 on.
func numberOf[T comparable](numbers map[T]int, key T) int {
	n, known := numbers[key]
	if !known {
		n = len(numbers)
		numbers[key] = n
	}
	return n
}

// Leads are compared on a scale on which two are alike that are less than one apart: 0.4 ms, or 12 %.
const (
	reach   = 80
	perStep = 2
	middle  = reach * perStep // the step of lead 0
	alike   = 1.5             // how far apart two leads may be to count for each other
)

func scaled(ms float64) float64 {
	return math.Copysign(math.Log1p(0.3*math.Abs(ms))/0.12, ms)
}

func unscaled(s float64) float64 { return math.Copysign(math.Expm1(0.12*math.Abs(s))/0.3, s) }

// steps are the scale's: where each is, and how much one of the scale is there, in milliseconds.
var steps = func() (all [2 * middle]struct{ at, stretch float64 }) {
	for i := range all {
		all[i].at = unscaled(float64(i-middle) / perStep)
		all[i].stretch = 0.4 + 0.12*math.Abs(all[i].at)
	}
	return all
}()

func likeness(distance float64) float64 { return max(0, 1-math.Abs(distance)/alike) / alike }

// sum counts all sightings as they are shared out now.
func (f *fit) sum() {
	f.n, f.nobody, f.again = 0, 0, 0
	f.classes, f.near = [nclasses]float64{}, [len(f.near)]float64{}
	clear(f.routes)
	clear(f.taken)
	for k, s := range f.seen {
		f.large[k] = f.large[k][:0]
		for i := range s.parts {
			if w := s.parts[i].weight; w >= 0.003 {
				f.large[k] = append(f.large[k], i)
				f.again += min(f.taken[f.sides[k][i].to], w)
			}
		}
		f.count(k, 1)
	}
	f.byRoute, f.byLead = blend{}, blend{}
	for k, s := range f.seen {
		f.count(k, -1)
		for _, i := range f.large[k] {
			p, d := &s.parts[i], &f.sides[k][i]
			f.byRoute.learn(f.routes[d.route], f.n, p.ofRoute, p.weight)
			f.byLead.learn(f.nearby(d), f.n, d.expected, p.weight)
		}
		f.count(k, 1)
	}
	f.byRoute.settle()
	f.byLead.settle()
}

// count adds a sighting to the sums, or takes it out: each is judged by the others.
func (f *fit) count(k int, sign float64) {
	s := f.seen[k]
	f.nobody = max(0, f.nobody+sign*s.nobody)
	for _, i := range f.large[k] {
		p, d := &s.parts[i], &f.sides[k][i]
		w := sign * p.weight
		f.n = max(0, f.n+w)
		f.classes[p.class] = max(0, f.classes[p.class]+w)
		f.routes[d.route] = max(0, f.routes[d.route]+w)
		f.taken[d.to] = max(0, f.taken[d.to]+w)
		for n, like := range d.alike {
			if at := d.first + n; at >= 0 && at < len(f.near) {
				f.near[at] = max(0, f.near[at]+w*like)
			}
		}
	}
}

// nearby is the density of the leads at a part's.
func (f *fit) nearby(d *side) float64 {
	sum := 0.0
	for step := d.from; step < d.end; step++ {
		sum += f.near[step]
	}
	return sum / d.stretch
}

func (f *fit) run(rounds int) {
	for range rounds {
		f.sum()
		moved := 0.0
		for k, s := range f.seen {
			if !s.sure {
				moved = max(moved, f.share(k))
			}
		}
		if moved < 0.001 {
			break
		}
	}
}

// share shares a sighting out anew, and says by how much that changed.
func (f *fit) share(k int) (moved float64) {
	s := f.seen[k]
	nobody, odds := f.oddsOf(k)
	sum := nobody
	for _, o := range odds {
		sum += o
	}
	moved = math.Abs(s.nobody - nobody/sum)
	s.nobody = nobody / sum
	for i, o := range odds {
		moved = max(moved, math.Abs(s.parts[i].weight-o/sum))
		s.parts[i].weight = o / sum
	}
	return moved
}

// oddsOf gives how likely a sighting is for nobody and for each exchange, by all other sightings.
func (f *fit) oddsOf(k int) (nobody float64, odds []float64) {
	f.count(k, -1)
	defer f.count(k, 1)
	s := f.seen[k]
	nobody = (f.nobody + trustNobody*f.parent.nobody) / (f.n + f.nobody + trustNobody)
	nobody = min(1, max(nobody, 0))
	odds = slices.Grow(f.odds[:0], len(s.parts))[:len(s.parts)]
	f.odds = odds
	for i := range s.parts {
		p, d := &s.parts[i], &f.sides[k][i]
		if p.other {
			odds[i] = 0
			continue
		}
		likely := (f.classes[p.class] + trustClass*f.parent.classes[p.class]) / (f.n + trustClass)
		if p.class == unanswered {
			likely = 1 // how it ends is not known, and says nothing
		}
		likely *= f.byRoute.of(f.routes[d.route], f.n, p.ofRoute)
		likely *= (1-surprise)*f.byLead.of(f.nearby(d), f.n, d.expected) + surprise*d.expected
		odds[i] = (1 - nobody) * likely / p.chance * f.spare(d)
	}
	return nobody, odds
}

// spare is how likely it is that an exchange that has such a record already wrote another.
func (f *fit) spare(d *side) float64 {
	spare := 1 - min(1, f.taken[d.to])*(1-(f.again+0.2)/(f.n+2))
	if d.taken > 0 {
		spare *= 1 - min(1, d.taken)*(1-max(oftenAgain, f.file.again()))
	}
	return spare
}

// score is how well all sightings are foretold, each by the others.
func (f *fit) score() (sum float64) {
	f.sum()
	for k := range f.seen {
		nobody, odds := f.oddsOf(k)
		for _, o := range odds {
			nobody += o
		}
		sum += math.Log(max(nobody, 1e-12))
	}
	return sum
}

// presume gives all sightings to those who were open then.
func (f *fit) presume() {
	for _, s := range f.seen {
		if s.sure || len(s.parts) == 0 {
			continue
		}
		sum := 0.05
		for i := range s.parts {
			p := &s.parts[i]
			p.weight = 0
			if !p.other && p.lead > -5 {
				p.weight = 1 / float64(len(s.parts))
			} else if !p.other {
				p.weight = 0.2 / float64(len(s.parts))
			}
			sum += p.weight
		}
		for i := range s.parts {
			s.parts[i].weight /= sum
		}
		s.nobody = 0.05 / sum
	}
}

// weights and restore keep how the sightings are shared out.
func (f *fit) weights() (w [][]float64) {
	for _, s := range f.seen {
		one := make([]float64, 1, len(s.parts)+1)
		one[0] = s.nobody
		for i := range s.parts {
			one = append(one, s.parts[i].weight)
		}
		w = append(w, one)
	}
	return w
}

func (f *fit) restore(w [][]float64) {
	for k, s := range f.seen {
		s.nobody = w[k][0]
		for i := range s.parts {
			s.parts[i].weight = w[k][i+1]
		}
	}
}
