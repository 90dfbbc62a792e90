package table

import (
	"net/netip"
	"slices"
	"time"

	"github.com/openreplay/log-sidecar/enrich"
)

const (
	// chunk bounds how many exchanges During passes over at a time, since requests wait meanwhile.
	chunk = 256
	// slack is by how much the stamps of two writers may differ; many loggers cut theirs to the second.
	slack = time.Second
	// past is how many exchanges of a connection had ended before the moment when ByUpstream takes the rest for older.
	past = 64
)

// ByID gives every exchange held that has this ID, be it the one that the app was sent or one of its IDs. Letters' case
// does not count, nor do a UUID's hyphens.
//
// All searches by a key give what got the key last first. They give copies, outside of the lock: yield may take its time,
// and may call the table.
func (t *Table) ByID(id string, yield func(enrich.Exchange) bool) {
	if id == "" || len(id) > maxID {
		return
	}
	var room, other [maxID]byte
	word := fold(room[:0], id)
	same := func(id string) bool { return len(id) <= maxID && string(fold(other[:0], id)) == string(word) }
	t.find(t.idKey(word), func(r *record) verdict {
		return takeIf(same(r.ID) || slices.ContainsFunc(r.IDs, same))
	}, yield)
}

// BySession gives every exchange held that belongs to the session with this token, byte for byte.
func (t *Table) BySession(token string, yield func(enrich.Exchange) bool) {
	if token != "" {
		t.find(t.sessionKey(token), func(r *record) verdict { return takeIf(r.Session == token) }, yield)
	}
}

// ByAppSession gives every exchange held that came with the app's own session cookie of this hash.
func (t *Table) ByAppSession(hash uint64, yield func(enrich.Exchange) bool) {
	if hash != 0 {
		t.find(t.appSessionKey(hash), func(r *record) verdict { return takeIf(r.AppSession == hash) }, yield)
	}
}

// ByUpstream gives the exchanges that a line of the moment at may belong to which names our end of a connection, addr:
// those that the connection served then, or within a second of it, since stamps are cut and clocks differ; and, however
// long ago it ended, the last one that it had served. Outside of its own time an exchange is given only if none that was
// evicted may be meant. For a stamp that is exact and a connection that serves one request at a time, the first one given
// whose Begin is not after at is right; that it has ended says that the line came late.
func (t *Table) ByUpstream(addr netip.AddrPort, at time.Time, yield func(enrich.Exchange) bool) {
	if !addr.IsValid() {
		return
	}
	addr = netip.AddrPortFrom(addr.Addr().Unmap().WithZone(""), addr.Port())
	w := watch{t: t, at: at.UnixNano()}
	t.find(t.upstreamKey(addr), func(r *record) verdict {
		if r.Upstream != addr {
			return skip
		}
		return w.judge(r)
	}, yield)
}

// A watch looks at the exchanges of one connection, those that took it last first.
type watch struct {
	t      *Table
	at     int64
	taken  bool // an exchange took the connection before the moment
	passed int  // exchanges that had ended well before it
}

func (w *watch) judge(r *record) verdict {
	followed := w.taken
	w.taken = w.taken || r.joined <= w.at
	end := nanos(r.End)
	switch {
	case r.joined > w.at:
		return takeIf(r.joined-w.at <= int64(slack) && !w.t.EvictedSince(time.Unix(0, w.at)))
	case end == 0 || end >= w.at:
		return take
	case !followed || w.at-end <= int64(slack):
		return takeIf(!w.t.EvictedSince(r.End))
	}
	if w.passed++; w.passed >= past {
		return stop
	}
	return skip
}

// A verdict is what a search does with a record.
type verdict int

const (
	skip verdict = iota
	take
	stop
)

func takeIf(fits bool) verdict {
	if fits {
		return take
	}
	return skip
}

// find gives the exchanges that have a key of this hash and that judge takes. It holds the lock for one at a time: a
// client may give the same ID to all its requests.
func (t *Table) find(hash uint32, judge func(*record) verdict, yield func(enrich.Exchange) bool) {
	known := false
	t.locked(func() { known = t.index.search(*t.index.bucket(hash), hash) != 0 })
	if known {
		t.findAll(hash, judge, yield)
	}
}

