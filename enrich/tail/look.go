package tail

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"
)

const (
	// settled is how long a file that looks like a copy of ours must stay as it is until it counts as a file of its own.
	settled = 2 * time.Second
	// fresh is how long a file that we do not follow counts as new: it may be a rotated one that we never saw under its
	// first name.
	fresh = 3 * time.Second
	// slack is how much the clock that stamps files may be behind ours.
	slack = 20 * time.Millisecond
	// banner is the longest beginning that two logs are thought to share by chance.
	banner = 4 << 10
)

// An entry is a file as a look finds it.
type entry struct {
	path string
	info
}

// A delay is the patience with a file that may be a copy in the making.
type delay struct {
	size  int64
	since time.Time
}

// look finds what has changed in the directories: new files, and where those that we know have gone.
func (t *Tailer) look(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	looked := time.Now()
	v := newView()
	matched := t.match(v)
	here := map[*File]bool{}
	var strangers []entry
	for _, e := range matched {
		if f := t.byKey[e.key]; f != nil {
			here[f] = true
			f.seen(e)
			f.away = time.Time{}
		} else {
			strangers = append(strangers, e)
		}
	}
	t.follows(v, here, now)
	slices.SortFunc(strangers, older)
	for _, e := range strangers {
		if t.byKey[e.key] == nil { // it may have been found to be a copy meanwhile
			t.meet(v, e, now)
		}
	}
	t.remember(v, now)
	t.looked = looked
	t.metrics.files.Set(float64(len(t.files)))
}

// match gives the files that the globs match, each once.
func (t *Tailer) match(v *view) []entry {
	var found []entry
	known := map[key]bool{}
	t.dirs = t.dirs[:0]
	for _, g := range t.config.Globs {
		if g == Standard {
			continue
		}
		v.expand(g, func(path string) {
			if compressed(path) {
				return
			}
			i, err := stat(path)
			if err != nil || !i.regular || known[i.key] {
				return
			}
			known[i.key] = true
			found = append(found, entry{path, i})
			t.target(path)
		}, t.visit)
	}
	for dir, err := range v.errs {
		if !errors.Is(err, fs.ErrNotExist) {
			t.say(dir, err)
		}
	}
	return found
}

// visit notes a directory to be watched.
func (t *Tailer) visit(dir string) {
	if !slices.Contains(t.dirs, dir) {
		t.dirs = append(t.dirs, dir)
	}
}

// target watches where a symbolic link leads, since that is where the writing happens.
func (t *Tailer) target(path string) {
	if i, err := os.Lstat(path); err == nil && i.Mode()&fs.ModeSymlink != 0 {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			t.visit(filepath.Dir(real))
		}
	}
}

// seen takes what a look has found of f.
func (f *File) seen(e entry) {
	if e.size != f.size || e.modified != f.modified || f.src == nil && !f.ended || f.size > f.read && !f.skipping {
		f.dirty = true
	}
	f.name, f.size, f.modified = e.path, e.size, e.modified
}

// follows finds the files that are no longer where the globs look.
func (t *Tailer) follows(v *view, here map[*File]bool, now time.Time) {
	for _, f := range slices.Clone(t.files) {
		if here[f] || f.gone || f.Stream {
			continue
		}
		if f.away.IsZero() {
			f.away = now
			f.dirty = true
			t.metrics.rotated.Inc()
			t.displaced(v, f, now)
		}
		t.search(v, f, now)
	}
}

// search finds where f is now.
func (t *Tailer) search(v *view, f *File, now time.Time) {
	for _, e := range t.beside(v, f) {
		if e.key == f.key {
			f.seen(e)
			return
		}
	}
	if f.src != nil {
		return // it has no name here, but we can read it
	}
	if f.ended && !f.isHeld() {
		t.forget(f)
		return
	}
	if !t.findCopy(v, f) {
		t.lose(f, lostDeleted)
	}
}

// beside gives the files in the directories in which f was seen.
func (t *Tailer) beside(v *view, f *File) []entry {
	dirs := []string{filepath.Dir(f.Path)}
	if d := filepath.Dir(f.name); d != dirs[0] {
		dirs = append(dirs, d)
	}
	var found []entry
	for _, dir := range dirs {
		for _, name := range v.list(dir) {
			path := filepath.Join(dir, name)
			if i, err := stat(path); err == nil && i.regular {
				found = append(found, entry{path, i})
			}
		}
	}
	slices.SortFunc(found, older)
	return found
}

