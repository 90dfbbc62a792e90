package tail

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"pgregory.net/rapid"
)

// TestModel lets random programs write, rotate, truncate, kill and restart, and compares what the tailer hands out with
// what a small model of the files says must come, may come again, and may be lost.
//
// The seeds are the same each time, so that no change is held up by another one's rare fault; -rapid.seed plays others, as make
// torture does.
func TestModel(t *testing.T) {
	seeds := []string{"1", "2", "1260114", "3444053"} // the last two begin with programs that failed once
	flagged := flag.Lookup("rapid.seed")
	if given := flagged.Value.String(); given != flagged.DefValue {
		seeds = []string{given}
	}
	for _, seed := range seeds {
		t.Run(seed, func(t *testing.T) {
			flagged.Value.Set(seed)
			rapid.Check(t, func(r *rapid.T) { play(t, r) })
		})
	}
}

func play(t *testing.T, r *rapid.T) {
	m := newModel(t, r)
	defer m.close()
	r.Repeat(map[string]func(*rapid.T){
		"write":        m.write,
		"write half":   m.writeHalf,
		"write late":   m.writeLate,
		"rename":       m.rename,
		"copytruncate": m.copyTruncate,
		"truncate":     m.truncate,
		"recreate":     m.recreate,
		"look":         m.look,
		"read":         m.read,
		"wait":         m.wait,
		"save":         m.save,
		"hold":         m.holdNext,
		"close":        m.closeHold,
		"release":      m.release,
		"kill":         m.kill,
		"stop":         m.stop,
		"":             m.failed,
	})
	m.end(r)
}

// A model is what should be true of the files and of what was read.
type model struct {
	*life
	glob       string
	banner     string
	lines      []*written
	inodes     []*inode // app.log, app.log.1, ...; then those that are deleted
	deleted    []*inode
	late       *os.File
	lateIn     *inode
	half       *written // begun in app.log, not ended
	want       int      // how many of the next lines to hold
	log        bytes.Buffer
	errors     []string
	checkpoint []byte           // as it was written last
	time       int64            // of the files, in nanoseconds: every action takes a second
	born       map[uint64]int64 // when each file was first seen to be there
}

// A written is a line of a log.
type written struct {
	text   string
	in     []*inode // where it stands
	come   bool     // it was handed out
	again  bool     // it may come again
	saved  bool     // it was decided when the checkpoint was written
	excuse bool     // it may be lost
	short  bool     // it is in a copy that ends before what was read of the file: after a kill that cannot be told for sure
	killed bool     // there was a kill since it came
	file   *File    // where it came from
	span
	hold   *Hold
	closed bool
}

// An inode is a file, whatever its name.
type inode struct {
	open  bool // the tailer has it open, or would find it
	slept bool // it may have been closed, since it was rotated away and quiet for long
}

func newModel(t *testing.T, r *rapid.T) *model {
	dir, err := os.MkdirTemp(scratch(t), "")
	if err != nil {
		t.Fatal(err)
	}
	m := &model{life: &life{t: t, dir: dir, clock: time.Now(), holds: map[string]*Hold{}}}
	m.taker = m.handle
	m.born = map[uint64]int64{}
	m.config = Config{Checkpoint: filepath.Join(dir, "checkpoint"), Log: m.logger(), From: Beginning, block: 4096, wall: m.now, stamp: m.stamp}
	m.glob = rapid.SampledFrom([]string{"app.log", "app.log*"}).Draw(r, "glob")
	m.banner = strings.Repeat("banner\n", rapid.SampledFrom([]int{0, 1, 700}).Draw(r, "banner"))
	m.inodes = []*inode{{}}
	m.time = time.Now().UnixNano()
	m.create()
	m.begin(r)
	return m
}

// scratch is a directory in memory where there is one: it is the many flushes of the checkpoint that take long.
func scratch(t *testing.T) string {
	const memory = "/dev/shm"
	if i, err := os.Stat(memory); err == nil && i.IsDir() {
		return memory
	}
	return t.TempDir()
}

func (m *model) close() {
	m.life.kill()
	if m.late != nil {
		m.late.Close()
	}
	os.RemoveAll(m.dir)
}

