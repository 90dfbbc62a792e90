package tail

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap/zaptest"
)

// TestRun follows a file as the program does, with its own goroutines.
func TestRun(t *testing.T) {
	for _, mode := range []string{"inotify", "poll"} {
		t.Run(mode, func(t *testing.T) {
			dir := t.TempDir()
			app := filepath.Join(dir, "sub", "app.log")
			tailer, err := New(Config{Globs: []string{app}, From: Beginning, Log: zaptest.NewLogger(t), noNotify: mode == "poll",
				Checkpoint: filepath.Join(dir, "checkpoint")})
			if err != nil {
				t.Fatal(err)
			}
			defer tailer.Close()
			defer invariants(t, tailer)
			ctx, cancel := context.WithCancel(t.Context())
			got := make(chan string, 100)
			done := make(chan error)
			go func() {
				done <- tailer.Run(ctx, func(b *Block) error {
					got <- string(b.Data)
					return nil
				})
			}()
			must := func(err error) {
				if err != nil {
					t.Error(err)
				}
			}
			expect := func(want string) {
				var all strings.Builder
				for all.Len() < len(want) {
					all.WriteString(<-got)
				}
				if all.String() != want {
					t.Errorf("got %q, want %q", all.String(), want)
				}
			}
			must(os.Mkdir(filepath.Dir(app), 0o755))
			must(os.WriteFile(app, []byte("one\n"), 0o644))
			expect("one\n")
			must(os.Rename(app, app+".1"))
			must(os.WriteFile(app, []byte("two\n"), 0o644))
			expect("two\n")
			more, err := os.OpenFile(app, os.O_WRONLY|os.O_APPEND, 0)
			must(err)
			_, err = more.WriteString("half")
			must(err)
			must(more.Close())
			cancel()
			expect("half")
			must(<-done)
		})
	}
}

