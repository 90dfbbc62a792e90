//go:build e2e

package delivery

import (
	"bufio"
	"encoding/json"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
)

// A line is one entry as it stands on standard output for the node's agent.
type line struct {
	Message, Severity string
	Labels            map[string]string `json:"logging.googleapis.com/labels"`
	InsertID          string            `json:"logging.googleapis.com/insertId"`
}

// A pod that ends in an outage leaves what is unsent on standard output, says how many entries that are, and a next life over
// the same state delivers each of them once, under the insertId that it had there.
func TestEndInOutage(t *testing.T) {
	number := seed(t)
	t.Logf("seed %d", number)
	for i, r := range []row{
		{name: "refused", act: network(refusing)},
		{name: "refused, with a backlog in the file", act: network(refusing), burst: 4000},
		{name: "hanging", act: network(hanging)},
		{name: "PERMISSION_DENIED", act: answers(always(codes.PermissionDenied))},
	} {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "shop", newCloud(t), rand.New(rand.NewPCG(number, uint64(i))), 0, "--pace", strconv.Itoa(50+r.burst), "--drain", "10s")
			w.users(5, aUser)
			w.settled() // the answers too have come, and not only the entries gone
			visited := w.visitMeanwhile(long, aUser)
			r.act(w)
			visited()
			w.burst(r.burst)
			if m := w.metrics(); m["errors_waiting"] == 0 || r.name == "PERMISSION_DENIED" && m["forwarder_oldest_unacknowledged_seconds"] == 0 {
				t.Errorf("in an outage the metrics say that nothing waits: %v", m)
			}
			w.stop()
			left := w.leftOnStdout()
			w.heal(r)
			w.launch()
			w.awaitArrival()
			w.stop()
			w.verdict(r, time.Since(w.healed))
			for _, e := range w.cloud.entries() {
				if l, ok := left[errorOf(e)]; ok && l.InsertID != e.InsertId {
					t.Errorf("%v stood on standard output as %s and arrived as %s", errorOf(e), l.InsertID, e.InsertId)
				}
			}
		})
	}
}

// users has n users meet an error each.
func (w *world) users(n int, next func(int) visit) {
	visits := 0
	w.visits(next, func() bool { visits++; return visits > n })
}

// visitMeanwhile has n users meet an error each, and gives what waits for the last.
func (w *world) visitMeanwhile(n int, next func(int) visit) (wait func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.users(n, next)
	}()
	return func() { <-done }
}

// leftOnStdout reads what the sidecar wrote out at its end: all that had not arrived, once.
func (w *world) leftOnStdout() map[failure]line {
	w.t.Helper()
	file, err := os.Open(w.stdout())
	if err != nil {
		w.t.Fatal(err)
	}
	defer file.Close()
	want, left := map[failure]string{}, map[failure]line{}
	for which, v := range w.app.written {
		want[which] = v.token
	}
	for _, e := range w.cloud.entries() {
		delete(want, errorOf(e))
	}
	got := map[failure]string{}
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var l line
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			w.t.Fatalf("standard output has a line that is not JSON: %v\n%s", err, lines.Text())
		}
		which := errorIn(l.Message)
		if _, twice := left[which]; twice || l.Severity != "ERROR" {
			w.t.Errorf("standard output has %v again, or without its severity: %s", which, lines.Text())
		}
		left[which], got[which] = l, l.Labels["openReplaySessionToken"]
	}
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Errorf("what was unsent, and what stands on standard output (-want +got):\n%s", diff)
	}
	if n := w.saidUnsent(); n != len(want) {
		w.t.Errorf("the log says that %d entries were written out, not %d", n, len(want))
	}
	return left
}

// saidUnsent is how many entries the sidecar's log says to have been written out. The metric of the same number ends with
// the process.
func (w *world) saidUnsent() (n int) {
	for text := range strings.Lines(w.sidecar.Output()) {
		var said struct {
			Message string
			Entries int
		}
		if json.Unmarshal([]byte(text), &said) == nil && strings.Contains(said.Message, "they are written out") {
			n += said.Entries
		}
	}
	return n
}