// logger keeps what the tailer says, for a case that fails.
func (m *model) logger() *zap.Logger {
	enc := zapcore.NewConsoleEncoder(zapcore.EncoderConfig{MessageKey: "m"})
	return zap.New(zapcore.NewCore(enc, zapcore.AddSync(&m.log), zapcore.DebugLevel))
}

func (m *model) note(format string, args ...any) { fmt.Fprintf(&m.log, format+"\n", args...) }

// now is the clock that stamps files.
func (m *model) now() time.Time { return time.Unix(0, m.time) }

func (m *model) stamp(i info) int64 {
	if i.dir {
		return m.time
	}
	return m.born[i.ino]
}

// pass lets a second pass, and notes which files are new. Where files come quicker than the clock that stamps them goes, no
// tailer can tell their order.
func (m *model) pass() {
	names, _ := os.ReadDir(m.dir)
	for _, n := range names {
		if i, err := stat(m.path(n.Name())); err == nil && m.born[i.ino] == 0 {
			m.born[i.ino] = m.time
		}
	}
	m.time += int64(time.Second)
}

func (m *model) app() string { return m.path("app.log") }

func (m *model) must(r *rapid.T, err error) {
	if err != nil {
		r.Fatal(err)
	}
}

func (m *model) begin(r *rapid.T) {
	args := []string{m.glob, "from=beginning"}
	m.must(r, m.life.start(args))
	m.pass()
	m.opened()
	m.checkpoint = m.tailer.saved
	m.markSaved()
}

// create begins app.log anew.
func (m *model) create() {
	os.WriteFile(m.app(), []byte(m.banner), 0o644)
	m.pass()
}

// opened says that the tailer has looked: what has a name is open now.
func (m *model) opened() {
	for _, i := range m.inodes {
		i.open = true
	}
}

func (m *model) newLine(r *rapid.T, in *inode) *written {
	w := &written{in: []*inode{in}}
	filler := strings.Repeat("x", rapid.SampledFrom([]int{0, 0, 30, 300, 2000}).Draw(r, "length"))
	w.text = fmt.Sprintf("%06d%s%06d", len(m.lines), filler, len(m.lines))
	m.note("write line %d, %d bytes", len(m.lines), len(w.text)+1)
	m.lines = append(m.lines, w)
	return w
}

func (m *model) write(r *rapid.T) {
	m.writeLines(r, rapid.SampledFrom([]int{1, 1, 1, 5, 20}).Draw(r, "lines"))
}

// writeFew writes less than what is remembered of a file byte by byte.
func (m *model) writeFew(r *rapid.T) { m.writeLines(r, rapid.IntRange(1, 5).Draw(r, "lines")) }

func (m *model) writeLines(r *rapid.T, n int) {
	if m.half != nil {
		m.must(r, m.append(m.app(), m.half.text[3:]+"\n"))
		m.half.excuse = false
		m.half = nil
	}
	for range n {
		m.must(r, m.append(m.app(), m.newLine(r, m.inodes[0]).text+"\n"))
	}
}

// writeHalf writes the beginning of a line; the next write ends it.
func (m *model) writeHalf(r *rapid.T) {
	if m.half != nil {
		r.Skip()
	}
	m.half = m.newLine(r, m.inodes[0])
	m.half.excuse = true // until its end is written
	m.must(r, m.append(m.app(), m.half.text[:3]))
}

// endHalf ends the line that is half written, before something else happens to the file.
func (m *model) endHalf(r *rapid.T) {
	if m.half != nil {
		m.write(r)
	}
}

// writeLate writes through a file that was opened before it was renamed.
func (m *model) writeLate(r *rapid.T) {
	if m.late == nil {
		m.endHalf(r)
		var err error
		m.late, err = os.OpenFile(m.app(), os.O_WRONLY|os.O_APPEND, 0)
		m.must(r, err)
		m.lateIn = m.inodes[0]
		return
	}
	if m.lateIn == m.inodes[0] {
		m.endHalf(r)
	}
	if m.lateIn.slept {
		m.lateIn.open, m.lateIn.slept = false, false
	}
	w := m.newLine(r, m.lateIn)
	_, err := m.late.WriteString(w.text + "\n")
	m.must(r, err)
	if slices.Contains(m.deleted, m.lateIn) && !m.lateIn.open {
		w.excuse = true
	}
	if rapid.Bool().Draw(r, "last") {
		m.late.Close()
		m.late = nil
	}
}

