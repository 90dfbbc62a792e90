package tail

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"
)

const (
	// smallRead is what is read of a file that has little to give, so that an idle sidecar stays small.
	smallRead = 64 << 10
	// bigRead fits the processor's second cache together with what looks at it afterwards.
	bigRead = 256 << 10
	// recently is how much of what was read last is kept of a file that is being written to: a copy that was made a moment
	// before is told by it.
	recently = 16 << 10
	// maxBlock is the longest line that is handed out.
	maxBlock = 1 << 20
)

// A key is the system's identity of a file. It may be used again once the file is deleted.
type key struct {
	dev, ino uint64
	born     int64 // nanoseconds since 1970; 0 where the file system has no birth
}

// info is what the system says of a file.
type info struct {
	key
	size     int64
	used     int64 // its room on the disk
	modified int64 // nanoseconds since 1970
	links    uint64
	regular  bool
	pipe     bool
	link     bool
	dir      bool
}

// A File is one generation of a log file: it keeps its identity when it is renamed, when a copy replaces it, and across
// restarts. A file that is truncated, rewritten or created anew is another File. Its methods are safe from any goroutine.
type File struct {
	ID     string // made when the file was first seen, of what the file system knows of it
	Path   string // as the glob matched it; a rotated file keeps the path that it was written under. "-" is standard input
	Stream bool   // a pipe or standard input that nothing is kept of: what was handed out cannot be read again

	t *Tailer

	// Guarded by Tailer.mu.
	key       key
	name      string // where it is now; "" where that is not known
	size      int64  // as the last look found it
	modified  int64
	read      int64 // handed out up to here
	known     int64 // it was at least this long when it was last read
	marks     marks
	dirty     bool      // may have something to read
	due       time.Time // when to read it although nothing happened; zero: never
	nul       int64     // NULs from read to here
	half      int64     // length of the unfinished line
	since     time.Time // when half last changed
	empty     time.Time // when there was last known to be nothing more to read
	nothing   time.Time // what is to be handed out next did not stand there then
	came      time.Time // when it last had something to read
	away      time.Time // when it was first seen to be no longer where the globs look; zero: it is
	wide      bool      // its next line needs the longest buffer
	skipping  bool      // in the rest of a line that was too long
	gone      bool      // its content is nowhere
	wasAway   bool      // in an earlier life
	ended     bool      // its last block was handed out
	asleep    bool      // closed, until a look sees it change
	unsure    bool      // it was empty when it was found: once it is not, it may be a copy
	short     int64     // when a copy that is shorter than ahead has taken its place: where to read on
	shrunk    bool      // a look saw it become shorter
	newborn   bool      // the checkpoint does not know it
	ahead     int64     // where the block ends that is being handled
	dropped   bool      // it is not ours any more
	used      int64     // its room on the disk
	hole      int64     // where the hole ends that is to be made in it, once the checkpoint knows
	cuts      int       // generations that have taken its place in its own file
	offered   int64     // hole, as the checkpoint has it that is being written
	kept      int64     // hole, as the checkpoint on disk has it
	spooled   bool      // what a stream gave
	matched   sighting  // when all of its marks were last seen to be there
	verified  int64     // when it was last read as the file that we know, by the clock that stamps files
	real      string    // where the name leads, if it is a symbolic link
	encoding  Encoding
	recent    []byte // what was read last, while the file is written to
	recentEnd int64  // where that ends in the file
	again     []span // records to be handed out again
	limit     int64  // when stopping: where it ended

	mu      sync.Mutex // guards what follows
	src     *os.File   // nil while it is not open
	decided int64      // handled up to here, but for what is held
	holds   map[*Hold]struct{}
	note    []byte
}

// A Block is a run of whole lines of one file.
type Block struct {
	File   *File
	Offset int64 // of Data in the file. Bytes between two blocks are NULs that nobody wrote, or the rest of a line that was cut
	// Data is whole lines with their ends, as they stand in the file. It is valid until handle returns.
	Data    []byte
	Arrived time.Time // when it was found in the file
	Since   time.Time // when nothing of it stood there yet, of a file's first block the file's birth; zero: that is not known
	// Encoding says how Data stands for text. Data is as it stands in the file, so that offsets are the file's.
	Encoding Encoding
	// Record says that Data is exactly one range that was held, closed, and not released when an earlier life ended.
	Record bool
	// Partial says that the last line has no end and will get none soon. Should more of it come, the next block begins with it.
	Partial bool
	// Cut says of a Partial line that it was too long: its rest will not be handed out.
	Cut bool
	// Last says that nothing more is expected of this file. Data may be empty.
	Last bool

	next     int64 // where the file is to be read on
	sum      uint64
	skipping bool
}

