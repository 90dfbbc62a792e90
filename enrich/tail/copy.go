package tail

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.uber.org/zap"
)

const (
	// settled is how long a file that looks like a copy of ours must stay as it is until it counts as a file of its own.
	settled = 2 * time.Second
	// banner is the longest beginning that two logs are thought to share by chance.
	banner = 4 << 10
)

// unseen begins the generations of files in place that came and went since the last look without our having read a byte.
// It costs nothing while the directory does not change.
func (t *Tailer) unseen(v *view, now time.Time) {
	for _, f := range slices.Clone(t.files) {
		if i, ok := v.stat(filepath.Dir(f.Path)); ok && f.away.IsZero() && !f.gone && !f.spooled && t.config.stamp(i) >= t.known-slack.Nanoseconds() {
			t.displaced(v, f, now, t.known)
		}
	}
}

// displaced begins the generations of a path that came and went unseen: f was the last that we saw, at the time since.
func (t *Tailer) displaced(v *view, f *File, now time.Time, since int64) {
	for _, e := range t.beside(v, f, f.mayPrecede) {
		if t.byKey[e.key] != nil || t.config.stamp(e.info) < since-slack.Nanoseconds() {
			continue
		}
		src := t.openFound(e)
		g := t.begin(f.Path, e, src, 0)
		g.away, g.unsure = now, e.size == 0 || src == nil || t.original(src, e.size) != nil
		t.order(g)
	}
}

// mayPrecede says whether a file of that name may have been a generation of f's path: rotated away, or the target of its link.
func (f *File) mayPrecede(name string) bool {
	base, now := filepath.Base(f.Path), filepath.Base(f.name)
	return isRotation(base, name) || now != base && !isRotation(base, now) && alike(now, name)
}

// same says whether two contents have the same bytes before an offset.
func same(a, b io.ReaderAt, at int64) bool {
	var p, q [window]byte
	from, n := before(at)
	i, _ := a.ReadAt(p[:n], from)
	j, _ := b.ReadAt(q[:n], from)
	return i == n && j == n && p == q
}

// resembles says whether content of the given size is f's, as far as it goes. Where f's own can be read it is compared; where
// only the marks are left, much of what they know must be there: a common banner does not make a copy.
func (f *File) resembles(content io.ReaderAt, size int64) bool {
	if f.src != nil && f.isIntact() {
		return f.startsLike(content, size)
	}
	if f.asleep {
		return size <= f.size && f.wakesLike(content, size)
	}
	if exact, ok := f.ends(content, size); ok {
		return exact
	}
	known := f.marks.within(size)
	return known > 0 && (known == size || known >= f.marks.end()/2) && f.marks.match(content, size)
}

// wakesLike is startsLike of a file that is closed and was not seen to change.
func (f *File) wakesLike(content io.ReaderAt, size int64) bool {
	src, _, err := openAs(f.name, f.key)
	if err != nil {
		return false
	}
	defer src.Close()
	return same(src, content, min(size, window)) && same(src, content, size)
}

// startsLike says whether content is also the beginning of f's file as it is now. Of an empty one that is not known yet.
func (f *File) startsLike(content io.ReaderAt, size int64) bool {
	return size <= f.length() && same(f.src, content, min(size, window)) && same(f.src, content, size)
}

// ends compares the end of content with what was read last, and says whether that was possible.
func (f *File) ends(content io.ReaderAt, size int64) (same, ok bool) {
	from := f.read - int64(len(f.recent))
	if f.recentEnd != f.read || size <= from || size > f.read {
		return false, false
	}
	p := make([]byte, size-from)
	n, _ := content.ReadAt(p, from)
	return n == len(p) && bytes.Equal(p, f.recent[:n]), true
}

// isIntact says whether f still holds what we have read of it.
func (f *File) isIntact() bool {
	return f.length() >= f.marks.end() && f.marks.match(f.src, f.marks.end())
}

// original gives the file of ours that content is a copy of, as far as it goes.
func (t *Tailer) original(content *os.File, size int64) *File {
	i := slices.IndexFunc(t.files, func(f *File) bool { return f.src != content && f.mayHave(content, size) })
	if i < 0 {
		return nil
	}
	return t.files[i]
}

// findCopy looks for a copy of f, whose own content is gone, and lets f go on there. Of several the longest is taken.
func (t *Tailer) findCopy(v *view, f *File) bool {
	var best entry
	var copied *os.File
	for _, e := range t.copies(v, f) {
		src := t.reach(e)
		if src == nil {
			continue
		}
		if e.size <= best.size || !f.resembles(src, e.size) || t.isRathers(f, src, e.size) {
			src.Close()
			continue
		}
		if copied != nil {
			copied.Close()
		}
		best, copied = e, src
	}
	if copied != nil {
		t.moveTo(f, best, copied)
	}
	return copied != nil
}

// copies gives what may be a copy of f, the newest first: files beside it, and those of ours that were in doubt.
func (t *Tailer) copies(v *view, f *File) []entry {
	found := t.beside(v, f, func(string) bool { return true })
	found = slices.DeleteFunc(found, func(e entry) bool {
		g := t.byKey[e.key]
		return g != nil && !g.unsure || !f.mayBeAt(e)
	})
	for _, g := range t.files {
		listed := slices.ContainsFunc(found, func(e entry) bool { return e.key == g.key })
		if g.unsure && !listed && g.src != nil && (g.Path == f.Path || isRotated(f.Path, g.Path)) { // it may be deleted by now
			found = append(found, entry{path: g.name, info: info{key: g.key, size: g.length()}})
		}
	}
	slices.Reverse(found)
	return found
}

// reach opens a file, once more if it is ours.
func (t *Tailer) reach(e entry) *os.File {
	if g := t.byKey[e.key]; g != nil && g.src != nil {
		return again(g.src)
	}
	return t.openFound(e)
}

