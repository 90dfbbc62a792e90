package tail

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"
)

// slack is how much the clock that stamps files may be behind ours.
const slack = 20 * time.Millisecond

// An entry is a file as a look finds it.
type entry struct {
	path string
	real string // where path leads, if it is a symbolic link
	sure bool   // it was asked for by its name
	info
}

// look finds what has changed in the directories: new files, and where those that we know have gone.
func (t *Tailer) look(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	looked := t.config.wall()
	if t.looked.IsZero() {
		t.known = looked.UnixNano()
	}
	v := newView(t.listings)
	here := map[*File]bool{}
	var strangers []entry
	for _, e := range t.match(v) {
		if f := t.byKey[e.key]; f != nil {
			here[f] = true
			f.seen(e)
			f.away = time.Time{}
		} else {
			strangers = append(strangers, e)
		}
	}
	t.lookAtSpool(here, now)
	went := t.searchAway(v, here, now)
	for _, f := range slices.Clone(t.files) {
		if f.src == nil && !f.gone && (f.dirty || !f.asleep) { // while it has a name
			t.open(f, now)
		}
	}
	for _, e := range t.byAge(strangers) {
		if t.byKey[e.key] == nil { // it may have been found to be a copy meanwhile
			t.meet(e)
		}
	}
	for _, f := range slices.Clone(t.files) {
		if f.shrunk && f.src != nil { // while its copy is there, however long the reading waits
			t.truncated(f, now)
		}
	}
	for _, f := range went {
		t.displaced(v, f, now, t.known)
	}
	t.unseen(v, now)
	for _, f := range slices.Clone(t.files) {
		switch {
		case f.gone && f.ended && !f.isHeld():
			t.forget(f)
		case len(f.marks) == 0 && !f.unsure && f.src != nil && f.size > 0: // so that it is known although it was not read yet
			f.marks = f.marks.take(f.src, min(f.size, window)).take(f.src, f.size)
		}
	}
	t.bound()
	t.looked = looked
	if t.isMoving(looked) { // a name may have gone by unseen; what was read to its end and forgotten is older than that
		looked = looked.Add(-quietDeleted)
	}
	t.known = max(t.known, looked.UnixNano())
	t.metrics.files.Set(float64(len(t.files)))
}

// isMoving says whether names were changed in the directories of the logs since a look began, or just before.
func (t *Tailer) isMoving(looked time.Time) bool {
	for _, dir := range t.dirs {
		if i, err := stat(dir); err == nil && t.config.stamp(i) >= looked.Add(-slack).UnixNano() {
			return true
		}
	}
	return false
}

// match gives the files that the globs match, each once.
func (t *Tailer) match(v *view) []entry {
	var found []entry
	known := map[key]bool{}
	t.dirs, t.pipes = t.dirs[:0], t.pipes[:0]
	for _, g := range t.config.Globs {
		if g == Standard {
			continue
		}
		v.expand(g, func(path string) {
			i, ok := v.stat(path)
			if !ok || known[i.key] || compressed(path) {
				return
			}
			known[i.key] = true
			e := entry{path: path, real: t.target(v, path), sure: path == filepath.Clean(g), info: i}
			switch {
			case i.regular:
				found = append(found, e)
			case i.pipe:
				t.pipes = append(t.pipes, e)
			}
		}, t.visit)
	}
	for dir, err := range v.errs {
		t.say(dir, err)
	}
	return found
}

// visit notes a directory to be watched.
func (t *Tailer) visit(dir string) {
	if !slices.Contains(t.dirs, dir) {
		t.dirs = append(t.dirs, dir)
	}
}

// target gives where a symbolic link leads, and watches that directory, since the writing happens there.
func (t *Tailer) target(v *view, path string) string {
	if !v.stats[path].link {
		return ""
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return ""
	}
	t.visit(filepath.Dir(real))
	return real
}

// seen takes what a look has found of f.
func (f *File) seen(e entry) {
	if e.size != f.size || e.modified != f.modified || f.src == nil && !f.asleep || len(f.again) > 0 {
		f.dirty = true
	}
	f.shrunk = f.shrunk || f.isCutOff(e.size)
	f.name, f.real, f.size, f.used, f.modified = e.path, e.real, e.size, e.used, e.modified
}

// isCutOff says whether f, if it has that size now, was cut off. Apps that fill a file with NULs beforehand cut those off at the
// end.
func (f *File) isCutOff(size int64) bool {
	if size >= f.size || f.nul > f.read {
		return false
	}
	f.known = max(f.known, f.size)
	return true
}

