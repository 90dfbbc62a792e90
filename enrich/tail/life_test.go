package tail

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"
)

func TestMain(m *testing.M) {
	for name, value := range map[string]string{"rapid.checks": programs, "rapid.nofailfile": "true"} {
		if f := flag.Lookup(name); f.Value.String() == f.DefValue {
			f.Value.Set(value)
		}
	}
	goleak.VerifyTestMain(m)
}

// TestLife plays the life of log files from testdata/life: one file a case, one action a line. To add a case, add a file.
//
//	start [GLOB...] [from=beginning|end] [block=SIZE]   begins to tail; with a checkpoint if an earlier life left one
//	stop | kill                            ends in order | without reading on and without a checkpoint
//	save                                   writes the checkpoint
//	write NAME TEXT                        appends TEXT and a line end; half NAME TEXT: without line end
//	bytes NAME TEXT                        appends TEXT, a Go string
//	fill NAME N TEXT                       appends TEXT until N more bytes stand in NAME
//	lines NAME N TEXT                      appends N lines of TEXT; none makes the file
//	open HANDLE NAME | via HANDLE TEXT     keeps a file open for appending, and writes a line through it; leave HANDLE: closes it
//	at NAME OFFSET TEXT                    writes a line at an offset, as an app does that does not append; half-at: without line end
//	age NAME                               stamps a directory as if it had not changed for an hour
//	rename A B | copy A B | delete A | truncate NAME SIZE | mkdir A | link TARGET NAME | chmod MODE NAME
//	look                                   looks at the directories; reads nothing
//	wait DURATION                          lets time pass
//	hold TEXT | close TEXT | release TEXT  holds the lines with TEXT when they come, closes the holds, releases them
//	note NAME TEXT | noted NAME TEXT       keeps a note with the newest file of the path | expects it
//	read                                   looks, reads all, and expects the indented lines that follow, with flags
//
// Each action takes a second of the clock that stamps files. Where files come quicker than that clock goes, no tailer can tell
// their order.
func TestLife(t *testing.T) {
	scripts, err := filepath.Glob("testdata/life/*.txt")
	if err != nil || len(scripts) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, path := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			newLife(t).play(t, string(text))
		})
	}
}

// A life is one tailer, or several after another, in a directory of log files.
type life struct {
	t       testing.TB
	dir     string
	tailer  *Tailer
	config  Config
	clock   time.Time
	handles map[string]*os.File
	taker   func(*Block) error
	compare func(got []string) // takes what came; nil: it is compared with what the script expects
	hold    []string
	holds   map[string]*Hold
	got     []string
	known   float64       // lost bytes that were shown
	time    int64         // of the clock that stamps files, in nanoseconds since 1970
	born    map[key]int64 // when each file was first there, by that clock
}

func newLife(t testing.TB) *life {
	l := lifeIn(t, t.TempDir(), filepath.Join(t.TempDir(), "checkpoint"), zaptest.NewLogger(t))
	t.Cleanup(l.over)
	return l
}

// lifeIn is one that is ended by over.
func lifeIn(t testing.TB, dir, checkpoint string, log *zap.Logger) *life {
	now := time.Now()
	l := &life{t: t, dir: dir, clock: now, time: now.UnixNano(), born: map[key]int64{}, handles: map[string]*os.File{}, holds: map[string]*Hold{}}
	l.taker = l.handle
	l.config = Config{Checkpoint: checkpoint, Log: log, wall: l.now, stamp: l.stamp}
	return l
}

func (l *life) over() {
	l.kill()
	for _, h := range l.handles {
		h.Close()
	}
	if open := openIn(l.t, l.dir); len(open) > 0 {
		l.t.Errorf("left open: %v", open)
	}
}

// now is the clock that stamps files.
func (l *life) now() time.Time { return time.Unix(0, l.time) }

func (l *life) stamp(i info) int64 {
	if i.dir {
		return l.time
	}
	return l.born[i.key]
}

// pass lets a second pass, and notes which files are new.
func (l *life) pass() {
	filepath.WalkDir(l.dir, func(path string, _ fs.DirEntry, err error) error {
		if i, err := lstat(path); err == nil && l.born[i.key] == 0 {
			l.born[i.key] = l.time
		}
		return err
	})
	l.time += int64(time.Second)
}

// play plays a script.
func (l *life) play(t *testing.T, script string) {
	t.Helper()
	if err := l.follow(strings.Split(script, "\n")); err != nil {
		t.Fatal(err)
	}
}

