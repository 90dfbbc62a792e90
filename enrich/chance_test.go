package enrich

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A day at a shop: one request after the other, each of another session, half of them an order that is shipped and answered with
// 200 all the same, though an error is logged 2 ms before its answer.
func shop(orders int) (w *world, at func(ms float64) time.Time) {
	start := time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC)
	at = func(ms float64) time.Time { return start.Add(time.Duration(ms * float64(time.Millisecond))) }
	w = &world{}
	random := rand.New(rand.NewPCG(1, 2))
	now := 0.0
	for n := range 2 * orders {
		took := 8 + 30*random.Float64()
		x := Exchange{ID: fmt.Sprintf("00000000-0000-4000-8000-%012d", n), Session: fmt.Sprint("session-", n), Method: "POST",
			Target: []string{"/ship", "/cart"}[n%2], Status: 200, Begin: at(now), Head: at(now + took), End: at(now + took)}
		w.all = append(w.all, x)
		if n%2 == 0 {
			w.written = append(w.written, written{"app.log", at(now + took - 2), fmt.Sprintf("ERROR stock of order %d is not known\n", n)})
		}
		now += took + 5*random.Float64()
	}
	return w, at
}

// What is written at the moments of requests of one kind, and only then, finds their sessions, though nothing names them and none
// of them failed.
func TestErrorsOfRequestsThatDidNotFail(t *testing.T) {
	w, _ := shop(40)
	right := 0
	for _, f := range w.run(t, func(c *Config) { c.Infer = InferKind }) {
		var n int
		fmt.Sscanf(f.Record.Text, "ERROR stock of order %d", &n)
		if want := fmt.Sprint("session-", n); f.Exchange.Session != want {
			t.Errorf("%q is said to be of %s", f.Record.Text, f.Exchange.Session)
		} else {
			right++
		}
	}
	if right < 36 {
		t.Errorf("%d of 40 found their sessions", right)
	}
}

// A background job's errors are nobody's, although somebody is there whenever it writes one.
func TestABackgroundJobIsNobodys(t *testing.T) {
	w, at := shop(40)
	w.written = nil
	for n := range 40 {
		w.written = append(w.written, written{"app.log", at(20 + 41*float64(n)), fmt.Sprintf("ERROR warehouse %d is away\n", n)})
	}
	if found := w.run(t, func(c *Config) { c.Infer = InferKind }); len(found) > 0 {
		t.Errorf("%d errors of nobody were given to somebody, such as %q", len(found), found[0].Record.Text)
	}
}

// Records of a kind are written 2 ms before the answer. One that may have been written 20 ms before it was read is not for that
// the one's whose answer comes 2 ms after the reading, if another one's was 2 ms after it may have been written.
func TestHowExactlyTheMomentIsKnownCounts(t *testing.T) {
	for _, late := range []time.Duration{0, 20 * time.Millisecond} {
		w, _ := shop(20)
		w.late = map[int]time.Duration{}
		last := w.all[len(w.all)-1].End
		const pairs = 5
		for n := range pairs {
			at := func(ms int) time.Time { return last.Add(time.Duration(1000+200*n+ms) * time.Millisecond) }
			for i, end := range []int{12, 27} {
				w.all = append(w.all, Exchange{ID: fmt.Sprintf("00000000-0000-4000-8000-0001%04d%04d", n, i), Session: fmt.Sprint("pair-", i), Method: "POST",
					Target: "/ship", Status: 200, Begin: at(2 * i), Head: at(end), End: at(end)})
			}
			w.late[len(w.written)] = late
			w.written = append(w.written, written{"app.log", at(25), fmt.Sprintf("ERROR stock of order %d is not known\n", 9000+n)})
		}
		got := map[string]int{}
		for _, f := range w.run(t, func(c *Config) { c.Infer = InferKind }) {
			got[f.Exchange.Session]++
		}
		if n := got["pair-1"]; late == 0 && n < pairs-1 || late > 0 && got["pair-0"]+n > 0 {
			t.Errorf("known to %v: %d are said to be of the one, %d of the other", late, got["pair-0"], n)
		}
	}
}

// An error that stands in two files is one entry, though only one of them says whose it is.
func TestWhatOneFileKnowsHoldsForItsTwin(t *testing.T) {
	w, at := shop(1)
	w.all[0].ID = idA
	trace := "com.acme.OutOfStock: none left\n\tat com.acme.Warehouse.take(Warehouse.java:118)\n\tat com.acme.Orders.ship(Orders.java:20)\n"
	w.written = []written{
		{"console.log", at(4), "2026-11-25 10:00:00,004 ERROR Shipping - cannot ship\n" + trace},
		{"shop.log", at(5), "10:00:00.004 [" + idA + "] ERROR Shipping - cannot ship\n" + trace},
	}
	var got []string
	for _, f := range w.run(t, nil) {
		got = append(got, fmt.Sprint(f.Exchange.Session, " by ", f.By, " in ", 1+len(f.Also)))
	}
	if diff := cmp.Diff([]string{"session-0 by requestId in 2"}, got); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
}