// searchAway finds the files that are no longer where the globs look, and gives those that were there until now.
func (t *Tailer) searchAway(v *view, here map[*File]bool, now time.Time) (went []*File) {
	for _, f := range slices.Clone(t.files) {
		if here[f] || f.gone {
			continue
		}
		if f.away.IsZero() {
			f.away, f.dirty = now, true
			if !f.wasAway {
				t.metrics.rotated.Inc()
				went = append(went, f)
			}
		}
		t.search(v, f)
	}
	return went
}

// search finds where f is now.
func (t *Tailer) search(v *view, f *File) {
	e, ok := t.byName(v, f)
	if !ok && f.src == nil { // it may have been renamed from a name that was not asked for yet to one that was
		e, ok = t.byName(newView(map[string]*listing{}), f)
	}
	if ok {
		f.seen(e)
		return
	}
	switch {
	case f.src != nil: // it has no name here, but it can be read, and be written to
		if i, err := fstat(f.src); err == nil {
			f.seen(entry{path: f.name, real: f.real, info: i})
		}
	case f.ended && len(f.again) == 0:
		if !f.isHeld() {
			t.forget(f)
		}
	case !t.findCopy(v, f):
		t.lose(f, lostDeleted)
	}
}

// byName finds f beside its path: where it was last, or else under any name.
func (t *Tailer) byName(v *view, f *File) (entry, bool) {
	if i, ok := v.stat(f.name); ok && i.key == f.key {
		return entry{path: f.name, info: i}, true
	}
	for _, e := range t.beside(v, f, func(string) bool { return true }) {
		if e.key == f.key {
			return e, true
		}
	}
	return entry{}, false
}

// beside gives the files that want is true of, in the directories in which f was seen, oldest first.
func (t *Tailer) beside(v *view, f *File, want func(name string) bool) []entry {
	dir, now := filepath.Dir(f.Path), filepath.Dir(f.name)
	found := v.files(dir, want)
	if now != dir {
		found = append(found, v.files(now, want)...)
	}
	slices.SortFunc(found, t.older)
	return found
}

// order puts a file that was rotated away before the one that has taken its place.
func (t *Tailer) order(f *File) {
	files := slices.DeleteFunc(t.files, func(g *File) bool { return g == f })
	i := slices.IndexFunc(files, func(g *File) bool {
		return g.away.IsZero() && (!f.away.IsZero() && g.Path == f.Path || isRotated(g.Path, f.Path))
	})
	if i < 0 {
		i = len(files)
	}
	t.files = slices.Insert(files, i, f)
}

// byAge gives the oldest first, but a file before its rotated ones, which may be copies of it.
func (t *Tailer) byAge(found []entry) []entry {
	slices.SortFunc(found, t.older)
	var bases, rotated []entry
	for _, e := range found {
		if slices.ContainsFunc(found, func(base entry) bool { return isRotated(base.path, e.path) }) {
			rotated = append(rotated, e)
		} else {
			bases = append(bases, e)
		}
	}
	return append(bases, rotated...)
}

