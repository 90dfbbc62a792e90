package table

import (
	"cmp"
	"slices"
)

// A survivor is an exchange that stands whole in an opened file.
type survivor struct {
	head uint32
	end  int64
}

// recover takes in what a file holds. What was open when the process ended has ended now.
func (t *Table) recover() {
	t.Recovery.At = t.now()
	t.slots.redo()
	used := make([]bool, len(t.places))
	survivors := t.survivors(used)
	t.reclaim(used)
	slices.SortFunc(survivors, func(a, b survivor) int { return cmp.Compare(a.end, b.end) })
	for _, s := range survivors {
		t.readmit(s.head)
	}
}

// survivors finds the exchanges that can be read, and marks the slots that they use.
func (t *Table) survivors(used []bool) (found []survivor) {
	for head := uint32(firstSlot); t.slots.valid(head); head++ {
		if t.slots.kind(head) != kindHead {
			continue
		}
		image := t.image[:t.slots.read(head, t.image[:])]
		if !intact(image) || !t.claim(head, needed(len(image)), used) {
			t.Recovery.Dropped++
			continue
		}
		end := int64(le.Uint64(image[atEnd:]))
		if end == 0 {
			end = t.Recovery.At.UnixNano()
		}
		found = append(found, survivor{head, end})
	}
	return found
}

// claim marks the slots of an exchange, unless one of them is another's. The check word covers what they hold and not how
// they are linked, so the chain ends here where the image does.
func (t *Table) claim(head uint32, count int, used []bool) bool {
	var numbers [maxSlots]uint32
	chain := t.slots.chain(head, numbers[:0])[:count]
	for i, slot := range chain {
		if used[slot] || slices.Contains(chain[:i], slot) {
			return false
		}
	}
	for _, slot := range chain {
		used[slot] = true
	}
	t.slots.endChain(chain[count-1])
	return true
}

// reclaim makes the slots free that nobody uses, the lowest to be taken first.
func (t *Table) reclaim(used []bool) {
	for slot := uint32(len(used)) - 1; slot >= firstSlot; slot-- {
		switch {
		case used[slot]:
			t.grown = max(t.grown, slot+1)
			continue
		case t.slots.kind(slot) != kindFree:
			t.slots.setKind(slot, kindFree)
		}
		if slot < t.grown {
			t.put(slot)
		}
	}
}

// readmit enters a survivor as an exchange that has ended.
func (t *Table) readmit(head uint32) {
	r, _ := decode(t.image[:t.slots.read(head, t.image[:])])
	x := &r.Exchange
	var hashes [maxKeys]uint32
	keys := t.keys(hashes[:0], x, len(x.IDs))
	t.room(0, len(keys), t.Recovery.At.UnixNano(), 0)
	x.Ref = t.enter(head, keys)
	t.Recovery.Held++
	if x.End.IsZero() {
		t.Recovery.Closed++
		x.End = t.Recovery.At
		t.end(x)
		return
	}
	t.remove(head)
	t.append(ended(x), head)
}
