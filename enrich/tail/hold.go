package tail

import (
	"cmp"
	"slices"
)

// A span is a range of a file's bytes.
type span struct{ from, to int64 }

// A Hold keeps a range of a file undecided after the block that it came in was handled. Its methods are safe from any
// goroutine.
type Hold struct {
	file *File
	span
	closed bool // guarded by file.mu
}

// Hold keeps the bytes in [from, to) undecided: after a crash they are read again, with all that follows them. It is to be
// called before the handling of the block ends that has the bytes. A hold of a Record's bytes is closed from the start.
func (f *File) Hold(from, to int64) *Hold {
	h := &Hold{file: f, span: span{from, to}}
	f.mu.Lock()
	defer f.mu.Unlock()
	h.closed = slices.ContainsFunc(f.again, func(s span) bool { return s.from <= from && to <= s.to })
	f.holds[h] = struct{}{}
	return h
}

// Grow moves the end of the range.
func (h *Hold) Grow(to int64) {
	h.file.mu.Lock()
	defer h.file.mu.Unlock()
	h.to = max(h.to, to)
}

// Close says that the range is complete. It then keeps nothing else back: after a crash it is handed out as one Block with
// Record set, and the bytes around it are not read again.
func (h *Hold) Close() {
	h.file.mu.Lock()
	defer h.file.mu.Unlock()
	h.closed = true
	h.file.t.touch()
}

// Release says that the range is decided. Releasing twice does nothing.
func (h *Hold) Release() {
	h.file.mu.Lock()
	defer h.file.mu.Unlock()
	delete(h.file.holds, h)
	h.file.t.touch()
}

// undecided gives where the file is to be read on after a crash, and which ranges before that are to be read too.
func (f *File) undecided() (position int64, held []span) {
	f.mu.Lock()
	defer f.mu.Unlock()
	position = f.decided
	held = slices.Clone(f.again)
	for h := range f.holds {
		if h.closed {
			held = append(held, h.span)
		} else {
			position = min(position, h.from)
		}
	}
	slices.SortFunc(held, func(a, b span) int { return cmp.Or(cmp.Compare(b.to, a.to), cmp.Compare(a.from, b.from)) })
	for len(held) > 0 && held[0].to > position { // it comes again with what follows
		position = min(position, held[0].from)
		held = held[1:]
	}
	slices.Reverse(held)
	return position, slices.Compact(held)
}

// isHeld says whether any of f is undecided.
func (f *File) isHeld() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.holds)+len(f.again) > 0
}
