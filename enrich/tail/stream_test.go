package tail

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"
)

// A running is a tailer with its own goroutines.
type running struct {
	t      *testing.T
	tailer *Tailer
	stop   context.CancelFunc
	done   chan error
	blocks chan Block // with Data of their own
	once   sync.Once
}

func run(t *testing.T, c Config) *running {
	c.Log, c.From = zaptest.NewLogger(t), Beginning
	tailer, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{t: t, tailer: tailer, stop: cancel, done: make(chan error, 1), blocks: make(chan Block)}
	go func() {
		r.done <- tailer.Run(ctx, func(b *Block) error {
			c := *b
			c.Data = bytes.Clone(b.Data)
			r.blocks <- c
			return nil
		})
		close(r.blocks)
	}()
	t.Cleanup(r.end)
	return r
}

// end stops the tailer, and drops what it still gives.
func (r *running) end() {
	r.once.Do(func() {
		r.stop()
		for range r.blocks {
		}
		if err := <-r.done; err != nil {
			r.t.Error(err)
		}
		invariants(r.t, r.tailer)
		r.tailer.Close()
	})
}

// expectFile is expect of what is read from files.
func (r *running) expectFile(want string) {
	r.t.Helper()
	var got strings.Builder
	for got.Len() < len(want) {
		b := <-r.blocks
		got.Write(b.Data)
	}
	if got.String() != want {
		r.t.Errorf("got %.60q, want %.60q", got.String(), want)
	}
}

// expect waits for exactly these bytes, in however many blocks.
func (r *running) expect(want string) {
	r.t.Helper()
	var got strings.Builder
	for got.Len() < len(want) {
		b := <-r.blocks
		if !b.File.Stream {
			r.t.Errorf("%s is no stream", b.File.Path)
		}
		got.Write(b.Data)
	}
	if got.String() != want {
		r.t.Errorf("got %.60q, want %.60q", got.String(), want)
	}
}

func TestStandardInput(t *testing.T) {
	in, app, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r := run(t, Config{Globs: []string{Standard}, stdin: in})
	io.WriteString(app, "one\ntw")
	r.expect("one\n")
	io.WriteString(app, "o\nthree")
	r.expect("two\n")
	app.Close()
	b := <-r.blocks
	if string(b.Data) != "three" || !b.Partial || !b.Last || b.Offset != 8 || b.File.Path != "-" {
		t.Errorf("the end came as %+v", b)
	}
	if _, err := b.File.ReadAt(make([]byte, 1), 0); err == nil {
		t.Error("a stream was read again")
	}
}

// What stands in the pipe at the stop is handed out, and the half of a line too.
func TestStandardInputStop(t *testing.T) {
	in, app, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer app.Close()
	r := run(t, Config{Globs: []string{Standard}, stdin: in})
	io.WriteString(app, "one\n")
	r.expect("one\n")
	io.WriteString(app, "two\nhalf")
	r.stop()
	r.expect("two\nhalf")
}

// A line that is too long is cut, and the next one is whole.
func TestStreamLongLine(t *testing.T) {
	in, app, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r := run(t, Config{Globs: []string{Standard}, stdin: in, block: 100})
	go func() {
		io.WriteString(app, strings.Repeat("x", 1000)+"\nnext\n")
		app.Close()
	}()
	b := <-r.blocks
	if string(b.Data) != strings.Repeat("x", 100) || !b.Partial || !b.Cut {
		t.Errorf("the long line came as %+v", b)
	}
	r.expect("next\n")
}

// Writers of a named pipe come and go.
func TestPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Skip("no named pipes here:", err)
	}
	r := run(t, Config{Globs: []string{path}})
	for _, line := range []string{"one\n", "two\n"} {
		app, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(app, line)
		app.Close()
		r.expect(line)
	}
}