// findAll is apart from find because most words are no IDs: they should not pay for the room of an image.
//
//go:noinline
func (t *Table) findAll(hash uint32, judge func(*record) verdict, yield func(enrich.Exchange) bool) {
	c := &cursor{hash: hash}
	t.locked(func() { t.index.start(c) })
	defer t.locked(func() { t.index.finish(c) })
	var image [maxImage]byte
	for {
		n, ref := 0, uint64(0)
		t.locked(func() {
			if c.node != 0 {
				head := t.index.nodes[c.node].owner
				n, ref = t.slots.read(head, image[:]), t.ref(head)
				c.node = t.index.search(t.index.nodes[c.node].next, hash)
			}
		})
		if ref == 0 || !give(image[:n], ref, judge, yield) {
			return
		}
	}
}

// give hands an exchange out if judge takes it. It says whether the search goes on; it does where there is no image.
func give(image []byte, ref uint64, judge func(*record) verdict, yield func(enrich.Exchange) bool) bool {
	r, ok := decode(image)
	if !ok {
		return true
	}
	r.Ref = ref
	switch judge(&r) {
	case take:
		return yield(r.Exchange)
	case stop:
		return false
	}
	return true
}

// During gives the exchanges that were open at some moment from from to to, in no order to rely on. EvictedSince(from)
// says whether there may have been others.
func (t *Table) During(from, to time.Time, yield func(enrich.Exchange) bool) {
	var still []uint64
	var ended [2]uint64
	t.locked(func() {
		still = t.refs(open)
		ended = [...]uint64{t.newest(kept), t.newest(plain)}
	})
	judge := func(r *record) verdict {
		return takeIf(!r.Begin.After(to) && (r.End.IsZero() || !r.End.Before(from)))
	}
	if !t.giveEach(still, judge, yield) {
		return
	}
	for _, newest := range ended {
		if !t.giveEnded(newest, from, to, judge, yield) {
			return
		}
	}
}

// giveEach gives those of refs that are still held.
func (t *Table) giveEach(refs []uint64, judge func(*record) verdict, yield func(enrich.Exchange) bool) bool {
	var image [maxImage]byte
	for _, ref := range refs {
		n := 0
		t.locked(func() {
			if head, ok := t.held(ref); ok {
				n = t.slots.read(head, image[:])
			}
		})
		if !give(image[:n], ref, judge, yield) {
			return false
		}
	}
	return true
}

// giveEnded gives the exchanges of the time out of one list, from one of them on to the older ones.
func (t *Table) giveEnded(at uint64, from, to time.Time, judge func(*record) verdict, yield func(enrich.Exchange) bool) bool {
	var image [maxImage]byte
	for at != 0 {
		n, ref, next := 0, uint64(0), uint64(0)
		t.locked(func() { n, ref, next = t.step(at, from, to, image[:]) })
		if !give(image[:n], ref, judge, yield) {
			return false
		}
		at = next
	}
	return true
}

// refs gives the exchanges of a list as they are now. Open ones must be taken at one moment: they leave the list in any
// order.
func (t *Table) refs(list uint32) []uint64 {
	refs := make([]uint64, 0, t.lists[list].n)
	for head := t.lists[list].newest; head != 0; head = t.places[head].prev {
		refs = append(refs, t.ref(head))
	}
	return refs
}

// newest gives the exchange of a list that ended last, 0 for none. Going on from it to the older ones does not meet what
// ends meanwhile: that was met as an open one.
func (t *Table) newest(list uint32) uint64 {
	if head := t.lists[list].newest; head != 0 {
		return t.ref(head)
	}
	return 0
}

// step goes from the exchange at on to one that may overlap the time, or, with n = 0, over a chunk of others. next is
// where to go on, 0 at the end.
func (t *Table) step(at uint64, from, to time.Time, image []byte) (n int, ref, next uint64) {
	for range chunk {
		head, ok := t.held(at)
		if !ok { // evicted, and so is all that ended before it
			return 0, 0, 0
		}
		start := t.slots.start(head)
		end := moment(start, atEnd)
		if end.Before(from.Add(-slack)) { // they stand in the order in which End was called
			return 0, 0, 0
		}
		ref, at = at, 0
		if prev := t.places[head].prev; prev != 0 {
			at = t.ref(prev)
		}
		if !end.Before(from) && !moment(start, atBegin).After(to) {
			return t.slots.read(head, image), ref, at
		}
	}
	return 0, 0, at
}