// mayBeAt says whether a copy of f can have that name: that of a rotated file, or its own, if much of it is known.
func (f *File) mayBeAt(e entry) bool {
	return isRotated(f.Path, e.path) || f.Path == e.path && f.marks.end() >= window && e.size >= f.marks.end()
}

// isRathers says whether another file of ours knows more of content than f does: where logs have a common banner, the one
// that knows most is the one.
func (t *Tailer) isRathers(f *File, content io.ReaderAt, size int64) bool {
	known := f.knows(content, size)
	return slices.ContainsFunc(t.files, func(g *File) bool {
		switch {
		case g == f || g.gone || g.unsure:
			return false
		case g.src != nil && !g.isIntact() && known < size && g.startsLike(content, size): // of what g's file holds now
			return true
		case !g.resembles(content, size):
			return false
		}
		return g.src != nil && g.isIntact() || g.knows(content, size) > known
	})
}

// knows gives how much of content f knows that resembles it.
func (f *File) knows(content io.ReaderAt, size int64) int64 {
	if exact, _ := f.ends(content, size); exact {
		return size
	}
	return f.marks.within(size)
}

// moveTo lets f go on in another file that has its content.
func (t *Tailer) moveTo(f *File, e entry, src *os.File) {
	if g := t.byKey[e.key]; g != nil {
		t.forget(g)
	}
	t.log.Info("a log file goes on in its copy", zap.String("path", f.Path), zap.String("now", e.path), zap.Int64("from", f.read))
	if t.byKey[f.key] == f {
		delete(t.byKey, f.key)
	}
	f.close()
	f.swap(src)
	f.key, f.name, f.real, f.size, f.modified, f.dirty = e.key, e.path, e.real, e.size, e.modified, true
	f.limit = e.size
	if e.path == f.Path {
		f.away = time.Time{}
	}
	if e.size < max(f.read, f.ahead) { // written after the copy was made, and read before the truncation
		known := f.marks.upTo(e.size).line(src) // rather twice than not at all
		if same, _ := f.ends(src, e.size); same {
			known = e.size
		}
		f.read = known
		if f.ahead > 0 {
			f.short = known
		}
		f.marks = f.marks.upTo(known).take(src, known)
		f.mu.Lock()
		f.decided = min(f.decided, f.read)
		f.again = slices.DeleteFunc(f.again, func(s span) bool { return s.to > known }) // it comes with what follows
		f.mu.Unlock()
	}
	t.byKey[e.key] = f
	t.touch()
}

// hasBase says whether e has the name of a rotated file of ours.
func (t *Tailer) hasBase(e entry) bool {
	return slices.ContainsFunc(t.files, func(f *File) bool { return isRotated(f.Path, e.path) })
}

// continued gives the file of ours that e has replaced with its own content, as editors and file systems with changing
// inodes do.
func (t *Tailer) continued(e entry, src *os.File) *File {
	for _, f := range t.files {
		if f.Path != e.path || f.away.IsZero() || f.marks.end() < window || e.size < f.marks.end() {
			continue
		}
		if f.gone || !f.nameless() || f.src != nil && (e.size < f.length() || !same(f.src, src, f.length())) {
			continue
		}
		if f.marks.match(src, e.size) {
			return f
		}
	}
	return nil
}

// nameless says whether f's own file was deleted.
func (f *File) nameless() bool {
	if f.src == nil {
		i, err := stat(f.name)
		return err != nil || i.key != f.key
	}
	i, err := fstat(f.src)
	return err == nil && i.links == 0
}

// doubt says whether f is still no more than a copy of another file of ours, for all we can see. copytruncate makes one
// before it truncates, and lets it grow until then. One that stays a copy is a backup that somebody made: it is known from
// then on, and read from its end should it be written to. A file that was asked for and has no more than a banner in common
// with another is no copy.
func (t *Tailer) doubt(f *File, now time.Time) bool {
	size := f.length()
	original := t.original(f.src, size)
	if f.unsure = size == 0 || original != nil; !f.unsure {
		return false
	}
	if original != nil {
		original.remember(size)
	}
	if f.due = now.Add(poll); size != f.half {
		f.half, f.since = size, now
	}
	pending := original != nil && original.src != nil && !original.isIntact() // it will soon be known where that goes on
	switch {
	case pending:
		return true
	case !f.away.IsZero():
		f.unsure = now.Before(t.expires(f))
	default:
		f.unsure = size == 0 || now.Sub(f.since) < settled
	}
	if !f.unsure {
		f.half = 0
		if size >= banner || !f.away.IsZero() {
			f.pass(size)
		}
	}
	return f.unsure
}

// remember takes note of where a copy of f ends, while f still has all of it: the next life tells the copy by that.
func (f *File) remember(size int64) {
	if _, known := f.marks.at(size); known || f.src == nil || size == 0 || size > f.length() || !f.isIntact() {
		return
	}
	f.marks = f.marks.take(f.src, size)
	f.t.touch()
}

// pass goes to an offset without reading what is before it.
func (f *File) pass(offset int64) {
	f.read = offset
	f.marks = f.marks.take(f.src, offset)
	f.mu.Lock()
	f.decided = offset
	f.mu.Unlock()
}

// mayHave says whether content is a copy of f, or may become one.
func (f *File) mayHave(content io.ReaderAt, size int64) bool {
	if f.gone || f.unsure {
		return false
	}
	before := f.src != nil && f.isIntact()
	switch {
	case f.resembles(content, size):
		return true
	case f.src == nil || f.isIntact():
		return false
	}
	return before || f.startsLike(content, size) // it was cut off while we compared; or content is of what f's file holds now
}