func (l *life) follow(lines []string) error {
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		var want []string
		for i+1 < len(lines) && strings.HasPrefix(lines[i+1], "    ") {
			i++
			want = append(want, strings.TrimSpace(lines[i]))
		}
		verb, rest, _ := strings.Cut(line, " ")
		if err := l.do(verb, rest, want); err != nil {
			return fmt.Errorf("line %d: %s: %w", i+1, line, err)
		}
	}
	return nil
}

func (l *life) path(name string) string { return filepath.Join(l.dir, name) }

func (l *life) do(verb, rest string, want []string) error {
	defer l.pass()
	first, text, _ := strings.Cut(rest, " ")
	path := l.path(first)
	switch verb {
	case "start":
		return l.start(strings.Fields(rest))
	case "stop":
		return l.stop(want)
	case "kill":
		l.kill()
	case "save":
		return l.tailer.Checkpoint()
	case "write":
		return l.append(path, text+"\n")
	case "half":
		return l.append(path, text)
	case "bytes":
		s, err := strconv.Unquote(text)
		if err != nil {
			return err
		}
		return l.append(path, s)
	case "fill":
		n, unit, _ := strings.Cut(text, " ")
		size, err := strconv.Atoi(n)
		if err != nil {
			return err
		}
		return l.append(path, strings.Repeat(unit, size/len(unit)+1)[:size])
	case "lines":
		n, line, _ := strings.Cut(text, " ")
		count, err := strconv.Atoi(n)
		if err != nil {
			return err
		}
		return l.append(path, strings.Repeat(line+"\n", count))
	case "open":
		h, err := os.OpenFile(l.path(text), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
		l.handles[first] = h
		return err
	case "leave":
		return l.handles[first].Close()
	case "via":
		_, err := l.handles[first].WriteString(text + "\n")
		return err
	case "age":
		old := time.Now().Add(-time.Hour)
		return os.Chtimes(path, old, old)
	case "at", "half-at":
		at, text, _ := strings.Cut(text, " ")
		offset, err := strconv.ParseInt(at, 0, 64)
		if err != nil {
			return err
		}
		if verb == "at" {
			text += "\n"
		}
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o644)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = f.WriteAt([]byte(text), offset)
		return err
	case "rename":
		return os.Rename(path, l.path(text))
	case "copy":
		p, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(l.path(text), p, 0o644)
	case "delete":
		return os.RemoveAll(path)
	case "truncate":
		size, err := strconv.ParseInt(text, 0, 64)
		if err != nil {
			return err
		}
		return os.Truncate(path, size)
	case "mkdir":
		return os.MkdirAll(path, 0o755)
	case "link":
		os.Remove(l.path(text))
		return os.Symlink(first, l.path(text))
	case "chmod":
		mode, err := strconv.ParseUint(first, 8, 32)
		if err != nil {
			return err
		}
		return os.Chmod(l.path(text), os.FileMode(mode))
	case "look":
		l.tailer.look(l.clock)
	case "wait":
		d, err := time.ParseDuration(rest)
		l.clock = l.clock.Add(d)
		return err
	case "hold":
		l.hold = append(l.hold, rest)
	case "close":
		l.holds[rest].Close()
	case "release":
		l.holds[rest].Release()
	case "note":
		l.newest(first).SetNote([]byte(text))
	case "noted":
		if got := string(l.newest(first).Note()); got != text {
			return fmt.Errorf("the note is %q", got)
		}
	case "read":
		return l.read(want)
	default:
		return fmt.Errorf("no such action")
	}
	return nil
}

func (l *life) append(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(text)
	return err
}

func (l *life) start(args []string) (err error) {
	c := l.config
	c.From = Auto
	for _, a := range args {
		switch a {
		case "from=beginning":
			c.From = Beginning
		case "from=end":
			c.From = End
		default:
			if size, ok := strings.CutPrefix(a, "block="); ok {
				c.block, err = strconv.Atoi(size)
				continue
			}
			c.Globs = append(c.Globs, l.path(a))
		}
	}
	if len(c.Globs) == 0 {
		c.Globs = []string{l.path("app.log")}
	}
	if err != nil {
		return err
	}
	if l.tailer, err = New(c); err != nil {
		return err
	}
	l.tailer.look(l.clock)
	return l.tailer.Checkpoint()
}