// NoteSize is the most that File.SetNote keeps, in bytes.
const NoteSize = 4 << 10

// Note gives what SetNote was last given, in this life or an earlier one.
func (f *File) Note() []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.note
}

// SetNote keeps a few bytes with the file, in the checkpoint. Longer notes than NoteSize are not taken.
func (f *File) SetNote(note []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(note) <= NoteSize && !bytes.Equal(note, f.note) {
		f.note = bytes.Clone(note)
		f.t.touch()
	}
}

// ReadAt reads the file where it is now, as io.ReaderAt. It fails where the file cannot be read again: streams, files that
// were truncated meanwhile, files that are closed.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	f.mu.Lock()
	src := f.src
	f.mu.Unlock()
	if src == nil {
		return 0, &fs.PathError{Op: "read again", Path: f.Path, Err: os.ErrClosed}
	}
	return src.ReadAt(p, off)
}

// newFile makes the next generation of path.
func (t *Tailer) newFile(path string) *File {
	return &File{ID: rand.Text(), Path: path, t: t, holds: map[*Hold]struct{}{}}
}

// swap gives f another open file, or none.
func (f *File) swap(src *os.File) (before *os.File) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before, f.src = f.src, src
	return before
}

func (f *File) close() {
	if src := f.swap(nil); src != nil {
		src.Close()
	}
}

// length is the file's length now.
func (f *File) length() int64 { return f.stat().size }

// stat tells of the file as it is; where that cannot be had, of nothing but its length as it was.
func (f *File) stat() info {
	if f.src != nil {
		if i, err := fstat(f.src); err == nil {
			return i
		}
	}
	return info{size: f.size}
}

// A sighting is how a file or a directory was found, and when.
type sighting struct {
	info
	at time.Time
}

// still says whether nothing has changed since, going by its time. That goes in steps, so that a change just after the
// sighting may have the same one as a change just before it.
func (s sighting) still(i info) bool {
	return i == s.info && s.at.Sub(time.Unix(0, s.modified)) > slack
}

// next reads the next block of f. more says that it may have another one at once.
func (t *Tailer) next(f *File, now time.Time, final bool) (b *Block, more bool) {
	f.dirty = false
	if f.dropped {
		return nil, false
	}
	if f.gone {
		return t.farewell(f, now), false
	}
	if f.src == nil && !t.open(f, now) {
		return nil, f.dirty
	}
	if len(f.again) > 0 && !f.isIntact() { // nothing else compares before a record is read again
		f.shrunk = true
	}
	if f.shrunk { // even if what we read of it is still there: generations may begin alike
		t.truncated(f, now)
		return nil, true
	}
	if len(f.again) > 0 {
		return t.recall(f, now), true
	}
	if f.unsure && t.doubt(f, now) {
		return nil, false
	}
	p, overlap, err := t.fill(f, final)
	switch {
	case err == errChanged:
		t.truncated(f, now)
		return nil, true
	case err != nil:
		t.say(f.Path, err)
		f.due = now.Add(time.Second)
		return nil, false
	}
	return t.cut(f, p, overlap, now, final)
}

// errChanged says that a file does not hold the bytes any more that were read from it.
var errChanged = errors.New("the file was truncated or rewritten")

// errMoved says that another file has the name by now.
var errMoved = errors.New("another file has this name now")

// openAs opens what is at path, if that is the file with this identity: names move while we look. What has taken its place would be
// read as the file it is not, and the file itself never.
func openAs(path string, k key) (*os.File, info, error) {
	src, err := os.Open(path)
	if err != nil {
		return nil, info{}, err
	}
	i, err := fstat(src)
	if err != nil || i.key != k {
		src.Close()
		return nil, info{}, errMoved
	}
	return src, i, nil
}

// open opens f where it is now, and makes sure that it is the file that we know.
func (t *Tailer) open(f *File, now time.Time) bool {
	src, i, err := openAs(f.name, f.key)
	if err != nil && err != errMoved {
		t.say(f.name, err)
	} else {
		t.over(f.name)
	}
	if err != nil { // where it was renamed after the last look, the next one finds it
		f.due = now.Add(time.Second)
		return false
	}
	f.swap(src)
	f.size, f.modified, f.ended, f.asleep = i.size, i.modified, false, false
	f.encoding = sniff(src)
	if i.size < f.marks.end() || !f.marks.match(src, i.size) {
		f.shrunk = true
		return true
	}
	f.markStart(src)
	return true
}

