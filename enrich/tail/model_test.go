package tail

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

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
			rapid.Check(t, func(r *rapid.T) {
				script := play(t, r)
				if rapid.IntRange(0, 19).Draw(r, "again") == 0 {
					replay(t, r, script)
				}
			})
		})
	}
}

// play plays a program, and gives it as a script.
func play(t *testing.T, r *rapid.T) (script []string) {
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
	return m.script
}

// replay plays a program once more, as the script that it would leave if it failed: the same comes.
func replay(t *testing.T, r *rapid.T, script []string) {
	dir, err := os.MkdirTemp(scratch(t), "")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	l := lifeIn(t, filepath.Join(dir, "logs"), filepath.Join(dir, "checkpoint"), zap.NewNop())
	defer l.over()
	if err := errors.Join(os.Mkdir(l.dir, 0o755), l.follow(script)); err != nil {
		r.Fatalf("as a script it does something else: %v\n%s", err, strings.Join(script, "\n"))
	}
}

// A model is what should be true of the files and of what was read. What it does, it does as the actions of a script.
type model struct {
	*life
	script     []string
	glob       string
	banner     int // lines that each file begins with
	lines      []*written
	inodes     []*inode // app.log, app.log.1, ...; then those that are deleted
	deleted    []*inode
	lateIn     *inode   // where an app writes that has not heard of the rotations since; nil: none does
	half       *written // begun in app.log, not ended
	want       int      // how many of the next lines to hold
	held       []string // which of them this action held
	log        bytes.Buffer
	wrong      []string
	checkpoint []byte // as it was written last
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
	if err == nil {
		err = os.Mkdir(filepath.Join(dir, "logs"), 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	m := &model{inodes: []*inode{{}}}
	m.life = lifeIn(t, filepath.Join(dir, "logs"), filepath.Join(dir, "checkpoint"), m.logger())
	m.taker = m.handle
	m.glob = rapid.SampledFrom([]string{"app.log", "app.log*"}).Draw(r, "glob")
	m.banner = rapid.SampledFrom([]int{0, 1, 700}).Draw(r, "banner")
	m.create(r)
	m.begin(r)
	return m
}

// act does one action of a script, and adds it to the script with what came.
func (m *model) act(r *rapid.T, format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	var came []string
	m.compare = func(got []string) { came = got }
	verb, rest, _ := strings.Cut(line, " ")
	if err := m.do(verb, rest, nil); err != nil {
		r.Fatal(err)
	}
	for _, text := range m.held {
		m.script = append(m.script, "hold "+text)
	}
	m.held = nil
	m.script = append(m.script, line)
	for _, line := range came {
		m.script = append(m.script, "    "+line)
	}
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
	m.over()
	os.RemoveAll(filepath.Dir(m.dir))
}

// logger keeps what the tailer says, for a case that fails.
func (m *model) logger() *zap.Logger {
	enc := zapcore.NewConsoleEncoder(zapcore.EncoderConfig{MessageKey: "m"})
	return zap.New(zapcore.NewCore(enc, zapcore.AddSync(&m.log), zapcore.DebugLevel))
}

func (m *model) note(format string, args ...any) { fmt.Fprintf(&m.log, format+"\n", args...) }

func (m *model) begin(r *rapid.T) {
	m.act(r, "start %s from=beginning block=4096", m.glob)
	m.opened()
	m.checkpoint = m.tailer.saved
	m.markSaved()
}

// create begins app.log anew.
func (m *model) create(r *rapid.T) { m.act(r, "lines app.log %d banner", m.banner) }

// opened says that the tailer has looked: what has a name is open now.
func (m *model) opened() {
	for _, i := range m.inodes {
		i.open = true
	}
}

func (m *model) newLine(r *rapid.T, in *inode) *written {
	w := &written{in: []*inode{in}}
	filler := strings.Repeat("x", rapid.SampledFrom([]int{0, 0, 30, 300, 2000}).Draw(r, "length"))
	w.text = fmt.Sprintf("%06d-%s-%06d", len(m.lines), filler, len(m.lines))
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
		m.act(r, "write app.log %s", m.half.text[3:])
		m.half.excuse = false
		m.half = nil
	}
	for range n {
		m.act(r, "write app.log %s", m.newLine(r, m.inodes[0]).text)
	}
}

// writeHalf writes the beginning of a line; the next write ends it.
func (m *model) writeHalf(r *rapid.T) {
	if m.half != nil {
		r.Skip()
	}
	m.half = m.newLine(r, m.inodes[0])
	m.half.excuse = true // until its end is written
	m.act(r, "half app.log %s", m.half.text[:3])
}

// endHalf ends the line that is half written, before something else happens to the file.
func (m *model) endHalf(r *rapid.T) {
	if m.half != nil {
		m.write(r)
	}
}

// writeLate writes through a file that was opened before it was renamed.
func (m *model) writeLate(r *rapid.T) {
	if m.lateIn == nil {
		m.endHalf(r)
		m.act(r, "open late app.log")
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
	m.act(r, "via late %s", w.text)
	if slices.Contains(m.deleted, m.lateIn) && !m.lateIn.open {
		w.excuse = true
	}
	if rapid.Bool().Draw(r, "last") {
		m.act(r, "leave late")
		m.lateIn = nil
	}
}

func (m *model) shift(r *rapid.T) {
	const keep = 4
	for n := len(m.inodes) - 1; n > 0; n-- {
		from := fmt.Sprintf("app.log.%d", n)
		if n == keep {
			m.delete(r, from, n)
			continue
		}
		m.act(r, "rename %s app.log.%d", from, n+1)
	}
}

func (m *model) delete(r *rapid.T, path string, n int) {
	m.act(r, "delete %s", path)
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
	m.act(r, "rename app.log app.log.1")
	m.inodes = slices.Insert(m.inodes, 0, &inode{})
	m.create(r)
}

func (m *model) copyTruncate(r *rapid.T) {
	m.endHalf(r)
	m.shift(r)
	m.act(r, "copy app.log app.log.1")
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
	m.act(r, "truncate app.log 0")
	for _, w := range m.lines {
		w.in = slices.DeleteFunc(w.in, func(i *inode) bool { return i == m.inodes[0] })
	}
	m.excuse()
	m.create(r)
}

func (m *model) truncate(r *rapid.T) {
	m.endHalf(r)
	m.cutOff(r)
}

func (m *model) recreate(r *rapid.T) {
	m.endHalf(r)
	m.delete(r, "app.log", 0)
	m.inodes = slices.Insert(m.inodes, 0, &inode{})
	m.create(r)
}

func (m *model) look(r *rapid.T) {
	m.act(r, "look")
	m.opened()
}

func (m *model) read(r *rapid.T) {
	m.act(r, "read")
	m.opened()
}

func (m *model) wait(r *rapid.T) {
	for _, i := range slices.Concat(m.inodes[1:], m.deleted) {
		i.slept = true
	}
	m.act(r, "wait %s", rapid.SampledFrom([]string{"1s", "3s", "40s"}).Draw(r, "time"))
}

func (m *model) save(r *rapid.T) {
	m.act(r, "save")
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

func (m *model) closeHold(r *rapid.T) { m.onHeld(r, "close").closed = true }

func (m *model) release(r *rapid.T) { m.onHeld(r, "release").hold = nil }

func (m *model) onHeld(r *rapid.T, verb string) *written {
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
	m.act(r, "%s %s", verb, w.text[:6])
	return w
}

func (m *model) kill(r *rapid.T) {
	m.act(r, "kill")
	m.died(r)
}

// died begins another life after one.
func (m *model) died(r *rapid.T) {
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
	m.act(r, "stop")
	m.markSaved()
	m.died(r)
}

// handle compares each line of a block with the model.
func (m *model) handle(b *Block) error {
	m.noticeSave()
	m.life.handle(b)
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
			m.wrong = append(m.wrong, fmt.Sprintf("%.40q (%d bytes at %d of %.4s) was never written", text, len(text), s.from, b.File.ID))
		}
		return
	}
	w := m.lines[n]
	m.note("line %d from %s at %d", n, b.File.ID[:4], s.from)
	if w.short && w.killed {
		w.come, w.saved = false, false
	}
	if w.come {
		m.wrong = append(m.wrong, fmt.Sprintf("line %d came twice", n))
	}
	if w.saved {
		m.wrong = append(m.wrong, fmt.Sprintf("line %d came again although it was decided", n))
	}
	w.come, w.file, w.span, w.closed, w.killed = true, b.File, s, b.Record, false
	if m.want > 0 {
		m.want--
		w.hold = b.File.Hold(s.from, s.to)
		m.holds[text[:6]] = w.hold
		m.held = append(m.held, text[:6])
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
	if len(m.wrong) > 0 {
		r.Logf("%s\n%s\nas a script: %s", strings.Join(m.wrong, "\n"), &m.log, m.keepScript(r))
		r.Fatal("what came is not what was written") // the same words always, or nothing could be shrunk
	}
}

// failedScript is the last program that failed, and so in the end the smallest. Correct what it expects, and give it a name
// under testdata/life.
const failedScript = "testdata/failed.txt"

func (m *model) keepScript(r *rapid.T) string {
	text := "# " + strings.Join(m.wrong, "\n# ") + "\n" + strings.Join(m.script, "\n") + "\n"
	if err := os.WriteFile(failedScript, []byte(text), 0o644); err != nil {
		r.Log(err)
	}
	return failedScript
}

// end reads all there is, and expects that nothing is missing.
func (m *model) end(r *rapid.T) {
	m.endHalf(r)
	m.read(r)
	m.act(r, "wait 5s")
	m.read(r)
	for n, w := range m.lines {
		if !w.come && !w.saved && !w.excuse {
			m.wrong = append(m.wrong, fmt.Sprintf("line %d was lost", n))
		}
	}
	m.failed(r)
}
