//go:build e2e

package delivery

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
)

// Each of gRPC's codes alone is Cloud Logging's answer to everything for a while. The errors wait, and arrive once.
func TestEveryCode(t *testing.T) {
	number := seed(t)
	t.Logf("seed %d", number)
	for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
		t.Run(code.String(), func(t *testing.T) {
			t.Parallel()
			r := row{name: code.String(), act: answers(always(code))}
			w := newWorld(t, "code"+strconv.Itoa(int(code)), newCloud(t), rand.New(rand.NewPCG(number, uint64(code))), 0)
			t.Log(w.tryOut(r))
		})
	}
}

// An outage that lasts until as many errors wait as half an hour has at 50 a second; a short one without DELIVERY_OUTAGE.
// Memory stays flat, and what comes after it arrives as fast as ever.
func TestLongOutage(t *testing.T) {
	errors := 5000
	if text := os.Getenv("DELIVERY_OUTAGE"); text != "" {
		errors, _ = strconv.Atoi(text)
	}
	number := seed(t)
	r := row{name: "outage", act: network(refusing)}
	// Each of the errors has an exchange of its own, which the sidecar has to remember until the error can be sent.
	w := newWorld(t, "shop", newCloud(t), rand.New(rand.NewPCG(number, 0)), 0, "--pace", "0", "--table-size", fmt.Sprint(16+errors/1000, "MiB"))
	w.users(20, aUser)
	w.awaitArrival()
	before := w.resident()
	w.network.set(refusing)
	began := time.Now()
	w.burst(errors)
	lasted, during := time.Since(began), w.resident()
	w.heal(r)
	w.awaitWithin(10*time.Minute, "the backlog to arrive", func() bool { return w.cloud.there(w.name) == w.app.count() })
	caughtUp, after := time.Since(w.healed), w.resident()
	late, onTheirWay := w.lateness(w.healed), len(w.lateness(began))-len(w.lateness(w.healed))
	w.users(100, aUser)
	w.awaitArrival()
	w.settled()
	w.stop()
	w.verdict(r, caughtUp)
	p99 := late[len(late)*99/100]
	fmt.Printf("\n%d errors in an outage of %.0f s, all there %.1f s after it; %d of them had been sealed before its end, the others were late after their timestamp: p50 %v, p99 %v, most %v; RSS before, at its end, after: %d, %d, %d MiB\n",
		errors, lasted.Seconds(), caughtUp.Seconds(), onTheirWay, late[len(late)/2], p99, late[len(late)-1], before>>20, during>>20, after>>20)
	if onTheirWay > batch {
		t.Errorf("%d were sealed while nothing could be sent, more than the batch on its way", onTheirWay)
	}
	if p99 > time.Second {
		t.Errorf("after the outage the p99 of lateness is %v", p99)
	}
	if after > 64<<20 {
		t.Errorf("memory has grown from %d to %d MiB", before>>20, after>>20)
	}
}

// batch is the most entries of a request.
const batch = 500

// lateness gives how long after their timestamp the entries of after then could be seen, in order.
func (w *world) lateness(then time.Time) (late []time.Duration) {
	entries := w.cloud.entries()
	w.cloud.mu.Lock()
	defer w.cloud.mu.Unlock()
	for _, e := range entries {
		if stamp := e.Timestamp.AsTime(); stamp.After(then) {
			late = append(late, w.cloud.visible[errorOf(e)].Sub(stamp).Round(time.Millisecond))
		}
	}
	slices.Sort(late)
	return late
}

// resident is how many bytes of memory the sidecar has for itself: the exchanges, which are mapped, are not counted.
func (w *world) resident() int64 {
	w.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.sidecar.Process.Pid))
	if err != nil {
		w.t.Fatal(err)
	}
	var kib int64
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			fmt.Sscan(rest, &kib)
		}
	}
	return kib << 10
}
