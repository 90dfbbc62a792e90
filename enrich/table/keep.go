package table

import (
	"time"

	"github.com/openreplay/log-sidecar/enrich"
)

const (
	// wanted is how long after its end an exchange with a session is missed if it is gone: nearly all lines are read
	// within seconds.
	wanted = 5 * time.Minute
	// stale is how long an exchange with a session or an error is kept rather than its slots used again before fresh
	// ones are touched. Log files may be read late by as long as Google cannot be reached.
	stale = 30 * time.Minute
)

// A place is what the table remembers of a slot outside of the mapped memory.
type place struct {
	gen        uint32 // of the exchange that begins here
	next, prev uint32 // in its list: the newer and the older one. Free slots have next only
	keys       uint32 // its first node
	list       uint32
}

const placeSize = 20

// The lists that exchanges are in. Open ones are in the order in which they began, the others in that of their ends.
const (
	none  = iota
	open  //
	plain // ended, with neither a session nor an error: evicted first
	kept  // ended, with one of them
	nlists
)

// A list goes by slot numbers, 0 for none.
type list struct {
	oldest, newest uint32
	n              int
}

func (t *Table) append(to, slot uint32) {
	l := &t.lists[to]
	p := &t.places[slot]
	p.list, p.next, p.prev = to, 0, l.newest
	if l.newest == 0 {
		l.oldest = slot
	} else {
		t.places[l.newest].next = slot
	}
	l.newest = slot
	l.n++
}

func (t *Table) remove(slot uint32) {
	p := &t.places[slot]
	l := &t.lists[p.list]
	if p.prev == 0 {
		l.oldest = p.next
	} else {
		t.places[p.prev].next = p.next
	}
	if p.next == 0 {
		l.newest = p.prev
	} else {
		t.places[p.next].prev = p.prev
	}
	l.n--
	p.list = none
}

func (t *Table) begin(x *enrich.Exchange) (ref uint64) {
	now := nanos(x.Begin)
	if t.gen == 0 { // what is played in from a recording is older than the table
		t.youngest = min(t.youngest, now)
	}
	image, ids := t.encode(x, now)
	var hashes [maxKeys]uint32
	keys := t.keys(hashes[:0], x, ids)
	n := needed(len(image))
	t.room(n, len(keys), now, 0)
	var numbers [maxSlots]uint32
	chain := t.take(numbers[:0], n)
	t.slots.write(chain, image)
	return t.enter(chain[0], keys)
}

// enter makes an exchange that stands in its slots one of the open ones.
func (t *Table) enter(head uint32, keys []uint32) (ref uint64) {
	t.gen++
	t.places[head].gen = t.gen
	t.places[head].keys = 0
	t.append(open, head)
	t.link(head, keys)
	return t.ref(head)
}

func (t *Table) encode(x *enrich.Exchange, joined int64) (image []byte, ids int) {
	image, ids = encode(t.image[:], x, joined)
	if ids < len(x.IDs) {
		t.metrics.idsDropped.Add(float64(len(x.IDs) - ids))
	}
	return image, ids
}

// update does nothing for an exchange that has ended, or was evicted.
func (t *Table) update(x *enrich.Exchange) {
	head, ok := t.held(x.Ref)
	if !ok || t.places[head].list != open {
		return
	}
	image, ids := t.encode(x, t.joined(head, x))
	var hashes [maxKeys]uint32
	keys := t.unlinked(head, t.keys(hashes[:0], x, ids))
	var numbers [maxSlots]uint32
	chain := t.slots.chain(head, numbers[:0])
	more := max(needed(len(image))-len(chain), 0)
	t.room(more, len(keys), nanos(x.Begin), head)
	chain = t.take(chain, more)
	t.slots.rewrite(chain, image)
	t.link(head, keys)
}

func (t *Table) end(x *enrich.Exchange) {
	if x.End.IsZero() {
		ended := *x
		ended.End = t.now()
		x = &ended
	}
	head, ok := t.held(x.Ref)
	switch {
	case !ok:
		t.endAstray(x)
	case t.places[head].list == open:
		t.update(x)
		t.remove(head)
		t.append(ended(x), head)
	}
}