func (m *model) shift(r *rapid.T) {
	const keep = 4
	for n := len(m.inodes) - 1; n > 0; n-- {
		from := fmt.Sprintf("%s.%d", m.app(), n)
		if n == keep {
			m.delete(r, from, n)
			continue
		}
		m.must(r, os.Rename(from, fmt.Sprintf("%s.%d", m.app(), n+1)))
	}
}

func (m *model) delete(r *rapid.T, path string, n int) {
	m.must(r, os.Remove(path))
	i := m.inodes[n]
	m.inodes = slices.Delete(m.inodes, n, n+1)
	m.deleted = append(m.deleted, i)
	if !i.open {
		m.excuse()
	}
}

// excuse forgives the loss of lines that stand nowhere any more.
func (m *model) excuse() {
	for _, w := range m.lines {
		if !slices.ContainsFunc(w.in, func(i *inode) bool { return i.open || slices.Contains(m.inodes, i) }) {
			w.excuse = true
		}
	}
}

func (m *model) rename(r *rapid.T) {
	m.endHalf(r)
	m.shift(r)
	m.must(r, os.Rename(m.app(), m.app()+".1"))
	m.inodes = slices.Insert(m.inodes, 0, &inode{})
	m.create()
}

func (m *model) copyTruncate(r *rapid.T) {
	m.endHalf(r)
	m.shift(r)
	p, err := os.ReadFile(m.app())
	m.must(r, err)
	m.must(r, os.WriteFile(m.app()+".1", p, 0o644))
	m.pass()
	old := m.inodes[0]
	copied := &inode{}
	for _, w := range m.lines {
		if slices.Contains(w.in, old) {
			w.in = append(w.in, copied)
		}
	}
	m.inodes = slices.Insert(m.inodes, 1, copied)
	between := rapid.SampledFrom([]string{"", "look", "read", "write", "read write", "write look", "write read"}).Draw(r, "between")
	for verb := range strings.FieldsSeq(between) {
		map[string]func(*rapid.T){"look": m.look, "read": m.read, "write": m.writeFew}[verb](r)
	}
	if between == "write read" {
		for _, w := range m.lines {
			w.short = w.short || slices.Contains(w.in, copied)
		}
	}
	m.cutOff(r)
}

// cutOff truncates app.log.
func (m *model) cutOff(r *rapid.T) {
	m.must(r, os.Truncate(m.app(), 0))
	for _, w := range m.lines {
		w.in = slices.DeleteFunc(w.in, func(i *inode) bool { return i == m.inodes[0] })
	}
	m.excuse()
	m.must(r, m.append(m.app(), m.banner))
}

func (m *model) truncate(r *rapid.T) {
	m.endHalf(r)
	m.cutOff(r)
}

func (m *model) recreate(r *rapid.T) {
	m.endHalf(r)
	m.delete(r, m.app(), 0)
	m.inodes = slices.Insert(m.inodes, 0, &inode{})
	m.create()
}

func (m *model) look(r *rapid.T) {
	m.tailer.look(m.clock)
	m.pass()
	m.opened()
}

func (m *model) read(r *rapid.T) {
	m.look(r)
	m.must(r, m.life.readAll())
}

func (m *model) wait(r *rapid.T) {
	for _, i := range slices.Concat(m.inodes[1:], m.deleted) {
		i.slept = true
	}
	m.clock = m.clock.Add(rapid.SampledFrom([]time.Duration{time.Second, 3 * time.Second, 40 * time.Second}).Draw(r, "time"))
}

func (m *model) save(r *rapid.T) {
	m.must(r, m.tailer.Checkpoint())
	m.checkpoint = m.tailer.saved
	m.markSaved()
}

// noticeSave follows a checkpoint that the tailer wrote by itself, before it handed out a file's first block.
func (m *model) noticeSave() {
	if !bytes.Equal(m.tailer.saved, m.checkpoint) {
		m.checkpoint = m.tailer.saved
		m.markSaved()
	}
}

// markSaved notes what was decided when the checkpoint was written.
func (m *model) markSaved() {
	for _, w := range m.lines {
		w.saved = w.saved || w.come && !m.undecided(w)
	}
}