// displaced reads the generations of a path that came and went since the last look: f was the last that we saw.
func (t *Tailer) displaced(v *view, f *File, now time.Time) {
	for _, e := range t.beside(v, f) {
		if t.byKey[e.key] != nil || compressed(e.path) || !isRotation(filepath.Base(f.Path), filepath.Base(e.path)) || !t.isFresh(e, now) {
			continue
		}
		src, err := os.Open(e.path)
		if err != nil {
			t.say(e.path, err)
			continue
		}
		if t.isCopy(src, e.size) {
			src.Close()
			continue
		}
		g := t.begin(f.Path, e, src, 0)
		g.away = now
	}
}

// older orders files by age. Files of one moment are ordered by name: app.log.2 before app.log.1 before app.log, and dates as
// they follow each other.
func older(a, b entry) int {
	return cmp.Or(cmp.Compare(a.modified, b.modified), cmp.Compare(a.born, b.born),
		cmp.Compare(generation(b.path), generation(a.path)), cmp.Compare(a.path, b.path))
}

// generation is the number at the end of a rotated file's name; 0 where it has none.
func generation(path string) int {
	n, err := strconv.Atoi(strings.TrimPrefix(filepath.Ext(path), "."))
	if err != nil || n > 999 {
		return 0
	}
	return n
}

// isFresh says whether e was not there a moment ago.
func (t *Tailer) isFresh(e entry, now time.Time) bool {
	since, known := t.seen[e.key]
	if known {
		return now.Sub(since) < fresh
	}
	if t.looked.IsZero() {
		return false
	}
	return e.stamp() > t.looked.Add(-slack).UnixNano()
}

// stamp is when the file was born, or else when it was last written.
func (i info) stamp() int64 {
	if i.born != 0 {
		return i.born
	}
	return i.modified
}

// isCopy says whether content is that of a file of ours, as far as it goes.
func (t *Tailer) isCopy(content *os.File, size int64) bool {
	for _, f := range t.files {
		if f.marks.covers(size) && f.marks.match(content, size) {
			return true
		}
	}
	return false
}

// findCopy looks for a copy of f, whose own content is gone, and lets f go on there.
func (t *Tailer) findCopy(v *view, f *File) bool {
	if f.marks.end() == 0 {
		return false
	}
	near := t.beside(v, f)
	slices.Reverse(near) // the newest first
	for _, e := range near {
		if g := t.byKey[e.key]; compressed(e.path) || e.size == 0 || g != nil && g.copyOf != f {
			continue
		}
		src, err := os.Open(e.path)
		if err != nil {
			continue
		}
		if f.marks.covers(e.size) && f.marks.match(src, e.size) {
			t.moveTo(f, e, src)
			return true
		}
		src.Close()
	}
	return false
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
	f.key, f.name, f.size, f.modified, f.dirty = e.key, e.path, e.size, e.modified, true
	if e.size < f.read { // written after the copy was made, and read before the truncation
		f.read = e.size
		f.marks = f.marks.upTo(e.size).take(src, e.size)
		f.mu.Lock()
		f.decided = min(f.decided, f.read)
		f.mu.Unlock()
	}
	t.byKey[e.key] = f
	delete(t.delayed, e.key)
	t.touch()
}

// truncated deals with a file of ours that holds something else now: what we had not read may stand in a copy, and what
// is in the file is another generation.
func (t *Tailer) truncated(f *File, now time.Time) {
	t.metrics.cut.Inc()
	src := f.swap(nil)
	g := t.begin(f.Path, entry{f.name, info{key: f.key}}, src, 0)
	g.away, g.limit = f.away, f.limit
	if i, err := fstat(src); err == nil {
		g.size, g.modified, g.limit = i.size, i.modified, i.size
	}
	f.key, f.dirty = key{}, true
	if f.away.IsZero() {
		f.away = now
	}
	v := newView()
	if !t.findCopy(v, f) {
		t.lose(f, lostTruncated)
	}
	t.displaced(v, f, now)
}

// lose gives up a file whose content is nowhere.
func (t *Tailer) lose(f *File, reason string) {
	lost := max(0, f.known-f.read)
	f.mu.Lock()
	for _, s := range f.again {
		lost += s.to - s.from
	}
	f.again = nil
	f.mu.Unlock()
	f.gone, f.dirty, f.lost = true, true, f.lost+lost
	f.close()
	if t.byKey[f.key] == f {
		delete(t.byKey, f.key)
	}
	t.metrics.lost.WithLabelValues(reason).Add(float64(lost))
	report := t.log.Info
	if lost > 0 || reason == lostDeleted {
		report = t.log.Warn
	}
	report("what was written to a log file after the last reading cannot be read any more", zap.String("path", f.Path),
		zap.String("reason", reason), zap.Int64("position", f.read), zap.Int64("bytesKnown", lost))
}

