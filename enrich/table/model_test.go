package table

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/openreplay/log-sidecar/enrich"
)

// A model is the table as plain Go values: what is held, and who goes when there is no room.
type model struct {
	slots, nodes           int // that were used and are free
	freshSlots, freshNodes int
	plainShare             int
	lists                  [nlists][]*entry
	youngest               time.Time
	astray                 int
}

type entry struct {
	x           *enrich.Exchange
	list        int
	slots, keys int
}

func newModel(slots int) *model {
	return &model{freshSlots: slots - firstSlot, freshNodes: slots*nodesPerSlot - 1, plainShare: slots / 8, youngest: epoch}
}

// weigh gives how many slots and keys an exchange needs.
func weigh(x *enrich.Exchange) (slots, keys int) {
	image, ids := encode(make([]byte, maxImage), x, 0)
	all := map[string]bool{x.ID: true}
	for _, id := range x.IDs[:ids] {
		all[id] = true
	}
	keys = len(all)
	for _, has := range []bool{x.Session != "", x.AppSession != 0, x.Upstream.IsValid()} {
		if has {
			keys++
		}
	}
	return needed(len(image)), keys
}

func (m *model) take(e *entry, now time.Time) {
	slots, keys := weigh(e.x)
	slots, keys = max(slots, e.slots), max(keys, e.keys)
	m.room(slots-e.slots, keys-e.keys, now, e)
	m.slots -= slots - e.slots
	m.nodes -= keys - e.keys
	e.slots, e.keys = slots, keys
}

func (m *model) room(slots, keys int, now time.Time, except *entry) {
	for m.slots < slots || m.nodes < keys {
		if e := m.stale(now); e != nil {
			m.evict(e)
		} else if m.slots < slots && m.freshSlots > 0 {
			m.freshSlots, m.slots = m.freshSlots-1, m.slots+1
		} else if m.slots >= slots && m.freshNodes > 0 {
			m.freshNodes, m.nodes = m.freshNodes-1, m.nodes+1
		} else {
			m.evict(m.victim(except))
		}
	}
}

func (m *model) stale(now time.Time) *entry {
	if l := m.lists[plain]; len(l) > 0 && now.Sub(l[0].x.End) >= wanted {
		return l[0]
	}
	if l := m.lists[kept]; len(l) > 0 && now.Sub(l[0].x.End) >= stale {
		return l[0]
	}
	return nil
}

func (m *model) victim(except *entry) *entry {
	order := []int{kept, plain, open}
	if len(m.lists[plain]) > m.plainShare {
		order = []int{plain}
	}
	for _, list := range order {
		for _, e := range m.lists[list] {
			if e != except {
				return e
			}
		}
	}
	return nil
}

func (m *model) evict(e *entry) {
	if e.list == open {
		m.astray++
	} else if e.x.End.After(m.youngest) {
		m.youngest = e.x.End
	}
	m.move(e, none)
	m.slots += e.slots
	m.nodes += e.keys
}

func (m *model) move(e *entry, list int) {
	m.lists[e.list] = slices.DeleteFunc(m.lists[e.list], func(other *entry) bool { return other == e })
	e.list = list
	if list != none {
		m.lists[list] = append(m.lists[list], e)
	}
}

func (m *model) end(e *entry) {
	if e.list == none {
		m.astray--
		if e.x.End.After(m.youngest) {
			m.youngest = e.x.End
		}
		return
	}
	m.take(e, e.x.Begin)
	list := plain
	if e.x.Session != "" || e.x.Status >= 500 {
		list = kept
	}
	m.move(e, list)
}

