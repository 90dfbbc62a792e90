package enrich

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/openreplay/log-sidecar/enrich/record"
	"github.com/openreplay/log-sidecar/enrich/tail"
)

// A world is an app behind a proxy on a clock of its own: what its exchanges are and what its files say is known
// beforehand, and at each moment the joiner is shown what could be known then.
type world struct {
	all     []Exchange // in the order in which they began, as they were in the end
	now     time.Time
	evicted time.Time // exchanges that were open until then are not held
	found   []Finding
	files   map[string]*tail.File
	joiner  *Joiner
	written []written
	late    map[int]time.Duration // by how much earlier than it was read a write may have been made, by its number

	answered map[string][]string // the IDs that an exchange's answer gives away with its head
}

// written is what one write brought to a file.
type written struct {
	file string
	at   time.Time
	text string
}

func (w *world) seen(yield func(Exchange) bool) {
	for i, x := range w.all {
		if x.Begin.After(w.now) || !x.End.IsZero() && x.End.Before(w.evicted) {
			continue
		}
		x.Ref = uint64(i + 1)
		switch {
		case x.Head.IsZero() && !x.End.After(w.now): // the app gave no answer, and the proxy did
		case x.Head.IsZero() || x.Head.After(w.now):
			x.Head, x.Status = time.Time{}, 0
		default:
			x.IDs = append(slices.Clone(x.IDs), w.answered[x.ID]...)
		}
		if x.End.After(w.now) {
			x.End = time.Time{}
		}
		if !yield(x) {
			return
		}
	}
}

func (w *world) where(fits func(*Exchange) bool, yield func(Exchange) bool) {
	w.seen(func(x Exchange) bool { return !fits(&x) || yield(x) })
}

func (w *world) ByID(id string, yield func(Exchange) bool) {
	w.where(func(x *Exchange) bool {
		return sameID(x.ID, id) || slices.ContainsFunc(x.IDs, func(other string) bool { return sameID(other, id) })
	}, yield)
}

func (w *world) BySession(token string, yield func(Exchange) bool) {
	w.where(func(x *Exchange) bool { return x.Session == token }, yield)
}

func (w *world) During(from, to time.Time, yield func(Exchange) bool) {
	w.where(func(x *Exchange) bool { return !x.Begin.After(to) && (x.End.IsZero() || !x.End.Before(from)) }, yield)
}

func (w *world) ByAppSession(hash uint64, yield func(Exchange) bool) {
	w.where(func(x *Exchange) bool { return x.AppSession == hash }, yield)
}

func (w *world) ByUpstream(addr netip.AddrPort, at time.Time, yield func(Exchange) bool) {
	var list []Exchange
	w.where(func(x *Exchange) bool { return x.Upstream == addr && !x.Begin.After(at) }, func(x Exchange) bool {
		list = append(list, x)
		return true
	})
	for _, x := range slices.Backward(list) {
		if !yield(x) {
			return
		}
	}
}

func (w *world) EvictedSince(t time.Time) bool { return !w.evicted.Before(t) }

// run lets the files grow as they did, and gives what was found.
func (w *world) run(t *testing.T, change func(*Config)) []Finding {
	t.Helper()
	w.open(t)
	c := Config{Exchanges: w, MinSeverity: record.Error, Log: zap.NewNop(), Registerer: prometheus.NewRegistry(),
		Out: func(_ context.Context, f *Finding) error {
			w.found = append(w.found, *f)
			f.Release()
			return nil
		}}
	if change != nil {
		change(&c)
	}
	w.joiner = New(c)
	offsets := map[string]int64{}
	for i, b := range w.written {
		w.until(t, b.at)
		block := &tail.Block{File: w.files[b.file], Offset: offsets[b.file], Data: []byte(b.text), Arrived: b.at, Since: b.at.Add(-w.late[i])}
		offsets[b.file] += int64(len(b.text))
		if err := w.joiner.Read(t.Context(), block); err != nil {
			t.Fatal(err)
		}
	}
	w.until(t, w.now.Add(30*time.Second))
	return w.found
}

// until lets time pass, and has the joiner look when it wants to.
func (w *world) until(t *testing.T, end time.Time) {
	for next := w.joiner.nextLook(); !next.IsZero() && next.Before(end); next = w.joiner.nextLook() {
		if next.After(w.now) {
			w.now = next
		}
		if err := w.joiner.pass(t.Context(), w.now, 0); err != nil {
			t.Fatal(err)
		}
	}
	w.now = end
	if err := w.joiner.pass(t.Context(), end, 0); err != nil {
		t.Fatal(err)
	}
}

// open writes the files as they are in the end, so that the joiner can look back in them.
func (w *world) open(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	content := map[string][]byte{}
	for _, b := range w.written {
		content[b.file] = append(content[b.file], b.text...)
	}
	for name, data := range content {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	logs, err := tail.New(tail.Config{Globs: []string{filepath.Join(dir, "*")}, From: tail.Beginning})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(logs.Close)
	w.files = map[string]*tail.File{}
	ended, end := context.WithCancel(t.Context())
	end()
	if err := logs.Run(ended, func(b *tail.Block) error {
		w.files[filepath.Base(b.File.Path)] = b.File
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(w.written) > 0 {
		w.now = w.written[0].at
	}
}
