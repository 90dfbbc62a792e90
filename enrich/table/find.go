package table

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/openreplay/log-sidecar/enrich"
)

// ByID gives all exchanges that have this ID: the one that the app was sent, or another one of the request or the answer.
// IDs are compared without regard to case, and UUIDs without regard to their hyphens.
func (t *Table) ByID(id string, yield func(enrich.Exchange) bool) {
	if id == "" || len(id) > maxID {
		return
	}
	var room [maxID]byte
	want := string(fold(room[:0], id))
	same := func(other string) bool {
		var room [maxID]byte
		return len(other) <= maxID && string(fold(room[:0], other)) == want
	}
	t.find(t.idKey([]byte(want)), func(r *record) bool { return same(r.ID) || slices.ContainsFunc(r.IDs, same) }, nil, yield)
}

// ByUpstream gives the exchanges that were served by the connection with our end addr and had taken it by at, the latest
// first. The first one has the connection at that moment, if it had not ended.
func (t *Table) ByUpstream(addr netip.AddrPort, at time.Time, yield func(enrich.Exchange) bool) {
	addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
	t.find(t.upstreamKey(addr), func(r *record) bool { return r.Upstream == addr && r.joined <= at.UnixNano() },
		func(a, b record) int { return cmp.Compare(b.joined, a.joined) }, yield)
}

// BySession gives the exchanges that carried the token.
func (t *Table) BySession(token string, yield func(enrich.Exchange) bool) {
	if token != "" {
		t.find(t.sessionKey(token), func(r *record) bool { return r.Session == token }, nil, yield)
	}
}

// ByAppSession gives the exchanges that carried the app's own session cookie with that hash.
func (t *Table) ByAppSession(hash uint64, yield func(enrich.Exchange) bool) {
	if hash != 0 {
		t.find(t.appSessionKey(hash), func(r *record) bool { return r.AppSession == hash }, nil, yield)
	}
}

// During gives the exchanges that were open at some moment from from to to.
func (t *Table) During(from, to time.Time, yield func(enrich.Exchange) bool) {
	var found []record
	t.locked(func() {
		for _, list := range []uint32{open, plain, kept} {
			for head := t.lists[list].newest; head != 0; head = t.places[head].prev {
				r, ok := t.record(head)
				if list != open && r.End.Before(from) { // so have all before it
					break
				}
				if ok && !r.Begin.After(to) {
					found = append(found, r)
				}
			}
		}
	})
	give(found, yield)
}

// find gives what the key leads to and fits. The caller's function runs unlocked: it may ask the table again.
func (t *Table) find(key uint32, fits func(*record) bool, order func(a, b record) int, yield func(enrich.Exchange) bool) {
	var found []record
	t.locked(func() {
		for n := t.index.search(*t.index.bucket(key), key); n != 0; n = t.index.search(t.index.nodes[n].next, key) {
			r, ok := t.record(t.index.nodes[n].owner)
			twice := func(other record) bool { return other.Ref == r.Ref } // one of its IDs stands there two times
			if ok && fits(&r) && !slices.ContainsFunc(found, twice) {
				found = append(found, r)
			}
		}
	})
	if order != nil {
		slices.SortStableFunc(found, order)
	}
	give(found, yield)
}

func give(found []record, yield func(enrich.Exchange) bool) {
	for i := range found {
		if !yield(found[i].Exchange) {
			return
		}
	}
}

func (t *Table) record(head uint32) (record, bool) {
	r, ok := decode(t.image[:t.slots.read(head, t.image[:])])
	r.Ref = t.ref(head)
	return r, ok
}