// While handle waits nothing more is read, and nothing is lost.
func TestBackpressure(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	var want strings.Builder
	for n := range 100 {
		line := strings.Repeat("x", n) + "\n"
		want.WriteString(line)
	}
	if err := os.WriteFile(path, []byte(want.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	c := Config{Globs: []string{path}, block: 200}
	r := run(t, c)
	var got strings.Builder
	first := <-r.blocks // handle waits from here on
	got.Write(first.Data)
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path + ".1"); err != nil {
		t.Fatal(err)
	}
	if position, _ := first.File.undecided(); position > 2*int64(len(first.Data)) {
		t.Errorf("%d bytes were read ahead", position)
	}
	for got.Len() < want.Len() {
		b := <-r.blocks
		got.Write(b.Data)
	}
	if got.String() != want.String() {
		t.Error("what came is not what was written")
	}
}

// A panic in a goroutine of the tailer ends Run with an error, and not the program.
func TestPanic(t *testing.T) {
	tailer, err := New(Config{Globs: []string{filepath.Join(t.TempDir(), "app.log")}, wall: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	looks := 0
	tailer.config.wall = func() time.Time {
		if looks++; looks == 2 { // the first look is Run's own
			panic("for the test")
		}
		return time.Now()
	}
	err = tailer.Run(t.Context(), func(*Block) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "for the test") {
		t.Errorf("Run ended with %v", err)
	}
}

// What was taken out of a pipe and is not decided comes again in the next life, and the half of a line with its rest.
func TestSpool(t *testing.T) {
	for _, by := range []string{"splice", "hand"} {
		t.Run(by, func(t *testing.T) {
			dir := t.TempDir()
			c := Config{Globs: []string{Standard}, Checkpoint: filepath.Join(dir, "checkpoint"), Spool: filepath.Join(dir, "streams")}
			in, app := pipe(t, by)
			c.stdin = in
			r := run(t, c)
			io.WriteString(app, "one\ntwo\nthr")
			var held *Hold
			for got := ""; got != "one\ntwo\n"; {
				b := <-r.blocks
				if i := bytes.Index(b.Data, []byte("two")); i >= 0 {
					held = b.File.Hold(b.Offset+int64(i), b.Offset+int64(i)+4)
				}
				if got += string(b.Data); b.File.Stream || b.File.Path != Standard {
					t.Fatalf("a block of %+v", b.File)
				}
			}
			if err := r.tailer.Checkpoint(); err != nil || held == nil {
				t.Fatal(err, held)
			}
			r.end() // of the process, as it were: the half of the line is given out, and nothing is decided of it
			in, app = pipe(t, by)
			c.stdin = in
			r = run(t, c)
			io.WriteString(app, "ee\nfour\n")
			r.expectFile("two\nthree\nfour\n")
		})
	}
}

// await asks until it is so; the test's own time limit ends it.
func await(t *testing.T, so func() bool) {
	t.Helper()
	for ticker := time.NewTicker(10 * time.Millisecond); !so(); <-ticker.C {
	}
}

// pipe is standard input: a pipe, or something else of which the kernel moves nothing to a file.
func pipe(t *testing.T, by string) (in, app *os.File) {
	if by == "splice" {
		in, app, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { app.Close() })
		return in, app
	}
	ends, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	syscall.SetNonblock(ends[0], true)
	in, app = os.NewFile(uintptr(ends[0]), "in"), os.NewFile(uintptr(ends[1]), "app")
	t.Cleanup(func() { app.Close() })
	return in, app
}

// What is decided of a stream takes no room for long.
func TestSpoolIsBounded(t *testing.T) {
	dir := t.TempDir()
	in, app := pipe(t, "splice")
	r := run(t, Config{Globs: []string{Standard}, Checkpoint: filepath.Join(dir, "checkpoint"), Spool: filepath.Join(dir, "streams"), stdin: in})
	const lines = 300_000
	line := strings.Repeat("x", 99) + "\n"
	go func() {
		for range lines / 1000 {
			io.WriteString(app, strings.Repeat(line, 1000))
		}
	}()
	for n := 0; n < lines*len(line); {
		b := <-r.blocks
		if len(b.Data)%len(line) != 0 {
			t.Fatalf("a block of %d bytes", len(b.Data))
		}
		n += len(b.Data)
	}
	go io.WriteString(app, "the end\n")
	r.expectFile("the end\n")
	go func() {
		for range r.blocks { // that the files are complete is said in blocks too
		}
	}()
	await(t, func() bool { return len(spooled(filepath.Join(dir, "streams"))) == 1 })
}

// Where the spool cannot be written, the stream is read all the same.
func TestSpoolFails(t *testing.T) {
	dir := t.TempDir()
	in, app := pipe(t, "splice")
	r := run(t, Config{Globs: []string{Standard}, Spool: filepath.Join(dir, "no directory", "\x00"), stdin: in})
	io.WriteString(app, "one\ntw")
	r.expect("one\n")
	io.WriteString(app, "o\n")
	r.expect("two\n")
}