// older orders files by age. Files of one moment are ordered by name: app.log.2 before app.log.1 before app.log, and dates as
// they follow each other.
func (t *Tailer) older(a, b entry) int {
	return cmp.Or(cmp.Compare(t.config.stamp(a.info), t.config.stamp(b.info)), cmp.Compare(a.modified, b.modified),
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

// stamp is when the file was born, or else when it was last written; of a directory when its names last changed.
func (i info) stamp() int64 {
	if i.born != 0 && !i.dir {
		return i.born
	}
	return i.modified
}

// truncated deals with a file of ours that holds something else now: what we had not read may stand in a copy, and what
// is in the file is another generation.
func (t *Tailer) truncated(f *File, now time.Time) {
	t.metrics.cut.Inc()
	src := f.swap(nil)
	i, err := fstat(src)
	if err != nil {
		i = info{key: f.key}
	}
	t.begin(f.Path, entry{path: f.name, real: f.real, info: i}, src, 0).away = f.away
	f.key, f.dirty, f.shrunk = key{}, true, false
	if f.away.IsZero() {
		f.away = now
	}
	v := newView(t.listings)
	if !t.findCopy(v, f) {
		t.lose(f, lostTruncated)
	}
	t.displaced(v, f, now, f.verified)
}

// lose gives up a file whose content is nowhere.
func (t *Tailer) lose(f *File, reason string) {
	lost := max(0, f.known-max(f.read, f.ahead))
	f.mu.Lock()
	for _, s := range f.again {
		lost += s.to - s.from
	}
	f.again = nil
	f.mu.Unlock()
	f.gone, f.dirty = true, true
	f.close()
	if t.byKey[f.key] == f {
		delete(t.byKey, f.key)
	}
	t.metrics.lost.WithLabelValues(reason).Add(float64(lost))
	t.metrics.unread.WithLabelValues(reason).Inc()
	report := t.log.Info
	if lost > 0 || reason == lostDeleted {
		report = t.log.Warn
	}
	report("what was written to a log file after the last reading cannot be read any more", zap.String("path", f.Path),
		zap.String("reason", reason), zap.Int64("position", f.read), zap.Int64("bytesKnown", lost))
}

// openFound opens what a look found; nil: it is not there any more, or cannot be opened.
func (t *Tailer) openFound(e entry) *os.File {
	src, _, err := openAs(e.path, e.key)
	if err != nil && err != errMoved && !os.IsNotExist(err) {
		t.say(e.path, err)
	}
	return src
}

// meet decides what a file is that we do not know.
func (t *Tailer) meet(e entry) {
	if t.binary[e.key] {
		return
	}
	src := t.openFound(e)
	if src == nil { // it may be rotated away before we are allowed to read it, or was just now: it is searched for then
		g := t.begin(e.path, e, nil, t.start(e))
		g.unsure = g.read == 0 && t.hasBase(e)
		t.order(g)
		return
	}
	if !e.sure && isBinary(src) {
		t.binary[e.key] = true
		t.log.Info("a file is no log and is left alone", zap.String("path", e.path))
		src.Close()
		return
	}
	start := t.start(e)
	doubt := start == 0 && t.hasBase(e) && (e.size == 0 || t.original(src, e.size) != nil)
	if f := t.continued(e, src); f != nil && !doubt {
		if f.src == nil {
			t.moveTo(f, e, src)
			return
		}
		start = f.length() // f's own file may yet be written to
	}
	g := t.begin(e.path, e, src, start)
	g.unsure = doubt
	t.order(g)
}

// start gives where a file is begun.
func (t *Tailer) start(e entry) int64 {
	for _, f := range t.files {
		if f.Path == e.path {
			return 0 // it takes that one's place
		}
	}
	switch t.config.From {
	case Beginning:
		return 0
	case End:
		return t.config.Survey.start(e)
	}
	if t.first && t.looked.IsZero() {
		return t.config.Survey.start(e)
	}
	if !t.first && t.looked.Before(t.started) && e.born != 0 && t.config.stamp(e.info) < t.looked.Add(-slack).UnixNano() {
		return e.size // it was there before, and was not asked for
	}
	return 0
}

// identify gives a generation its ID. It is made of what the file system knows of the file, and for a file that was
// truncated of the ID before: a life that was killed before its first checkpoint and the one after it give the same name
// to the same bytes, so that what was made of them is recognised.
func (t *Tailer) identify(k key) string {
	seed := fmt.Sprint(k.dev, k.ino, k.born)
	if before := t.byKey[k]; before != nil {
		before.cuts++ // it may go on in a copy, and that be cut off too
		seed = fmt.Sprint(before.ID, before.cuts)
	} else if k.born == 0 { // an inode's number alone is used again
		return rand.Text()
	}
	sum := sha256.Sum256([]byte(seed))
	return base32.StdEncoding.EncodeToString(sum[:])[:26]
}

// begin follows a file from an offset on.
func (t *Tailer) begin(path string, e entry, src *os.File, start int64) *File {
	f := t.newFile(path)
	f.ID, f.newborn = t.identify(e.key), true
	f.key, f.name, f.real, f.size, f.used, f.modified = e.key, e.path, e.real, e.size, e.used, e.modified
	f.read, f.decided, f.dirty, f.limit = start, start, true, e.size
	f.verified, f.known = t.known, e.size
	if start == 0 && e.born != 0 {
		f.empty = time.Unix(0, e.born)
	}
	if src != nil {
		f.swap(src)
		f.encoding = sniff(src)
		f.markStart(src)
	}
	t.files = append(t.files, f)
	t.byKey[f.key] = f
	t.log.Info("a log file is followed", zap.String("path", path), zap.String("now", e.path), zap.Int64("from", start))
	t.touch()
	return f
}

// markStart notes what stands before the place where f is begun.
func (f *File) markStart(src *os.File) {
	if f.read > window && len(f.marks) == 0 {
		f.marks = f.marks.take(src, window)
	}
	f.marks = f.marks.take(src, f.read)
}

// forget drops a file.
func (t *Tailer) forget(f *File) {
	f.close()
	f.dropped = true
	if t.byKey[f.key] == f {
		delete(t.byKey, f.key)
	}
	t.files = slices.DeleteFunc(t.files, func(g *File) bool { return f == g })
	t.touch()
}
