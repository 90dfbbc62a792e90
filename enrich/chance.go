package enrich

import "time"

// A trial says how often chance finds somebody for a kind's records: the same ones, moved to other moments, are shared out in the
// same way, and whoever is found there is not their own.
type trial struct {
	added  int // sightings of the kind when it was made
	at     time.Time
	found  int
	n      int
	shifts int // how many of them were tried
}

// shifts are by how much records are moved: further than any is held up, and not so far that other people are there.
var shifts = [...]time.Duration{-1700 * time.Millisecond, -1100 * time.Millisecond, -700 * time.Millisecond, -450 * time.Millisecond,
	450 * time.Millisecond, 700 * time.Millisecond, 1100 * time.Millisecond, 1700 * time.Millisecond}

const (
	// answersIn is after what time most exchanges are over.
	answersIn = 300 * time.Millisecond
	// trialEvery is how often a kind is tried anew of which not many more were seen.
	trialEvery = 30 * time.Second
)

// doubt gives how many of the other records of c's kind have found somebody, what share of them that is, and what share of
// these is somebody else's. Those that have found nobody tell how many are nobody's at most, and the trial how many of these
// chance finds somebody for (J. Storey, A direct approach to false discovery rates, 2002).
func (j *Joiner) doubt(c *candidate, now time.Time) (found int, owned, doubt float64) {
	k := j.evidence.kindOf(c)
	found, n := k.found(c.observed.sighting)
	if found == 0 {
		return 0, 0, 1
	}
	j.try(k, now)
	chance := float64(k.trial.found+2) / float64(k.trial.n+4) // few trials prove little
	nobodys := min(1, float64(n-found+1)/float64(n+1)/(1-chance))
	owned = float64(found) / float64(n)
	return found, owned, nobodys * chance / owned
}

// try makes a trial of the kind, if it has changed much since the last: by one shift at each call, unless it is the first.
func (j *Joiner) try(k *kind, now time.Time) {
	if t := &k.trial; t.n > 0 && 2*k.added < 3*t.added && now.Sub(t.at) < trialEvery {
		return
	}
	t := &k.underway
	if t.shifts == 0 {
		*t = trial{added: k.added, at: now}
	}
	k.count(-1)
	for again := true; again; again = k.trial.n == 0 && t.shifts < len(shifts) {
		moved := j.moved(k.seen, shifts[t.shifts], now)
		share(moved, k.groups)
		for _, s := range moved {
			if t.n++; s.isFound() {
				t.found++
			}
		}
		t.shifts++
	}
	k.count(1)
	if t.shifts == len(shifts) {
		k.trial, *t = *t, trial{}
	}
}

// moved gives sightings as they would be if the records had been written at another time, where that is known and about as many
// requests came: when nobody was there yet, chance would have found nobody.
func (j *Joiner) moved(seen []*sighting, by time.Duration, now time.Time) (moved []*sighting) {
	for _, s := range seen {
		at := s.at.Add(by)
		if at.Add(answersIn).After(now) || j.evidence.traffic.rate(at) < s.rate/4 || j.config.Exchanges.EvictedSince(at.Add(-slip)) {
			continue
		}
		near, blind := j.nearAt(at)
		if blind {
			continue
		}
		m := &sighting{at: at, early: s.early, rate: s.rate, nobody: 1, shared: true}
		for _, x := range near {
			m.parts = append(m.parts, j.evidence.traffic.partOf(x, m, at, now))
		}
		moved = append(moved, m)
	}
	return moved
}
