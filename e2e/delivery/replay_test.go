//go:build e2e

package delivery

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const sidecars = 10

// OpenReplay sees what ten sidecars deliver while they are killed, ended and started again, and while two of them cannot
// reach Cloud Logging for a while. What it misses was late for its cursor, and nothing is shown twice.
func TestOpenReplaySees(t *testing.T) {
	t.Parallel()
	number := seed(t)
	t.Logf("seed %d", number)
	c := newCloud(t)
	r := newReader(t, c.address)
	var worlds []*world
	for i := range sidecars {
		worlds = append(worlds, newWorld(t, fmt.Sprintf("pod%d", i), c, rand.New(rand.NewPCG(number, uint64(i))), 0))
	}
	done := make(chan struct{})
	var group, reading sync.WaitGroup
	defer reading.Wait()
	stopReading := sync.OnceFunc(func() { close(done) })
	defer stopReading()
	reading.Go(func() { r.run(done) })
	for i, w := range worlds {
		group.Go(func() { w.live(i) })
	}
	group.Wait()
	for _, w := range worlds {
		w.awaitAccepted()
		w.stop()
	}
	stopReading()
	reading.Wait()
	judgeReader(t, r, c, worlds)
}

// live has a hundred users meet errors and a pod's life befall the sidecar: of five, the first is cut off from Cloud Logging
// for a second, the next two are killed, the fourth is ended in order, and the last is left in peace.
func (w *world) live(i int) {
	wait := w.visitMeanwhile(100, shapes())
	defer wait()
	for range 2 {
		w.during(15)
		switch i % 5 {
		case 0:
			w.network.set(refusing)
			w.during(25)
			w.network.set(passing)
		case 1, 2:
			<-time.After(time.Duration(w.rand.IntN(40)) * time.Millisecond)
			w.kill()
			w.launch()
		case 3:
			w.stop()
			w.launch()
		}
	}
}

// shapes gives users with tokens of all known shapes, in turn.
func shapes() func(n int) visit {
	return func(n int) visit {
		session := uint64(rand.Uint32())<<34 | uint64(n)
		soon := time.Now().Add(time.Hour)
		var token string
		kind := []string{"four parts", "renewed", "three parts", "expired", "negative delay", "signed by nobody", "two parts", "word", "null", "none"}[n%10]
		switch kind {
		case "four parts":
			token = tokens.of(session, 4, soon, 120)
		case "renewed": // a second token of one session
			token = tokens.of(1<<40|7, 4, soon.Add(time.Duration(n)*time.Minute), int64(n))
		case "three parts":
			token = tokens.of(session, 3, soon, 0)
		case "expired":
			token = tokens.of(session, 4, soon.Add(-48*time.Hour), 120)
		case "negative delay":
			token = tokens.of(session, 4, soon, -120)
		case "signed by nobody":
			token = tokens.of(session, 4, soon, 120) + "x"
		case "two parts":
			token = "abc.def"
		case "word":
			token = "garbage"
		case "null":
			token = "null"
		case "none":
			return visit{kind: kind, header: http.Header{}}
		}
		return visit{kind: kind, token: token, header: http.Header{"X-Openreplay-Sessiontoken": {token}}}
	}
}

// delivered says that an error of this visit becomes an entry; listed that OpenReplay's filter finds it; read that
// OpenReplay takes its token.
func (v visit) delivered() bool { return v.kind != "none" }
func (v visit) listed() bool    { return v.token != "" && v.token != "null" }
func (v visit) read() bool {
	_, ok := tokens.session(v.token)
	return ok
}

// awaitAccepted waits until all errors of this app that have a session are there.
func (w *world) awaitAccepted() {
	w.t.Helper()
	w.await("all errors with a session", func() bool {
		w.cloud.mu.Lock()
		defer w.cloud.mu.Unlock()
		w.app.mu.Lock()
		defer w.app.mu.Unlock()
		for which, v := range w.app.written {
			if v.delivered() && w.cloud.visible[which].IsZero() {
				return false
			}
		}
		return true
	})
}