// fill reads what follows, behind the few bytes before it, which tell whether the file is still the one that we know.
func (t *Tailer) fill(f *File, final bool) (p []byte, overlap int, err error) {
	i, looked := f.stat(), time.Now()
	if f.isCutOff(i.size) { // what is here now does not follow what was read, though it may begin alike
		return nil, 0, errChanged
	}
	f.size = i.size
	from, overlap := before(f.read)
	want := smallRead
	if f.size-f.read > smallRead {
		want = bigRead
	}
	want = min(want, t.config.block)
	if f.wide {
		want = t.config.block
	}
	left := int64(want) + 1
	if final {
		left = max(0, f.limit-f.read)
	}
	full := int64(want) < left
	want = int(min(int64(want), left))
	buf := t.room(overlap + want)
	n, err := f.src.ReadAt(buf, from)
	if err != nil && err != io.EOF {
		return nil, 0, err
	}
	if n < overlap {
		return nil, 0, errChanged
	}
	if known, ok := f.marks.at(f.read); ok && known != sum(buf[:overlap]) {
		return nil, 0, errChanged
	}
	if end := f.marks.end(); end > f.read && !f.matched.still(i) {
		if !f.marks.match(f.src, end) {
			return nil, 0, errChanged
		}
		f.matched = sighting{i, looked}
	}
	f.verified = t.config.wall().UnixNano()
	f.dirty = full && n == len(buf)
	f.known = from + int64(n)
	if f.half == 0 {
		f.nothing = f.empty
	}
	if f.dirty {
		f.known = max(f.known, f.size)
	} else {
		f.empty = looked
	}
	return buf[:n], overlap, nil
}

// room gives n bytes to read into.
func (t *Tailer) room(n int) []byte {
	if cap(t.buf) < n {
		t.buf = make([]byte, n)
	}
	return t.buf[:n]
}

// cut makes a block of the whole lines of p, whose first bytes are known.
func (t *Tailer) cut(f *File, p []byte, overlap int, now time.Time, final bool) (b *Block, more bool) {
	full, before := f.dirty, f.read
	if overlap == 0 {
		f.encoding = encodingOf(p)
	}
	start, skipping := t.skip(f, p, overlap)
	if f.read != before {
		return nil, true // behind a hole, p is something else
	}
	rest := p[start:]
	if len(rest) > 0 && rest[0] == 0 && f.encoding == Bytes {
		rest = nil // nothing but NULs
	}
	at := f.read + int64(start-overlap)
	end := f.encoding.lastLine(rest, at)
	b = &Block{File: f, Offset: at, Encoding: f.encoding, Data: rest[:end], Arrived: now, Since: f.nothing, skipping: skipping}
	switch {
	case end > 0:
		f.wide = false
	case len(rest) >= t.config.block && (f.encoding != Bytes || bytes.IndexByte(rest, 0) < 0):
		b.Data, b.Partial, b.Cut, b.skipping, f.wide = rest, true, true, true, false
	case full && len(rest) > 0 && (f.encoding != Bytes || bytes.IndexByte(rest, 0) < 0):
		f.wide = true
	default:
		t.ending(f, b, rest, now, final)
	}
	if len(b.Data) > 0 {
		f.came, f.since, f.half, f.due = now, now, int64(len(rest)-len(b.Data)), now.Add(halfLine)
	}
	start += len(b.Data)
	b.next = f.read + int64(start-overlap)
	b.sum = sum(p[max(0, start-window):start])
	if len(f.marks) == 0 && overlap == 0 && start > window {
		f.marks = f.marks.add(window, sum(p[:window]))
	}
	f.keep(p[overlap:start], b.next, full)
	if len(b.Data) == 0 && !b.Last {
		f.move(b)
		return nil, f.dirty
	}
	return b, true
}

// keep keeps p, which ends at the offset end, with what was read before it. In a hurry it keeps nothing.
func (f *File) keep(p []byte, end int64, full bool) {
	switch {
	case len(p) == 0 && f.recentEnd == end:
	case full && len(p) > recently:
		f.recent = f.recent[:0]
	default:
		if f.recentEnd != end-int64(len(p)) {
			f.recent = f.recent[:0]
		}
		p = p[max(0, len(p)-recently):]
		over := max(0, len(f.recent)+len(p)-recently)
		f.recent = append(f.recent[:copy(f.recent, f.recent[over:])], p...)
	}
	f.recentEnd = end
}

