package tail

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
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
	t.Cleanup(func() {
		cancel()
		for range r.blocks {
		}
		if err := <-r.done; err != nil {
			t.Error(err)
		}
		tailer.Close()
	})
	return r
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
	if position := r.tailer.Position(first.File.ID); position > 2*int64(len(first.Data)) {
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
