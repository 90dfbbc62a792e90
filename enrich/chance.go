package enrich

import "time"

// A trial says how often chance finds somebody for a kind's records: the same ones, moved to other moments, are shared out in the
// same way, and whoever is found there is not their own.
type trial struct {
	added int // sightings of the kind when it was made
	at    time.Time
	found int
	n     int
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

// chance gives how likely it is that chance finds somebody for a record of the kind.
func (j *Joiner) chance(k *kind, now time.Time) float64 {
	if t := &k.trial; t.n == 0 || 2*k.added >= 3*t.added || now.Sub(t.at) > trialEvery {
		*t = trial{added: k.added, at: now}
		k.count(-1)
		for _, shift := range shifts {
			moved := j.moved(k.seen, shift, now)
			share(moved, k.groups)
			for _, s := range moved {
				if t.n++; s.isFound() {
					t.found++
				}
			}
		}
		k.count(1)
	}
	return float64(k.trial.found+1) / float64(k.trial.n+1)
}

// moved gives sightings as they would be if the records had been written at another time, where that is known.
func (j *Joiner) moved(seen []*sighting, by time.Duration, now time.Time) (moved []*sighting) {
	for _, s := range seen {
		at := s.at.Add(by)
		if at.Add(answersIn).After(now) || j.config.Exchanges.EvictedSince(at.Add(-slip)) {
			continue
		}
		near, blind := j.nearAt(at)
		if blind {
			continue
		}
		m := &sighting{at: at, rate: s.rate, nobody: 1, shared: true}
		for _, x := range near {
			m.parts = append(m.parts, j.evidence.traffic.partOf(x, m, at, now))
		}
		moved = append(moved, m)
	}
	return moved
}
