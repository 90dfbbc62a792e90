package table

import (
	"slices"
	"time"
)

// recover takes in what a file holds. What was open when the process ended has ended now.
func (t *Table) recover() {
	t.Recovery.At = t.now()
	t.slots.redo()
	found := t.survivors()
	slices.SortFunc(found, func(a, b survivor) int { return a.record.End.Compare(b.record.End) })
	for _, s := range found {
		t.settle(s)
	}
	t.Recovery.Held = len(found)
}

// A survivor is an exchange that stands whole in the file.
type survivor struct {
	head   uint32
	record record
}

// survivors goes through the slots, and frees those that belong to nobody.
func (t *Table) survivors() (found []survivor) {
	used := make([]bool, len(t.slots)/slotSize)
	for head := uint32(firstSlot); t.slots.valid(head); head++ {
		if t.slots.kind(head) == kindFree {
			continue
		}
		t.grown = head + 1
		if t.slots.kind(head) != kindHead {
			continue
		}
		var numbers [maxSlots]uint32
		chain := t.slots.chain(head, numbers[:0])
		image := t.image[:t.slots.read(head, t.image[:])]
		if !intact(image) || slices.ContainsFunc(chain, func(i uint32) bool { return used[i] }) {
			t.Recovery.Dropped++
			continue
		}
		for _, slot := range chain {
			used[slot] = true
			t.grown = max(t.grown, slot+1)
		}
		r, _ := decode(image)
		found = append(found, survivor{head, t.closeOpen(chain, r)})
	}
	for slot := uint32(firstSlot); slot < t.grown; slot++ {
		if !used[slot] {
			t.slots.setKind(slot, kindFree)
			t.put(slot)
		}
	}
	return found
}

// closeOpen gives an exchange that was open an end. Its image keeps its length.
func (t *Table) closeOpen(chain []uint32, r record) record {
	if !r.End.IsZero() {
		return r
	}
	t.Recovery.Closed++
	r.End = time.Unix(0, t.Recovery.At.UnixNano())
	image, _ := encode(t.image[:], &r.Exchange, r.joined)
	t.slots.rewrite(chain, image)
	return r
}

// settle makes a survivor one of the ended exchanges.
func (t *Table) settle(s survivor) {
	var hashes [maxKeys]uint32
	keys := t.keys(hashes[:0], &s.record.Exchange, len(s.record.IDs))
	for t.index.freeNodes < len(keys) && t.index.growNodes() {
	}
	t.enter(s.head, keys[:min(len(keys), t.index.freeNodes)])
	t.remove(s.head)
	t.append(ended(&s.record.Exchange), s.head)
}