// While a file is written all the time nobody listens to the kernel, and what happens beside it is noticed as soon.
func TestBusy(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	write := func(name, text string) {
		f, err := os.OpenFile(path(name), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
	write("busy.log", "line\n")
	write("quiet.log", "line\n")
	tailer, err := New(Config{Globs: []string{path("*.log")}, From: Beginning, Log: zaptest.NewLogger(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer tailer.Close()
	beside := []func(){
		func() { write("quiet.log", "beside\n") },
		func() { write("new.log", "beside\n") },
		func() {
			if err := os.Rename(path("busy.log"), path("busy.log.1")); err != nil {
				t.Fatal(err)
			}
			write("busy.log", "beside\n")
		},
	}
	ctx, cancel := context.WithCancel(t.Context())
	since, calm := 0, false // readings of the busy file since something happened beside it
	err = tailer.Run(ctx, func(b *Block) error {
		if strings.Contains(string(b.Data), "beside") {
			since, beside = 0, beside[1:]
		}
		switch {
		case since > 20:
			return errors.New("what happened beside the busy file was not noticed")
		case calm:
			cancel()
		case len(beside) == 0: // the last line comes when the kernel is listened to again
			go func() {
				for tailer.isAlone() {
					runtime.Gosched()
				}
				write("quiet.log", "last\n")
			}()
			calm = true
		case tailer.isAlone() && since == 0:
			beside[0]()
			since++
			write("busy.log", "line\n")
		case tailer.isAlone():
			since++
			fallthrough
		default:
			write("busy.log", "line\n")
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	invariants(t, tailer)
}

// A block says when nothing of it stood in the file yet.
func TestSince(t *testing.T) {
	l := newLife(t)
	var since time.Time
	l.taker = func(b *Block) error {
		since = b.Since
		return nil
	}
	add := func(text string) (before, after time.Time) {
		t.Helper()
		before = time.Now()
		if err := l.append(l.path("app.log"), text); err != nil {
			t.Fatal(err)
		}
		after = time.Now()
		l.tailer.look(l.clock)
		if err := l.readAll(); err != nil {
			t.Fatal(err)
		}
		return before, after
	}
	unborn := time.Now().Add(-20 * time.Millisecond) // file systems keep time by the clock's ticks
	l.play(t, "write app.log one\nstart from=beginning")
	if began, _ := add("two\n"); since.Before(unborn) || since.After(began) {
		t.Errorf("the file was made between %v and %v, and its first bytes are said to be of after %v", unborn, began, since)
	}
	_, ended := add("three\n")
	if add("four\n"); since.Before(ended) {
		t.Errorf("it was read to its end at %v, and what came then is of after %v", ended, since)
	}
	begun, _ := add("ha")
	if add("lf\n"); since.After(begun) {
		t.Errorf("the line was begun at %v, and is said to be of after %v", begun, since)
	}
}

// What is to come as soon as it is written is not waited for, until that would be too often, and then again after a while.
func TestPrompt(t *testing.T) {
	l := newLife(t)
	l.play(t, "start from=beginning\nwrite app.log one\nread\n    app.log: one")
	synctest.Test(t, func(t *testing.T) {
		l.tailer.config.noNotify = true // its goroutine would be outside of this time
		w := l.tailer.newWatcher()
		paused := func() time.Duration {
			before := time.Now()
			w.pause(t.Context(), before)
			return time.Since(before)
		}
		l.tailer.setHears(true)
		if d := paused(); d < pace {
			t.Errorf("nobody asked, and it waited for %v", d)
		}
		for range 2 {
			l.tailer.files[0].Prompt(time.Now())
			for n := range oftenAtOnce {
				if d := paused(); d != 0 {
					t.Fatalf("reading %d waited for %v", n, d)
				}
			}
			if d := paused(); d < pace {
				t.Errorf("it is too often, and it waited for %v", d)
			}
			select {
			case <-l.tailer.bell: // or it would wait to hear of what nobody listens to
			default:
				t.Error("whoever reads was not told to do so at the pace")
			}
			if d := paused(); d < pace {
				t.Errorf("it was too often a moment ago, and it waited for %v", d)
			}
			time.Sleep(oftenAtOnce * time.Second / often)
		}
		l.tailer.setHears(false)
		if d := paused(); d < pace {
			t.Errorf("nobody says when files are written, and it waited for %v", d)
		}
	})
}

// A file that nobody rotates loses the room of what is decided, and of that alone; what comes later is read as before, in the
// next life too.
func TestFree(t *testing.T) {
	l := newLife(t)
	l.config.Bound, l.config.Free = 2<<20, true
	l.play(t, "start from=beginning\nhold waits\nfill app.log 3000000 x\nbytes app.log \"\\n\"")
	if err := l.append(l.path("app.log"), strings.Repeat("a line of the log\n", 200_000)+"this one waits\n"+strings.Repeat("more\n", 300_000)); err != nil {
		t.Fatal(err)
	}
	l.tailer.look(l.clock)
	if err := l.readAll(); err != nil {
		t.Fatal(err)
	}
	l.got = nil
	l.play(t, "look")
	if i, err := stat(l.path("app.log")); err != nil || i.used < i.size {
		t.Errorf("of %d bytes %d are left, and the checkpoint does not know: %v", i.size, i.used, err)
	}
	l.play(t, "save\nlook\nsave")
	i, err := stat(l.path("app.log"))
	if whole := int64(len("this one waits\n") + 5*300_000); err != nil || i.used > 2<<20 || i.used < whole || i.size < 8_000_000 {
		t.Errorf("the file of %d bytes takes %d: %v", i.size, i.used, err)
	}
	if got := testutil.ToFloat64(l.tailer.metrics.freed); got < 6_000_000 {
		t.Errorf("%v bytes were counted", got)
	}
	l.play(t, "write app.log later\nread\n    app.log: later\nclose waits\nsave\nkill\nwrite app.log last\nstart\nread\n    app.log: this one waits [record]\n    app.log: last")
}

// A file that is renamed while a look goes through the names is not given up: a rotation renames many, and no look is quick enough
// to see all of them at one moment.
func TestRenamedDuringALook(t *testing.T) {
	l := newLife(t)
	l.play(t, "start from=beginning\nwrite app.log one\nread\n    app.log: one\nsave\nkill")
	c := l.config
	c.Globs = []string{l.path("app.log")}
	var err error
	if l.tailer, err = New(c); err != nil {
		t.Fatal(err)
	}
	v := newView(map[string]*listing{})
	v.list(l.dir)
	v.stat(l.path("app.log.1"))
	l.play(t, "write app.log two\nrename app.log app.log.1")
	v.stat(l.path("app.log"))
	f := l.tailer.files[0]
	l.tailer.search(v, f)
	if f.gone || f.name != l.path("app.log.1") {
		t.Errorf("it is at %q, gone: %v", f.name, f.gone)
	}
	l.play(t, "read\n    app.log: two")
}

// A file whose name is moved on while a look goes through the names is found by the next look. Nothing but its age tells that it is
// ours: the life before was killed before it had seen it.
func TestRotatedDuringTheFirstLook(t *testing.T) {
	for round := range 12 {
		l := newLife(t)
		for n := range 300 { // what takes a look its time
			if err := l.append(l.path(fmt.Sprintf("app.log-2025%04d", n)), "of last year\n"); err != nil {
				t.Fatal(err)
			}
		}
		l.play(t, "wait 1s\nstart\nkill\nwrite app.log one\nrename app.log app.log.1\nwrite app.log two")
		moved := make(chan error, 1)
		go func() {
			for range 25 * round { // now earlier in the look, now later
				os.Lstat(l.dir)
			}
			moved <- errors.Join(os.Rename(l.path("app.log.1"), l.path("app.log.2")), os.Rename(l.path("app.log"), l.path("app.log.1")))
		}()
		l.play(t, "start")
		if err := <-moved; err != nil {
			t.Fatal(err)
		}
		l.compare = func(got []string) {
			slices.Sort(got) // what is found late is read late
			if diff := cmp.Diff([]string{"app.log: one", "app.log: three", "app.log: two"}, got); diff != "" {
				t.Fatal("-want +got\n", diff)
			}
		}
		l.play(t, "write app.log three\nread")
	}
}

// What a look finds under a name and what it opens there are the same file, or it waits for the next look: names move while it
// looks. Read under another's identity, one of them would be lost.
func TestRenamedBetweenFindingAndOpening(t *testing.T) {
	l := newLife(t)
	l.play(t, "start app.log from=beginning\nread\nwrite app.log one")
	found := l.tailer.match(newView(map[string]*listing{}))
	l.play(t, "rename app.log app.log.1\nwrite app.log two")
	l.tailer.mu.Lock()
	for _, e := range found {
		l.tailer.meet(e)
	}
	l.tailer.mu.Unlock()
	l.play(t, "read\n    app.log: one\n    app.log: two")
}

// A copyCut is a copy whose original is truncated while the two are compared.
type copyCut struct {
	*os.File
	cut func()
}

func (c copyCut) ReadAt(p []byte, at int64) (int, error) {
	c.cut()
	return c.File.ReadAt(p, at)
}

// TestTruncatedWhileComparedWithItsCopy: copytruncate truncates a large file in the moment in which its copy is looked at. The copy is
// not taken for a file of its own, which would be read from its beginning.
func TestTruncatedWhileComparedWithItsCopy(t *testing.T) {
	for _, size := range []string{"whole", "half"} { // as far as the copy was seen
		l := newLife(t)
		l.play(t, "start from=beginning")
		text := strings.Repeat("a line of the log\n", 5000)
		if err := l.append(l.path("app.log"), text); err != nil {
			t.Fatal(err)
		}
		l.tailer.look(l.clock)
		if err := l.readAll(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(l.path("app.log.1"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		src, err := os.Open(l.path("app.log.1"))
		if err != nil {
			t.Fatal(err)
		}
		defer src.Close()
		n := int64(len(text))
		if size == "half" {
			n /= 2
		}
		if f := l.tailer.files[0]; !f.mayHave(copyCut{src, func() { os.Truncate(l.path("app.log"), 0) }}, n) {
			t.Errorf("%s of the copy: it counts as another file", size)
		}
	}
}
