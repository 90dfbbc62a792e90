package forwarder

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/openreplay/log-sidecar/enrich"
	"github.com/openreplay/log-sidecar/enrich/record"
	"github.com/openreplay/log-sidecar/forwarder/journal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a sink whose answers a test decides. Its sealed bytes are "insertId@time message".
type server struct {
	mu      sync.Mutex
	answers []Outcome // to the next tries; then all is well
	tries   [][]string
}

func (s *server) Name() string { return "server" }

func (s *server) Ready(context.Context) Outcome { return Outcome{} }

func (s *server) Seal(b []byte, e *Entry, t time.Time) ([]byte, error) {
	if e.Message == "unsealable" {
		return nil, errors.New("unsealable")
	}
	return fmt.Appendf(b, "%s@%d %s", e.InsertID, t.UnixNano(), e.Message), nil
}

func (s *server) Send(_ context.Context, batch [][]byte) Outcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	var texts []string
	for _, b := range batch {
		texts = append(texts, string(b))
	}
	s.tries = append(s.tries, texts)
	if len(s.answers) == 0 {
		return Outcome{}
	}
	out := s.answers[0]
	s.answers = s.answers[1:]
	return out
}

func (s *server) Line(sealed []byte) ([]byte, error) { return fmt.Appendf(nil, "%q", sealed), nil }

// messages are those of a try, without ID and time.
func messages(try []string) (out []string) {
	for _, text := range try {
		_, message, _ := strings.Cut(text, " ")
		out = append(out, message)
	}
	return out
}

// A bench is a forwarder with a server.
type bench struct {
	*Forwarder
	server
	released     []int64
	dead, unsent bytes.Buffer
}

func newBench(t *testing.T, books *journal.Journal, change func(*Config)) *bench {
	t.Helper()
	b := &bench{}
	c := Config{Sink: &b.server, State: "state", Journal: books, DeadLetters: &b.dead, Unsent: &b.unsent,
		Positions: func() func(journal.Key) bool { return func(journal.Key) bool { return false } },
		Log:       zap.NewNop(), Registerer: prometheus.NewRegistry()}
	if change != nil {
		change(&c)
	}
	b.Forwarder = New(c)
	return b
}

func (b *bench) finding(offset int64, text string) *enrich.Finding {
	return &enrich.Finding{File: "file", Path: "/log/app.log",
		Record:  &record.Record{Offset: offset, Length: int64(len(text)), Text: text, Severity: record.Error},
		Release: func() { b.released = append(b.released, offset) }}
}

func (b *bench) put(t *testing.T, offset int64, text string) {
	t.Helper()
	if err := b.Put(t.Context(), b.finding(offset, text)); err != nil {
		t.Fatal(err)
	}
}

// end closes the forwarder and runs it to its end.
func (b *bench) end(t *testing.T) {
	t.Helper()
	b.Close()
	if err := b.Run(t.Context(), t.Context()); err != nil {
		t.Fatal(err)
	}
}

func openJournal(t *testing.T, dir string) *journal.Journal {
	t.Helper()
	j, err := journal.Open(filepath.Join(dir, "journal"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j
}

func TestSameBytesUntilTheyArrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil, nil)
		away := Outcome{Err: errors.New("away"), Code: "Unavailable"}
		b.answers = []Outcome{away, away, away}
		b.put(t, 1, "one")
		b.put(t, 2, "two")
		b.end(t)
		if len(b.tries) != 4 {
			t.Fatalf("%d tries, want 4", len(b.tries))
		}
		for _, try := range b.tries[1:] {
			if diff := cmp.Diff(b.tries[0], try); diff != "" {
				t.Errorf("another try sends other bytes:\n%s", diff)
			}
		}
		if diff := cmp.Diff([]int64{1, 2}, b.released); diff != "" {
			t.Errorf("released (-want +got):\n%s", diff)
		}
	})
}

// TestTimestampsRise: OpenReplay's reader goes on from the millisecond after the last entry that it saw.
func TestTimestampsRise(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // in which no time passes by itself
		b := newBench(t, nil, nil)
		var last time.Time
		for i := range int64(5) {
			sealed := b.seal([]*enrich.Finding{b.finding(i, "x")})
			at := time.Unix(0, sealed.Time)
			if at.Sub(last) < time.Millisecond {
				t.Errorf("batch %d is stamped %v after the one before", i, at.Sub(last))
			}
			last = at
		}
	})
}

func TestRefusedEntriesAreSetAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil, nil)
		b.answers = []Outcome{{Refused: map[int]string{1: "too \"large\""}}}
		b.put(t, 1, "one")
		b.put(t, 2, "two")
		b.put(t, 3, "unsealable")
		b.end(t)
		if diff := cmp.Diff([][]string{{"one", "two"}}, [][]string{messages(b.tries[0])}); diff != "" {
			t.Errorf("sent (-want +got):\n%s", diff)
		}
		if got := b.dead.String(); !strings.Contains(got, `too \"large\"`) || !strings.Contains(got, "two") || strings.Count(got, "\n") != 1 {
			t.Errorf("dead letters: %q", got)
		}
		if len(b.released) != 3 {
			t.Errorf("released %v, want all three: none of them can ever arrive", b.released)
		}
	})
}

// TestACrashDoublesNothing: a life ends between sealing and the acknowledgement. The next one sends the same bytes, and
// does not make a second entry of the same bytes of the file.
func TestACrashDoublesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		books := openJournal(t, dir)
		first := newBench(t, books, nil)
		first.put(t, 1, "one")
		ctx, crash := context.WithCancel(t.Context())
		first.answers = []Outcome{{Err: errors.New("away"), Code: "Unavailable"}}
		done := make(chan error)
		go func() { done <- first.Run(ctx, ctx) }()
		synctest.Wait() // it has tried once and waits to try again
		crash()
		<-done
		books.Close()

		books = openJournal(t, dir)
		second := newBench(t, books, nil)
		second.put(t, 1, "one, cut in another way")
		second.put(t, 2, "two")
		second.end(t)
		if diff := cmp.Diff(first.tries[0], second.tries[0]); diff != "" {
			t.Errorf("the next life sends other bytes (-first +second):\n%s", diff)
		}
		if len(second.tries) != 2 || !cmp.Equal(messages(second.tries[1]), []string{"two"}) {
			t.Errorf("tries of the second life: %q", second.tries)
		}
		if diff := cmp.Diff([]int64{1, 2}, second.released); diff != "" {
			t.Errorf("released (-want +got):\n%s", diff)
		}
	})
}

func TestWhatIsLeftAtTheEndIsWrittenOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, openJournal(t, t.TempDir()), nil)
		away := Outcome{Err: errors.New("away"), Code: "Unavailable", Slow: true}
		b.answers = []Outcome{away, away, away, away, away, away, away, away}
		b.put(t, 1, "one")
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		done := make(chan error)
		go func() { done <- b.Run(ctx, ctx) }()
		synctest.Wait()
		b.put(t, 2, "two")
		<-done
		for _, want := range []string{"one", "two"} {
			if !strings.Contains(b.unsent.String(), want) {
				t.Errorf("%q is not among what was written out: %q", want, b.unsent.String())
			}
		}
		if diff := cmp.Diff([]int64{1}, b.released); diff != "" {
			t.Errorf("released (-want +got): only what is in the journal\n%s", diff)
		}
	})
}

func TestPutWaitsWhileTheQueueIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil, nil)
		for i := range int64(queueFindings) {
			b.put(t, i, "x")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := b.Put(ctx, b.finding(9, "x")); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Put into a full queue: %v", err)
		}
		b.end(t)
		if got := len(b.released); got != queueFindings {
			t.Errorf("%d released, want %d", got, queueFindings)
		}
	})
}

func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil, func(c *Config) { c.Pace = 10 })
		begin := time.Now()
		for i := range int64(300) {
			b.put(t, i, "x")
		}
		b.end(t)
		if took := time.Since(begin).Round(time.Second); took != 20*time.Second {
			t.Errorf("300 entries at 10 a second, 100 of them at once, took %v; want 20 s", took)
		}
	})
}

func TestLongTextKeepsBothEnds(t *testing.T) {
	text := "head " + strings.Repeat("é", maxMessage) + " tail"
	got := cut(text, maxMessage)
	if len(got) > maxMessage+100 || !strings.HasPrefix(got, "head ") || !strings.HasSuffix(got, " tail") || !strings.Contains(got, "bytes cut out here") {
		t.Errorf("cut: %d bytes, %.40q ... %.40q", len(got), got, got[len(got)-40:])
	}
	if strings.ToValidUTF8(got, "!") != got {
		t.Error("cut breaks a letter in two")
	}
}