// skip gives where the next line begins in p: behind the rest of a line that was too long, and behind NULs, which stand
// where an app goes on writing at its old offset after a truncation.
func (t *Tailer) skip(f *File, p []byte, start int) (line int, skipping bool) {
	line = start
	if f.skipping {
		i := f.encoding.firstLine(p[line:], f.read)
		if skipping = i == 0; skipping {
			i = len(p) - line
		}
		t.metrics.lost.WithLabelValues(lostLongLine).Add(float64(i))
		line += i
	}
	text := line
	for f.encoding == Bytes && text < len(p) && p[text] == 0 {
		text++
	}
	switch {
	case text < len(p) || text == line:
		return text, skipping
	case line > start:
		f.dirty = true // the NULs are for the next time
	default:
		t.jump(f, p)
	}
	return line, skipping
}

// jump passes NULs that are longer than the buffer, once text follows them: until then they are not written yet. It goes
// one buffer further at each call, and over holes at once.
func (t *Tailer) jump(f *File, p []byte) {
	_, overlap := before(f.read)
	from := max(f.nul, f.read+int64(len(p)-overlap))
	f.nul, f.dirty = from, false
	at, ok := data(f.src, from-1)
	if !ok {
		return
	}
	from = max(from, at)
	n, _ := f.src.ReadAt(p, from)
	k := len(p[:n]) - len(bytes.TrimLeft(p[:n], "\x00"))
	f.nul = from + int64(k)
	f.dirty = n == len(p)
	if k < n {
		f.read = f.nul
		f.marks = f.marks.take(f.src, f.read)
		f.dirty = true
	}
}

// ending handles a line that has no end yet, and a file that is at its end.
func (t *Tailer) ending(f *File, b *Block, rest []byte, now time.Time, final bool) {
	if i := bytes.IndexByte(rest, 0); i >= 0 && f.encoding == Bytes {
		rest = rest[:i] // what follows is not written yet
		f.dirty = false
	}
	if !f.dirty {
		f.known = b.Offset + int64(len(rest))
	}
	if n := int64(len(rest)); n != f.half {
		f.half, f.since, f.came = n, now, now
	}
	silence := f.since.Add(halfLine)
	if f.half > 0 && (final || !now.Before(silence)) {
		b.Data, b.Partial = rest, true
	}
	f.due = time.Time{}
	if f.half > 0 {
		f.due = silence
	}
	if f.away.IsZero() || f.ended || f.dirty {
		return
	}
	done := t.expires(f)
	if f.half == 0 && !now.Before(done) {
		b.Last = true
		f.due = time.Time{}
	} else if f.due.IsZero() || done.Before(f.due) {
		f.due = done
	}
}

// expires is when f, which is away, counts as complete.
func (t *Tailer) expires(f *File) time.Time {
	if f.spooled { // nobody writes to it but us
		return f.away
	}
	since := f.away
	if f.came.After(since) {
		since = f.came
	}
	if i, err := fstat(f.src); err == nil && i.links == 0 {
		return since.Add(quietDeleted)
	}
	return since.Add(quietRotated)
}

// recall reads a record that an earlier life held.
func (t *Tailer) recall(f *File, now time.Time) *Block {
	s := f.again[0]
	buf := t.room(int(min(s.to-s.from, 8*maxBlock)))
	n, _ := f.src.ReadAt(buf, s.from)
	return &Block{File: f, Offset: s.from, Data: buf[:n], Arrived: now, Record: true, Encoding: f.encoding}
}

// farewell is the last block of a file whose content is nowhere.
func (t *Tailer) farewell(f *File, now time.Time) *Block {
	f.due = time.Time{}
	if f.ended {
		return nil
	}
	return &Block{File: f, Offset: f.read, Arrived: now, Last: true, next: f.read}
}

// handled goes on behind a block.
func (f *File) handled(b *Block) {
	f.t.metrics.read.Add(float64(len(b.Data)))
	if b.Record {
		f.mu.Lock()
		f.again = f.again[1:]
		f.mu.Unlock()
		f.dirty = true
		return
	}
	f.move(b)
	if b.Last {
		f.ended, f.asleep = true, true
		f.close()
		f.t.log.Info("a log file is complete", zap.String("path", f.Path), zap.String("now", f.name), zap.Int64("bytes", f.read))
	}
}

// move goes on where the block says.
func (f *File) move(b *Block) {
	switch {
	case f.short > 0: // it went on in a copy that ends before the block
		f.read, f.short = f.short, 0
	case b.next > f.read:
		f.marks = f.marks.add(b.next, b.sum)
		f.read = b.next
	}
	f.skipping = b.skipping
	f.mu.Lock()
	f.decided = f.read
	f.mu.Unlock()
}
