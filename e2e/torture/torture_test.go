//go:build e2e

// Package torture writes, rotates, truncates and deletes log files in every way that applications do, kills the sidecar and
// the Cloud Logging stand-in meanwhile, and then asks the stand-in: each error must be there once, under its own session.
//
// The short forms run in every `go test -tags e2e`. TORTURE=N makes the steady rows N times as long: 20 is half an hour.
// TORTURE_SEED repeats the random moments of an earlier run, TORTURE_RESULTS names the file to keep the table in.
package torture

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// A row is one line of the table: what happens to the log, and what happens to us meanwhile.
type row struct {
	log     string
	trouble string
	glob    string // under the log directory; "": app.log
	act     func(w *world)
}

// results are the table.
type results struct {
	mu   sync.Mutex
	rows []string
}

func (r *results) add(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rows = append(r.rows, line)
}

func TestTorture(t *testing.T) {
	rows, seed, table := allRows(), seed(t), &results{}
	t.Run("row", func(t *testing.T) {
		for i, r := range rows {
			t.Run(r.log+"/"+r.trouble, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, r.glob, rand.New(rand.NewPCG(seed, uint64(i))))
				line := fmt.Sprintf("| %s | %s | | | | | | | | gave up |", r.log, r.trouble)
				defer func() { table.add(line) }()
				r.act(w)
				line = w.verdict(r)
			})
		}
	})
	text := "| log | trouble | lines | errors | rotations | kills | lost | doubled | wrong session | all there after |\n|---|---|--:|--:|--:|--:|--:|--:|--:|--:|\n" +
		strings.Join(slices.Sorted(slices.Values(table.rows)), "\n") + "\n"
	fmt.Printf("\n%s\nseed %d\n", text, seed)
	if path := os.Getenv("TORTURE_RESULTS"); path != "" {
		text = "# What becomes of errors whatever happens to their log\n\n`make torture`: real files, real processes, SIGKILL; the errors are counted in the stand-in, by ID. As many rows run at a time as there are cores, " +
			strconv.Itoa(runtime.NumCPU()) + ".\n\n" + text + "\n" + time.Now().UTC().Format(time.DateOnly) + ", seed " + strconv.FormatUint(seed, 10) + "\n"
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Error(err)
		}
	}
}

func seed(t *testing.T) uint64 {
	text := os.Getenv("TORTURE_SEED")
	if text == "" {
		return uint64(time.Now().UnixNano())
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("TORTURE_SEED: %v", err)
	}
	return seed
}

// longer is how many times as long the steady rows are.
func longer() int {
	n, _ := strconv.Atoi(os.Getenv("TORTURE"))
	return max(1, n)
}

func allRows() []row {
	var rows []row
	for _, way := range ways {
		for _, trouble := range troubles {
			rows = append(rows, row{way.name, trouble.name, way.glob, func(w *world) { w.steady(way, trouble, 5000, 20_000*longer(), 50) }})
		}
	}
	fast := way{"rename at 20,000 lines/s", "", rename(3), 3}
	rows = append(rows, row{fast.name, "none", "", func(w *world) { w.steady(fast, troubles[0], 20_000, 60_000*longer(), 100) }})
	return slices.Concat(rows, oddRows, formRows, sourceRows)
}

// verdict brings everything up again, waits until the errors have arrived or the time for it is over, ends the sidecar in
// order, and only then counts: what it sends at its end counts too.
func (w *world) verdict(r row) string {
	w.t.Helper()
	begin := time.Now()
	w.cloudUp()
	w.up()
	arrived := w.await(len(w.written))
	took := time.Since(begin).Round(10 * time.Millisecond).String()
	if !arrived {
		took = "never"
	}
	if code := w.sidecar.Stop(w.t); code != 0 {
		w.t.Errorf("the sidecar ended with %d", code)
	}
	lost, doubled, wrong := w.judge()
	if lost+doubled+wrong > 0 || !arrived {
		w.t.Errorf("%d errors: %d lost, %d doubled, %d under a wrong session; all arrived before the end: %v", len(w.written), lost, doubled, wrong, arrived)
	}
	return fmt.Sprintf("| %s | %s | %d | %d | %d | %d | %d | %d | %d | %s |",
		r.log, r.trouble, w.lines, len(w.written), w.rotations, w.kills, lost, doubled, wrong, took)
}

// judge compares what the stand-in has with what was written.
func (w *world) judge() (lost, doubled, wrong int) {
	got := map[string]int{}
	for _, e := range w.stage.Entries("") {
		id := e.Labels["requestId"]
		if got[id]++; got[id] == 2 {
			doubled++
			w.t.Logf("doubled: %s at %s+%d", id, e.JSONPayload.Source.File, e.JSONPayload.Source.Offset)
		}
		if w.written[id].session != e.Token() {
			wrong++
			w.t.Logf("wrong: %s has %q, want %q", id, e.Token(), w.written[id].session)
		}
	}
	for id, e := range w.written {
		if got[id] == 0 {
			if lost++; lost <= 5 {
				w.t.Logf("lost: %s, line %d: %s", id, e.line, e.where)
			}
		}
	}
	return lost, doubled, wrong
}
