package tail

import (
	"bytes"
	"flag"
	"fmt"
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
//	start [GLOB...] [from=beginning|end]   begins to tail; with a checkpoint if an earlier life of the case left one
//	stop | kill                            ends in order | without reading on and without a checkpoint
//	save                                   writes the checkpoint
//	write NAME TEXT                        appends TEXT and a line end; half NAME TEXT: without line end
//	bytes NAME TEXT                        appends TEXT, a Go string
//	fill NAME N TEXT                       appends TEXT until N more bytes stand in NAME
//	open HANDLE NAME | via HANDLE TEXT     keeps a file open for appending, and writes through it
//	at HANDLE OFFSET TEXT                  writes a line at an offset, as an app does that does not append; half-at: without line end
//	age NAME                               stamps a directory as if it had not changed for an hour
//	rename A B | copy A B | delete A | truncate NAME SIZE | mkdir A | link TARGET NAME | chmod MODE NAME
//	look                                   looks at the directories; reads nothing
//	wait DURATION                          lets time pass
//	hold TEXT | close TEXT | release TEXT  holds the lines with TEXT when they come, closes the holds, releases them
//	note NAME TEXT | noted NAME TEXT       keeps a note with the newest file of the path | expects it
//	read                                   looks, reads all, and expects the indented lines that follow, with flags
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
	hold    []string
	holds   map[string]*Hold
	got     []string
	known   float64 // lost bytes that were shown
}

func newLife(t testing.TB) *life {
	l := &life{t: t, dir: t.TempDir(), clock: time.Now(), handles: map[string]*os.File{}, holds: map[string]*Hold{}}
	l.taker = l.handle
	l.config = Config{Checkpoint: filepath.Join(t.TempDir(), "checkpoint"), Log: zaptest.NewLogger(t)}
	t.Cleanup(func() {
		l.kill()
		for _, h := range l.handles {
			h.Close()
		}
	})
	return l
}

// play plays a script.
func (l *life) play(t *testing.T, script string) {
	t.Helper()
	lines := strings.Split(script, "\n")
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
			t.Fatalf("line %d: %s: %v", i+1, line, err)
		}
	}
}

func (l *life) path(name string) string { return filepath.Join(l.dir, name) }

func (l *life) do(verb, rest string, want []string) error {
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
	case "open":
		h, err := os.OpenFile(l.path(text), os.O_WRONLY|os.O_CREATE, 0o644)
		if err != nil {
			return err
		}
		l.handles[first] = h
		_, err = h.Seek(0, 2)
		return err
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
		_, err = l.handles[first].WriteAt([]byte(text), offset)
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
			c.Globs = append(c.Globs, l.path(a))
		}
	}
	if len(c.Globs) == 0 {
		c.Globs = []string{l.path("app.log")}
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
	if err := l.tailer.finish(l.clock, l.handle); err != nil {
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