// undecided says whether w is held, or comes after a hold that is not closed.
func (m *model) undecided(w *written) bool {
	if w.hold != nil {
		return true
	}
	for _, h := range m.lines {
		if h.hold != nil && !h.closed && h.file == w.file && h.from <= w.from {
			return true
		}
	}
	return false
}

func (m *model) holdNext(r *rapid.T) { m.want++ }

func (m *model) closeHold(r *rapid.T) { m.pick(r, "close").closed = true }

func (m *model) release(r *rapid.T) { m.pick(r, "release").hold = nil }

func (m *model) pick(r *rapid.T, verb string) *written {
	var held []*written
	for _, w := range m.lines {
		if w.hold != nil {
			held = append(held, w)
		}
	}
	if len(held) == 0 {
		r.Skip()
	}
	w := rapid.SampledFrom(held).Draw(r, "line")
	if verb == "close" {
		w.hold.Close()
	} else {
		w.hold.Release()
	}
	return w
}

func (m *model) kill(r *rapid.T) {
	m.life.kill()
	for _, i := range slices.Concat(m.inodes, m.deleted) {
		i.open = false
	}
	m.want = 0
	for _, w := range m.lines {
		w.hold, w.killed = nil, true
		if w.come && !w.saved {
			w.come, w.again = false, true
		}
	}
	m.excuse()
	m.life.holds = map[string]*Hold{}
	if rapid.Bool().Draw(r, "rotate while down") {
		m.write(r)
		m.rename(r)
		m.write(r)
	}
	m.begin(r)
}

func (m *model) stop(r *rapid.T) {
	m.endHalf(r)
	m.opened()
	m.must(r, m.tailer.finish(m.clock, m.handle))
	m.must(r, m.tailer.Checkpoint())
	m.markSaved()
	m.kill(r)
}

// handle compares each line of a block with the model.
func (m *model) handle(b *Block) error {
	m.noticeSave()
	m.check(b)
	offset := b.Offset
	for line := range bytes.Lines(b.Data) {
		m.came(b, span{offset, offset + int64(len(line))}, string(bytes.TrimSuffix(line, []byte("\n"))))
		offset += int64(len(line))
	}
	return nil
}

func (m *model) came(b *Block, s span, text string) {
	if text == "banner" || text == "" {
		return
	}
	var n int
	if _, err := fmt.Sscanf(text, "%06d", &n); err != nil || n >= len(m.lines) || m.lines[n].text != text {
		if m.half == nil && !b.Partial && !m.torn(text) {
			m.errors = append(m.errors, fmt.Sprintf("%.40q (%d bytes at %d of %.4s) was never written", text, len(text), s.from, b.File.ID))
		}
		return
	}
	w := m.lines[n]
	m.note("line %d from %s at %d", n, b.File.ID[:4], s.from)
	if w.short && w.killed {
		w.come, w.saved = false, false
	}
	if w.come {
		m.errors = append(m.errors, fmt.Sprintf("line %d came twice", n))
	}
	if w.saved {
		m.errors = append(m.errors, fmt.Sprintf("line %d came again although it was decided", n))
	}
	w.come, w.file, w.span, w.closed, w.killed = true, b.File, s, b.Record, false
	if m.want > 0 {
		m.want--
		w.hold = b.File.Hold(s.from, s.to)
	}
}

// torn says whether text is the end of a line whose beginning was given out after waiting for too long.
func (m *model) torn(text string) bool {
	for _, w := range m.lines {
		if w.text[3:] == text || w.text[:3] == text {
			w.excuse = true
			return true
		}
	}
	return false
}

func (m *model) failed(r *rapid.T) {
	if len(m.errors) > 0 {
		r.Logf("%s\n%s", strings.Join(m.errors, "\n"), &m.log)
		r.Fatal("what came is not what was written") // the same words always, or nothing could be shrunk
	}
}

// end reads all there is, and expects that nothing is missing.
func (m *model) end(r *rapid.T) {
	m.endHalf(r)
	m.read(r)
	m.clock = m.clock.Add(5 * time.Second)
	m.read(r)
	for n, w := range m.lines {
		if !w.come && !w.saved && !w.excuse {
			m.errors = append(m.errors, fmt.Sprintf("line %d was lost", n))
		}
	}
	m.failed(r)
}