// meet decides what a file is that we do not know.
func (t *Tailer) meet(v *view, e entry, now time.Time) {
	src, err := os.Open(e.path)
	if err != nil {
		t.say(e.path, err)
		return
	}
	t.over(e.path)
	if f := t.continued(e, src); f != nil {
		f.away = time.Time{}
		t.moveTo(f, e, src)
		return
	}
	f, wait := t.copied(e, src, now)
	if wait {
		src.Close()
		return
	}
	start := t.start(e, now)
	if f != nil {
		start = e.size
	}
	g := t.begin(e.path, e, src, start)
	g.copyOf = f
}

// continued gives the file of ours that e has replaced with its own content, as editors and file systems with changing
// inodes do.
func (t *Tailer) continued(e entry, src *os.File) *File {
	for _, f := range t.files {
		if f.Path != e.path || f.away.IsZero() || f.marks.end() < window || e.size < f.marks.end() {
			continue
		}
		if !f.nameless() && !f.gone {
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
		return true
	}
	i, err := fstat(f.src)
	return err == nil && i.links == 0
}

// copied tells a copy of a file of ours, which copytruncate makes before it truncates, from a log of its own. wait says
// that this is not sure yet. f is the file whose copy it is.
func (t *Tailer) copied(e entry, src *os.File, now time.Time) (f *File, wait bool) {
	for _, f := range t.files {
		if f.gone || f.marks.end() == 0 || !isRotation(filepath.Base(f.Path), filepath.Base(e.path)) || filepath.Dir(f.Path) != filepath.Dir(e.path) {
			continue
		}
		if e.size > max(f.length(), f.marks.end()) || !f.marks.match(src, e.size) {
			continue
		}
		d, ok := t.delayed[e.key]
		if !ok || d.size != e.size {
			t.delayed[e.key] = delay{e.size, now}
			return nil, true
		}
		if e.size == 0 || now.Sub(d.since) < settled {
			return nil, true
		}
		delete(t.delayed, e.key)
		if e.size >= banner {
			return f, false
		}
		return nil, false
	}
	return nil, false
}

// start gives where a file is begun.
func (t *Tailer) start(e entry, now time.Time) int64 {
	for _, f := range t.files {
		if f.Path == e.path {
			return 0 // it takes that one's place
		}
	}
	switch t.config.From {
	case Beginning:
		return 0
	case End:
		return e.size
	}
	if t.first && t.looked.IsZero() {
		return e.size
	}
	if !t.first && t.looked.Before(t.started) && e.born != 0 && e.born < t.looked.UnixNano() {
		return e.size // it was there before, and was not asked for
	}
	return 0
}

// begin follows a file from an offset on.
func (t *Tailer) begin(path string, e entry, src *os.File, start int64) *File {
	f := t.newFile(path)
	f.key, f.name, f.size, f.modified = e.key, e.path, e.size, e.modified
	f.read, f.decided, f.dirty = start, start, true
	f.swap(src)
	if start > window {
		f.marks = f.marks.take(src, window)
	}
	f.marks = f.marks.take(src, start)
	t.files = append(t.files, f)
	t.byKey[f.key] = f
	t.log.Info("a log file is followed", zap.String("path", path), zap.String("now", e.path), zap.Int64("from", start))
	t.touch()
	return f
}

// forget drops a file.
func (t *Tailer) forget(f *File) {
	f.close()
	if t.byKey[f.key] == f {
		delete(t.byKey, f.key)
	}
	t.files = slices.DeleteFunc(t.files, func(g *File) bool { return f == g })
	t.touch()
}

// remember notes which files are beside ours, so that a new one is known as new, and drops what is of no use any more.
func (t *Tailer) remember(v *view, now time.Time) {
	next := map[key]time.Time{}
	for _, f := range t.files {
		for _, e := range t.beside(v, f) {
			if since, ok := t.seen[e.key]; ok {
				next[e.key] = since
			} else if _, ok := next[e.key]; !ok && (t.looked.IsZero() || !t.isFresh(e, now)) {
				next[e.key] = time.Time{}
			} else if !ok {
				next[e.key] = now
			}
		}
	}
	t.seen = next
	for _, f := range slices.Clone(t.files) {
		if f.gone && f.ended && !f.isHeld() {
			t.forget(f)
		}
	}
}