// ended gives the list for an exchange that has ended.
func ended(x *enrich.Exchange) uint32 {
	if hasSession(x) || x.Status >= 500 {
		return kept
	}
	return plain
}

// endAstray notes the end of an exchange that was evicted while it was open.
func (t *Table) endAstray(x *enrich.Exchange) {
	if x.Ref != 0 && t.astray > 0 {
		t.astray--
		t.setYoungest(x.End.UnixNano())
	}
}

// joined is when x took the connection that it is served by.
func (t *Table) joined(head uint32, x *enrich.Exchange) int64 {
	start := t.slots.start(head)
	addr := x.Upstream.Addr().As16()
	if le.Uint16(start[atPort:]) == x.Upstream.Port() && [16]byte(start[atAddr:]) == addr {
		return int64(le.Uint64(start[atJoined:]))
	}
	return t.now().UnixNano()
}

func (t *Table) ref(head uint32) uint64 { return uint64(t.places[head].gen)<<32 | uint64(head) }

// held gives the first slot of the exchange, if it was not evicted.
func (t *Table) held(ref uint64) (head uint32, ok bool) {
	head = uint32(ref)
	return head, t.slots.valid(head) && t.places[head].list != none && t.ref(head) == ref
}

func (t *Table) link(head uint32, keys []uint32) {
	p := &t.places[head]
	for _, hash := range keys {
		p.keys = t.index.add(hash, head, p.keys)
	}
}

// unlinked leaves the keys that the exchange is not found by yet. Keys that it no longer has stay linked until it leaves:
// whoever follows one sees that it does not fit.
func (t *Table) unlinked(head uint32, keys []uint32) []uint32 {
	left := keys[:0]
	for _, hash := range keys {
		if !t.index.has(t.places[head].keys, hash) {
			left = append(left, hash)
		}
	}
	return left
}

// take appends n free slots to chain; room must have made them free.
func (t *Table) take(chain []uint32, n int) []uint32 {
	for range n {
		slot := t.free
		t.free = t.places[slot].next
		t.nfree--
		chain = append(chain, slot)
	}
	return chain
}

func (t *Table) put(slot uint32) {
	t.places[slot].next = t.free
	t.free = slot
	t.nfree++
}

// room sees to it that so many slots and nodes are free: first those of exchanges that nobody can want any more, then
// fresh ones, so that the table takes no more memory than it needs; then by eviction, but never of the exchange except.
func (t *Table) room(slots, nodes int, now int64, except uint32) {
	for t.nfree < slots || t.index.freeNodes < nodes {
		if victim := t.staleOne(now); victim != 0 {
			t.evict(victim, t.metrics.expired)
		} else if !t.grow(t.nfree < slots) {
			victim := t.victim(except)
			t.evict(victim, t.reason(victim, now))
		}
	}
}

// grow makes a fresh slot free, or else a fresh node.
func (t *Table) grow(slot bool) bool {
	if !slot {
		return t.index.growNodes()
	}
	if int(t.grown) == len(t.places) {
		return false
	}
	t.put(t.grown)
	t.grown++
	return true
}

// staleOne gives an exchange whose time is over.
func (t *Table) staleOne(now int64) uint32 {
	if oldest := t.lists[plain].oldest; oldest != 0 && t.ago(oldest, now) >= wanted {
		return oldest
	}
	if oldest := t.lists[kept].oldest; oldest != 0 && t.ago(oldest, now) >= stale {
		return oldest
	}
	return 0
}

// victim gives the exchange that is missed least. An eighth of the table stays with the plain ones, which have no record
// to lose, but without which another could seem to be the only one who was there.
func (t *Table) victim(except uint32) uint32 {
	switch {
	case t.lists[plain].n > len(t.places)/8:
		return t.lists[plain].oldest
	case t.lists[kept].n > 0:
		return t.lists[kept].oldest
	case t.lists[plain].n > 0:
		return t.lists[plain].oldest
	case t.lists[open].oldest == except:
		return t.places[except].next
	}
	return t.lists[open].oldest
}

// ago is how long an exchange has ended.
func (t *Table) ago(head uint32, now int64) time.Duration {
	return time.Duration(now - int64(le.Uint64(t.slots.start(head)[atEnd:])))
}
