package tail

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

var example = []saved{
	{ID: "a", Path: "/logs/app.log", Dev: 1, Inode: 2, Born: 3, Position: 300, Held: [][2]int64{{10, 20}, {50, 60}},
		Size: 400, Marks: marks{{256, 7}, {300, 8}}, Note: []byte("learned")},
	{ID: "b", Path: "/logs/app.log", Name: "/logs/app.log.1", Position: 12, Ended: true},
}

func TestEncode(t *testing.T) {
	p, err := encode(42, example)
	if err != nil {
		t.Fatal(err)
	}
	looked, files, err := decode(p)
	if err != nil || looked != 42 {
		t.Fatal(looked, err)
	}
	if diff := cmp.Diff(example, files); diff != "" {
		t.Error("-want +got\n", diff)
	}
	if lines := strings.Count(string(p), "\n"); lines != 4 {
		t.Errorf("a file a line is to be read with cat, got %d lines:\n%s", lines, p)
	}
}

// A checkpoint that is torn or has a bit turned is not believed.
func TestDecodeDamaged(t *testing.T) {
	p, err := encode(42, example)
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(p) - 2 { // what follows the last brace says nothing
		if _, _, err := decode(p[:n]); err == nil {
			t.Errorf("the first %d bytes were taken for a checkpoint", n)
		}
	}
	files := bytes.Index(p, []byte(`"files":`))
	check := bytes.Index(p, []byte(`"check":`))
	for n := files + len(`"files":`); n < check-1; n++ {
		bad := bytes.Clone(p)
		bad[n] ^= 4
		if _, _, err := decode(bad); err == nil {
			t.Errorf("byte %d was changed from %q to %q, and it was believed", n, p[n], bad[n])
		}
	}
}

func TestDecodeNonsense(t *testing.T) {
	for name, s := range map[string]saved{
		"no ID":             {Path: "a"},
		"negative position": {ID: "a", Position: -1},
		"marks in disorder": {ID: "a", Marks: marks{{5, 1}, {5, 1}}},
		"held beyond":       {ID: "a", Position: 5, Held: [][2]int64{{3, 6}}},
		"held backwards":    {ID: "a", Position: 5, Held: [][2]int64{{3, 3}}},
		"a long note":       {ID: "a", Note: make([]byte, NoteSize+1)},
	} {
		p, err := encode(0, []saved{s})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := decode(p); err == nil {
			t.Errorf("%s: it was believed", name)
		}
	}
}

func FuzzDecode(f *testing.F) {
	p, err := encode(42, example)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(p)
	f.Add([]byte(`{"version":1,"looked":0,"files":[],"check":0}`))
	f.Fuzz(func(t *testing.T, p []byte) {
		looked, files, err := decode(p)
		if err != nil {
			return
		}
		again, err := encode(looked, files)
		if err != nil {
			t.Fatal(err)
		}
		if _, same, err := decode(again); err != nil || !cmp.Equal(files, same) {
			t.Errorf("%q was read, but not written again: %v", p, err)
		}
	})
}

// A checkpoint that is torn anywhere is replaced by the one before it, and the log says so; as often as that happens.
func TestPreviousCheckpoint(t *testing.T) {
	l := newLife(t)
	logs, seen := observer.New(zapcore.ErrorLevel)
	l.config.Log = zap.New(logs)
	l.play(t, "start\nwrite app.log one\nread\n    app.log: one\nsave\nwrite app.log two\nread\n    app.log: two\nsave\nkill")
	before, err := os.ReadFile(previous(l.config.Checkpoint))
	if err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(l.config.Checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n < len(whole)-2; n += 50 {
		for path, content := range map[string][]byte{previous(l.config.Checkpoint): before, l.config.Checkpoint: whole[:n]} {
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		l.play(t, "start\nkill\nstart\nread\n    app.log: two\nkill")
		if said := seen.FilterMessageSnippet("the one before it is tried").Len(); said != 1 {
			t.Errorf("torn after %d bytes: it was said %d times", n, said)
		}
		seen.TakeAll()
	}
}

// Where neither can be used the files begin as if there had been none, and both are named.
func TestNoCheckpointOfUse(t *testing.T) {
	l := newLife(t)
	logs, seen := observer.New(zapcore.ErrorLevel)
	l.config.Log = zap.New(logs)
	for _, path := range []string{l.config.Checkpoint, previous(l.config.Checkpoint)} {
		if err := os.WriteFile(path, []byte(`{"version":2,"files":[],"check":0}`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l.play(t, "write app.log old\nstart\nwrite app.log new\nread\n    app.log: new")
	if said := seen.FilterMessageSnippet("cannot be used"); said.Len() != 2 || !strings.Contains(fmt.Sprint(said.All()[0].Context), "version 2") {
		t.Errorf("it was said %v", said.All())
	}
}

// A checkpoint that cannot be written stops nothing; it is counted, and written as soon as it can be.
func TestCheckpointFails(t *testing.T) {
	l := newLife(t)
	reg := prometheus.NewRegistry()
	l.config.Registerer = reg
	state := filepath.Join(t.TempDir(), "state")
	l.config.Checkpoint = filepath.Join(state, "checkpoint")
	c := l.config
	c.Globs, c.From = []string{l.path("app.log")}, Beginning
	var err error
	if l.tailer, err = New(c); err != nil {
		t.Fatal(err)
	}
	if err := l.tailer.Checkpoint(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the checkpoint was written where there is no directory: %v", err)
	}
	if n := testutil.ToFloat64(l.tailer.metrics.unsaved); n != 1 {
		t.Errorf("%v failures were counted, want 1", n)
	}
	l.play(t, "write app.log one\nread\n    app.log: one")
	if err := os.Mkdir(state, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := l.tailer.Checkpoint(); err != nil {
		t.Error(err)
	}
}

// What comes again after a kill is what the checkpoint on disk says, whatever was decided since it was written; and what the
// one before it says, should it be damaged.
func TestReadAgain(t *testing.T) {
	l := newLife(t)
	l.play(t, "start\nhold two\nwrite app.log one\nwrite app.log two\nread\n    app.log: one\n    app.log: two\nclose two\nsave")
	id := l.newest("app.log").ID
	expect := func(want string) {
		t.Helper()
		again, got := l.tailer.ReadAgain(), ""
		for i, line := range []string{"one", "two", "six"} {
			if again(id, int64(4*i)) {
				got += line + " "
			}
		}
		if got != want {
			t.Errorf("%q comes again, want %q", got, want)
		}
	}
	l.play(t, "save") // nothing has changed, so that nothing is written
	expect("one two six ")
	l.play(t, "write app.log six\nread\n    app.log: six\nrelease two")
	expect("one two six ")
	l.play(t, "save")
	expect("two six ")
	l.play(t, "note app.log learned\nsave")
	expect("")
	if l.tailer.ReadAgain()("another file", 0) {
		t.Error("a file comes again that nobody follows")
	}
}
