package table

import "github.com/prometheus/client_golang/prometheus"

// evict lets go of an exchange. Its first slot is freed first, so that a kill in between leaves no half of it.
func (t *Table) evict(head uint32, count prometheus.Counter) {
	count.Inc()
	if t.places[head].list == open {
		t.astray++
	} else {
		t.setYoungest(int64(le.Uint64(t.slots.start(head)[atEnd:])))
	}
	t.index.removeAll(t.places[head].keys)
	t.remove(head)
	t.places[head].keys = 0
	var numbers [maxSlots]uint32
	for _, slot := range t.slots.chain(head, numbers[:0]) {
		t.slots.setKind(slot, kindFree)
		t.put(slot)
	}
}

// reason gives the counter for an eviction for lack of room: an exchange that is open, or has a session and ended a
// moment ago, is missed.
func (t *Table) reason(head uint32, now int64) prometheus.Counter {
	if t.places[head].list == open {
		return t.metrics.missed
	}
	if t.slots.start(head)[atFlags]&flagSession != 0 && t.ago(head, now) < wanted {
		return t.metrics.missed
	}
	return t.metrics.evicted
}

func (t *Table) setYoungest(end int64) { t.youngest = max(t.youngest, end) }

func (t *Table) evictedSince(since int64) bool { return t.astray > 0 || t.youngest >= since }