// judgeReader tells what OpenReplay saw of what was delivered, by the shape of the token.
func judgeReader(t *testing.T, r *reader, c *cloud, worlds []*world) {
	t.Helper()
	type count struct{ delivered, seen, dropped, missed int }
	counts := map[string]*count{}
	var stamps []arrival
	times := map[failure]int{}
	for _, e := range c.entries() {
		which := errorOf(e)
		times[which]++
		v, ok := visitOf(worlds, which)
		if !ok || !v.delivered() || e.Labels["openReplaySessionToken"] != v.token {
			t.Errorf("%v (%s) stands under the token %q, not %q", which, v.kind, e.Labels["openReplaySessionToken"], v.token)
		}
		a := arrival{which, e.Timestamp.AsTime(), c.visible[which]}
		stamps = append(stamps, a)
		n := counts[v.kind]
		if n == nil {
			n = &count{}
			counts[v.kind] = n
		}
		n.delivered++
		switch shown := r.shown[which]; {
		case len(shown) > 1:
			t.Errorf("%v is shown %d times", which, len(shown))
		case len(shown) == 1 && !v.read():
			t.Errorf("%v (%s) is shown, in the session %d", which, v.kind, shown[0])
		case len(shown) == 1:
			if id, _ := tokens.session(v.token); id != shown[0] {
				t.Errorf("%v is shown in the session %d, not %d", which, shown[0], id)
			}
			n.seen++
		case r.dropped["its token is not one of OpenReplay's"][which] && !v.read():
			n.dropped++
		case v.listed():
			n.missed++
			if !r.passed(a.stamp, a.visible) {
				t.Errorf("%v (%s), stamped %v, there at %v, was not seen though the cursor had not passed it", which, v.kind, a.stamp, a.visible)
			}
			t.Logf("missed: %v, %v late", which, a.visible.Sub(a.stamp).Round(time.Millisecond))
		}
	}
	for which, n := range times {
		if n > 1 {
			t.Errorf("%v is there %d times", which, n)
		}
	}
	var lines []string
	total := count{}
	for kind, n := range counts {
		lines = append(lines, fmt.Sprintf("| %s | %d | %d | %d | %d |", kind, n.delivered, n.seen, n.dropped, n.missed))
		total.delivered += n.delivered
		total.seen += n.seen
		total.missed += n.missed
	}
	fmt.Printf("\n| token | delivered | seen | read and dropped | missed |\n|---|--:|--:|--:|--:|\n%s\n", strings.Join(slices.Sorted(slices.Values(lines)), "\n"))
	atOneAMinute := expected(stamps, time.Minute)
	fmt.Printf("seen of those with a genuine token: %.2f %% at a reading each %v; as late as they were, %.3f %% at one a minute\n",
		100*float64(total.seen)/float64(total.seen+total.missed), pollEvery, 100*atOneAMinute)
	if atOneAMinute < 0.999 {
		t.Errorf("OpenReplay, which reads once a minute, sees %.3f %% of them, want 99.9 %%", 100*atOneAMinute)
	}
	if total.missed > total.delivered/10 {
		t.Errorf("%d of %d were missed", total.missed, total.delivered)
	}
}

func visitOf(worlds []*world, which failure) (visit, bool) {
	for _, w := range worlds {
		if v, ok := w.app.written[which]; ok {
			return v, true
		}
	}
	return visit{}, false
}

// An arrival is when an entry was stamped and when it was there to be read.
type arrival struct {
	which          failure
	stamp, visible time.Time
}

// expected gives the share that a reader sees whose readings are every apart: an entry is missed where a reading falls
// between the moment when one with a later stamp can be seen and the moment when it itself can.
func expected(arrivals []arrival, every time.Duration) float64 {
	slices.SortFunc(arrivals, func(a, b arrival) int { return b.stamp.Compare(a.stamp) })
	var missed float64
	var first time.Time // when the first of those stamped in the same millisecond or later could be seen
	for i, a := range arrivals {
		if i > 0 {
			if gap := a.visible.Sub(first); gap > 0 {
				missed += min(1, float64(gap)/float64(every))
			}
		}
		if i == 0 || a.visible.Before(first) {
			first = a.visible
		}
	}
	return 1 - missed/float64(cmp.Or(len(arrivals), 1))
}