// stop ends as Run does.
func (l *life) stop(want []string) error {
	if err := l.readAll(); err != nil {
		return err
	}
	if err := l.tailer.finish(l.clock, l.taker); err != nil {
		return err
	}
	if err := l.tailer.Checkpoint(); err != nil {
		return err
	}
	l.kill()
	return l.expect(want)
}

// kill drops the tailer as it is.
func (l *life) kill() {
	if l.tailer != nil {
		invariants(l.t, l.tailer)
		l.tailer.Close()
	}
	l.tailer = nil
	l.hold, l.holds, l.known = nil, map[string]*Hold{}, 0
}

func (l *life) newest(path string) *File {
	for _, f := range slices.Backward(l.tailer.files) {
		if f.Path == l.path(path) {
			return f
		}
	}
	l.t.Fatalf("no file of %s", path)
	return nil
}

func (l *life) read(want []string) error {
	l.tailer.look(l.clock)
	if err := l.readAll(); err != nil {
		return err
	}
	return l.expect(want)
}

func (l *life) readAll() error {
	for rounds := 0; ; rounds++ {
		busy, err := l.tailer.round(l.t.Context(), l.clock, l.taker)
		if err != nil || !busy {
			return err
		}
		if rounds > 10_000 {
			return fmt.Errorf("reading does not end: %.300q", l.got)
		}
	}
}

func (l *life) expect(want []string) error {
	got := l.got
	l.got = nil
	if l.compare != nil {
		l.compare(got)
		return nil
	}
	if diff := cmp.Diff(want, got); diff != "" {
		return fmt.Errorf("-want +got\n%s", diff)
	}
	return nil
}

// handle writes down a block: one line for each line, long ones by their length, with what is special of the block.
func (l *life) handle(b *Block) error {
	l.check(b)
	name, _ := filepath.Rel(l.dir, b.File.Path)
	if b.Encoding != Bytes {
		l.got = append(l.got, fmt.Sprintf("%s: %s [utf-16]", name, strings.Trim(strconv.QuoteToASCII(string(b.Data)), `"`)))
		return nil
	}
	rest, offset := b.Data, b.Offset
	for len(rest) > 0 {
		line, after, ended := bytes.Cut(rest, []byte("\n"))
		entry := name + ": " + strings.Trim(strconv.Quote(string(line)), `"`)
		if len(line) > 100 {
			entry = fmt.Sprintf("%s: %s... (%d)", name, line[:5], len(line))
		}
		if b.Record {
			entry += " [record]"
		}
		if !ended {
			entry += when(b.Partial, " [partial]") + when(b.Cut, " [cut]")
		}
		l.got = append(l.got, strings.TrimSpace(entry))
		l.holdLine(b.File, string(line), span{offset, offset + int64(len(rest)-len(after))})
		offset += int64(len(rest) - len(after))
		rest = after
	}
	if b.Last {
		l.got = append(l.got, name+" [last]"+l.lost())
	}
	return nil
}

func when(is bool, text string) string {
	if is {
		return text
	}
	return ""
}

// lost gives what was counted as lost since it was last asked for.
func (l *life) lost() string {
	var n float64
	for _, reason := range []string{lostTruncated, lostDeleted} {
		n += testutil.ToFloat64(l.tailer.metrics.lost.WithLabelValues(reason))
	}
	if n -= l.known; n == 0 {
		return ""
	}
	l.known += n
	return fmt.Sprintf(" [lost %.0f]", n)
}

func (l *life) holdLine(f *File, line string, s span) {
	for _, text := range l.hold {
		if strings.Contains(line, text) {
			l.holds[text] = f.Hold(s.from, s.to)
		}
	}
}

// check holds for every block: its bytes stand in the file where it says, for as long as the file can be read.
func (l *life) check(b *Block) {
	p := make([]byte, len(b.Data))
	if n, err := b.File.ReadAt(p, b.Offset); err == nil && !bytes.Equal(p[:n], b.Data) {
		l.t.Errorf("%s at %d: the block has %.40q, the file %.40q", b.File.Path, b.Offset, b.Data, p)
	}
	if !b.Partial && len(b.Data) > 0 && !b.Record && b.Encoding == Bytes && b.Data[len(b.Data)-1] != '\n' {
		l.t.Errorf("%s at %d: the block ends in a line: %.40q", b.File.Path, b.Offset, b.Data)
	}
}