// TestWhoStays compares a very small table with the model over random lives of exchanges.
func TestWhoStays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const slots = 72
		c := &clock{epoch}
		table := newTable(c.Now)
		if err := table.open("", slots); err != nil {
			t.Fatal(err)
		}
		defer table.Close()
		m := newModel(slots)
		var entries, live []*entry
		t.Repeat(map[string]func(*rapid.T){
			"some begin": func(t *rapid.T) {
				for range rapid.IntRange(1, 12).Draw(t, "how many") {
					e := &entry{x: exchange(len(entries), rapid.SampledFrom([]string{"", "", "a", "b"}).Draw(t, "session"), c.now)}
					e.x.IDs = rapid.SliceOfN(rapid.StringMatching(`[a-d]{1,2}`), 0, 6).Draw(t, "IDs")
					e.x.Target = strings.Repeat("/é", rapid.SampledFrom([]int{0, 0, 9, 200}).Draw(t, "length"))
					entries, live = append(entries, e), append(live, e)
					m.take(e, c.now)
					m.move(e, open)
					table.Begin(e.x)
				}
			},
			"update": func(t *rapid.T) {
				if len(live) == 0 {
					t.Skip("none is open")
				}
				e := rapid.SampledFrom(live).Draw(t, "which")
				e.x.IDs = append(e.x.IDs, rapid.SliceOfN(rapid.StringMatching(`[a-d]{1,40}`), 0, 6).Draw(t, "more IDs")...)
				e.x.Upstream = netip.MustParseAddrPort("127.0.0.1:40001")
				if e.list == open {
					m.take(e, e.x.Begin)
				}
				table.Update(e.x)
			},
			"some end": func(t *rapid.T) {
				for range min(len(live), rapid.IntRange(1, 12).Draw(t, "how many")) {
					i := rapid.IntRange(0, len(live)-1).Draw(t, "which")
					e := live[i]
					live = slices.Delete(live, i, i+1)
					e.x.Status, e.x.End = rapid.SampledFrom([]int{200, 200, 404, 500}).Draw(t, "status"), c.now
					m.end(e)
					table.End(e.x)
				}
			},
			"time passes": func(t *rapid.T) {
				c.pass(time.Duration(rapid.IntRange(1, 400).Draw(t, "seconds")) * time.Second)
			},
			"": func(t *rapid.T) {
				compare(t, table, m, entries, c.now)
				checkSlots(t, table)
			},
		})
	})
}

func compare(t *rapid.T, table *Table, m *model, entries []*entry, now time.Time) {
	byIDs, during := map[string][]string{}, map[string]bool{}
	for _, e := range entries {
		got := byID(table, e.x.ID)
		if (len(got) == 1) != (e.list != none) {
			t.Fatalf("exchange %s: the table has %d, the model list %d", e.x.ID, len(got), e.list)
		}
		if e.list == none {
			continue
		}
		want := *e.x
		want.IDs = want.IDs[:min(len(want.IDs), maxIDs)]
		if diff := cmp.Diff(want, got[0], sameExchange, cutTarget); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
		during[e.x.ID] = true
		for _, id := range slices.Compact(slices.Sorted(slices.Values(want.IDs))) {
			byIDs[id] = append(byIDs[id], e.x.ID)
		}
	}
	for id, want := range byIDs {
		var got []string
		for _, x := range byID(table, id) {
			got = append(got, x.ID)
		}
		if slices.Sort(got); !slices.Equal(want, got) {
			t.Fatalf("by %q: %v, want %v", id, got, want)
		}
	}
	got := map[string]bool{}
	table.During(epoch, now, func(x enrich.Exchange) bool { got[x.ID] = true; return true })
	if diff := cmp.Diff(during, got); diff != "" {
		t.Fatalf("by their time (-want +got):\n%s", diff)
	}
	for _, since := range []time.Time{m.youngest, m.youngest.Add(1)} {
		if want := m.astray > 0 || since.Equal(m.youngest); table.EvictedSince(since) != want {
			t.Fatalf("EvictedSince(%v) = %v", since, !want)
		}
	}
}

// cutTarget lets a target be equal to what was kept of it; TestWhatDoesNotFit has the exact form.
var cutTarget = cmp.FilterPath(func(p cmp.Path) bool { return p.String() == "Target" }, cmp.Comparer(func(a, b string) bool {
	if len(a) < len(b) {
		a, b = b, a
	}
	return a == b || len(b) > maxTarget-4 && strings.HasPrefix(a, strings.TrimSuffix(b, mark))
}))

// checkSlots: each slot and each node is free, fresh, or belongs to one exchange.
func checkSlots(t interface{ Fatalf(string, ...any) }, table *Table) {
	slots, nodes := 0, 0
	var numbers [maxSlots]uint32
	for _, list := range []uint32{open, plain, kept} {
		for head := table.lists[list].newest; head != 0; head = table.places[head].prev {
			slots += len(table.slots.chain(head, numbers[:0]))
			for n := table.places[head].keys; n != 0; n = table.index.nodes[n].sibling {
				nodes++
			}
		}
	}
	if slots+table.nfree+len(table.places)-int(table.grown) != len(table.places)-firstSlot {
		t.Fatalf("%d slots are used, %d free, %d were ever touched", slots, table.nfree, table.grown)
	}
	if nodes+table.index.freeNodes != int(table.index.grownNodes)-1 {
		t.Fatalf("%d nodes are used, %d free, %d were ever touched", nodes, table.index.freeNodes, table.index.grownNodes)
	}
}
