package table

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/openreplay/log-sidecar/enrich"
	"github.com/openreplay/log-sidecar/session"
)

var epoch = time.Unix(1_800_000_000, 0)

// clock is the time of a table in a test.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

func (c *clock) pass(d time.Duration) time.Time { c.now = c.now.Add(d); return c.now }

func opened(t testing.TB, c Config) *Table {
	t.Helper()
	table, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { table.Close() })
	return table
}

func exchange(n int, session string, begin time.Time) *enrich.Exchange {
	return &enrich.Exchange{
		ID: fmt.Sprintf("6f1c9d3e-95a1-4b9e-8f0e-%012x", n), Session: session, SessionBy: "header", Method: "POST",
		Target: fmt.Sprintf("/orders/%d?x=y", n), Client: "192.0.2.7", IDs: []string{fmt.Sprintf("incoming-%d", n)},
		AppSession: uint64(n), Begin: begin,
	}
}

// served begins and ends an exchange of a second on a connection.
func served(table *Table, c *clock, n int, session string, by netip.AddrPort) *enrich.Exchange {
	x := exchange(n, session, c.now)
	table.Begin(x)
	x.Upstream = by
	table.Update(x)
	x.Status, x.End = 200, c.pass(time.Second)
	table.End(x)
	return x
}

// search is a method of the table, with what it is asked for.
type search = func(yield func(enrich.Exchange) bool)

// all gives what a search yields.
func all(s search) (found []enrich.Exchange) {
	s(func(x enrich.Exchange) bool { found = append(found, x); return true })
	return found
}

func byID(t *Table, id string) []enrich.Exchange {
	return all(func(yield func(enrich.Exchange) bool) { t.ByID(id, yield) })
}

func targets(s search) (names []string) {
	for _, x := range all(s) {
		names = append(names, strings.TrimSuffix(strings.TrimPrefix(x.Target, "/orders/"), "?x=y"))
	}
	return names
}

var sameExchange = cmp.Options{cmpopts.EquateComparable(netip.AddrPort{}), cmpopts.EquateEmpty(),
	cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })}

func TestFoundByAllThatItIsKnownBy(t *testing.T) {
	c := &clock{epoch}
	table := opened(t, Config{Size: minSize, Now: c.Now})
	x := exchange(1, "token", c.now)
	x.SessionID, x.Streams = 2618307011354435587, true
	table.Begin(x)
	x.Upstream = netip.MustParseAddrPort("127.0.0.1:40001")
	table.Update(x)
	x.IDs = append(x.IDs, "the-answer's-id", "incoming-1")
	x.Status, x.Head, x.End = 500, c.pass(time.Second), c.pass(time.Second)
	table.End(x)
	for name, search := range map[string]search{
		"its ID":                   func(y func(enrich.Exchange) bool) { table.ByID(x.ID, y) },
		"its ID in capitals":       func(y func(enrich.Exchange) bool) { table.ByID(strings.ToUpper(x.ID), y) },
		"its ID without hyphens":   func(y func(enrich.Exchange) bool) { table.ByID(strings.ReplaceAll(x.ID, "-", ""), y) },
		"the incoming ID":          func(y func(enrich.Exchange) bool) { table.ByID("incoming-1", y) },
		"the answer's ID":          func(y func(enrich.Exchange) bool) { table.ByID("the-answer's-id", y) },
		"the session":              func(y func(enrich.Exchange) bool) { table.BySession("token", y) },
		"the app's session cookie": func(y func(enrich.Exchange) bool) { table.ByAppSession(1, y) },
		"the connection":           func(y func(enrich.Exchange) bool) { table.ByUpstream(x.Upstream, c.now, y) },
		"the time":                 func(y func(enrich.Exchange) bool) { table.During(c.now, c.now, y) },
	} {
		if diff := cmp.Diff([]enrich.Exchange{*x}, all(search), sameExchange); diff != "" {
			t.Errorf("by %s (-want +got):\n%s", name, diff)
		}
	}
	for name, search := range map[string]search{
		"another ID":              func(y func(enrich.Exchange) bool) { table.ByID("incoming-2", y) },
		"no ID":                   func(y func(enrich.Exchange) bool) { table.ByID("", y) },
		"the token as an ID":      func(y func(enrich.Exchange) bool) { table.ByID("token", y) },
		"the token in capitals":   func(y func(enrich.Exchange) bool) { table.BySession("TOKEN", y) },
		"no app session":          func(y func(enrich.Exchange) bool) { table.ByAppSession(0, y) },
		"another connection":      func(y func(enrich.Exchange) bool) { table.ByUpstream(netip.MustParseAddrPort("127.0.0.1:1"), c.now, y) },
		"no connection":           func(y func(enrich.Exchange) bool) { table.ByUpstream(netip.AddrPort{}, c.now, y) },
		"a time before its begin": func(y func(enrich.Exchange) bool) { table.During(epoch.Add(-2), epoch.Add(-1), y) },
	} {
		if got := all(search); len(got) != 0 {
			t.Errorf("by %s: %v", name, got)
		}
	}
}

// TestWhatDoesNotFit: a token is whole or not there, a long target ends in a mark, IDs that are too many are counted.
func TestWhatDoesNotFit(t *testing.T) {
	table := opened(t, Config{Size: minSize})
	x := exchange(1, strings.Repeat("t", session.MaxToken), time.Now())
	x.Target = "/" + strings.Repeat("é", 1000)
	for n := range 20 {
		x.IDs = append(x.IDs, fmt.Sprintf("%040x", n))
	}
	table.Begin(x)
	got := byID(table, x.ID)[0]
	if got.Session != x.Session {
		t.Errorf("a token of %d bytes came back with %d", len(x.Session), len(got.Session))
	}
	if want := "/" + strings.Repeat("é", 254) + mark; got.Target != want {
		t.Errorf("the target is %q", got.Target)
	}
	if dropped := testutil.ToFloat64(table.metrics.idsDropped); len(got.IDs) != maxIDs || dropped != 5 {
		t.Errorf("%d IDs are kept and %v dropped of %d", len(got.IDs), dropped, len(x.IDs))
	}
	y := exchange(2, strings.Repeat("t", session.MaxToken+1), time.Now())
	y.IDs = []string{strings.Repeat("i", maxID+1), "after-a-long-one"}
	table.Begin(y)
	if got := byID(table, y.ID)[0]; got.Session != "" {
		t.Errorf("a token that is none came back with %d bytes", len(got.Session))
	}
}

// TestConnection: which exchanges a line is shown that names a connection and a moment.
func TestConnection(t *testing.T) {
	addr := netip.MustParseAddrPort("127.0.0.1:40001")
	tests := []struct {
		name string
		at   time.Duration // since exchange 0 began; exchange 1 begins at 10 s, each takes a second
		want []string
	}{
		{"while 0 is served", 500 * time.Millisecond, []string{"0"}},
		{"while 1 is served", 10500 * time.Millisecond, []string{"1"}},
		{"a stamp cut to the second", 9700 * time.Millisecond, []string{"1", "0"}},
		{"a late line, before the next takes the connection", 5 * time.Second, []string{"0"}},
		{"a late line of the last", time.Hour, []string{"1"}},
		{"long before", -time.Minute, nil},
	}
	c := &clock{epoch}
	table := opened(t, Config{Size: minSize, Now: c.Now})
	served(table, c, 0, "token", addr)
	c.pass(9 * time.Second)
	served(table, c, 1, "token", netip.MustParseAddrPort("[::ffff:127.0.0.1]:40001"))
	for _, test := range tests {
		got := targets(func(y func(enrich.Exchange) bool) { table.ByUpstream(addr, epoch.Add(test.at), y) })
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

// TestALateLineIsNobodysWhereOneWasEvicted: the evicted exchange may have followed on that connection.
func TestALateLineIsNobodysWhereOneWasEvicted(t *testing.T) {
	c := &clock{epoch}
	table := opened(t, Config{Size: minSize, Now: c.Now})
	addr := netip.MustParseAddrPort("127.0.0.1:40001")
	x := served(table, c, 0, "token", addr)
	for n := range 2 * len(table.places) {
		served(table, c, 1+n, "", netip.MustParseAddrPort("127.0.0.1:40002"))
	}
	late := func(at time.Time) []string {
		return targets(func(y func(enrich.Exchange) bool) { table.ByUpstream(addr, at, y) })
	}
	if got := late(x.End.Add(time.Millisecond)); got != nil {
		t.Errorf("a line after its end finds %v", got)
	}
	if got := late(x.End.Add(-time.Millisecond)); len(got) != 1 {
		t.Errorf("a line of its own time finds %v", got)
	}
}

func TestDuring(t *testing.T) {
	c := &clock{epoch}
	table := opened(t, Config{Size: minSize, Now: c.Now})
	long := exchange(100, "", epoch)
	table.Begin(long)
	for n := range 6 { // plain and kept in turn, each of one second, one after the other
		served(table, c, n, []string{"", "token"}[n%2], netip.AddrPort{})
	}
	during := func(from, to time.Duration) map[string]int {
		found := map[string]int{}
		for _, name := range targets(func(y func(enrich.Exchange) bool) {
			table.During(epoch.Add(from), epoch.Add(to), y)
		}) {
			found[name]++
		}
		return found
	}
	want := map[string]int{"100": 1, "2": 1, "3": 1, "4": 1}
	if diff := cmp.Diff(want, during(2500*time.Millisecond, 4500*time.Millisecond)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// One that ends while the search is under way is given once.
	times := 0
	table.During(epoch, c.now, func(x enrich.Exchange) bool {
		if x.ID == long.ID {
			times++
			long.End = c.now
			table.End(long)
		}
		return true
	})
	if times != 1 {
		t.Errorf("the exchange that ended meanwhile was given %d times", times)
	}
}

// flood begins and ends n exchanges of a millisecond.
func flood(table *Table, c *clock, from, n int, session string) {
	for i := range n {
		x := exchange(from+i, session, c.now)
		table.Begin(x)
		x.End = c.pass(time.Millisecond)
		table.End(x)
	}
}

// TestWhoGoesFirst: exchanges without a session and without an error, then the others, the oldest first; what is still
// wanted is counted.
func TestWhoGoesFirst(t *testing.T) {
	c := &clock{epoch}
	table := opened(t, Config{Size: minSize, Now: c.Now})
	since := c.now
	flood(table, c, 0, 50, "token")
	if table.EvictedSince(since.Add(time.Nanosecond)) {
		t.Error("something counts as evicted that was there")
	}
	flood(table, c, 1000, 2*len(table.places), "")
	for i := range 50 {
		if len(byID(table, exchange(i, "", epoch).ID)) != 1 {
			t.Fatalf("exchange %d has a session and went before those without", i)
		}
	}
	if !table.EvictedSince(since) || table.EvictedSince(c.now) {
		t.Error("the evicted exchanges count as of another time")
	}
	if got := testutil.ToFloat64(table.metrics.missed); got != 0 {
		t.Errorf("%v are counted as missed, though all had neither session nor error", got)
	}
	flood(table, c, 5000, 2*len(table.places), "token")
	if got := testutil.ToFloat64(table.metrics.missed); got == 0 {
		t.Error("sessions of a moment ago went, and nobody counts it")
	}
	last := 5000 + 2*len(table.places) - 1
	if len(byID(table, exchange(last, "", epoch).ID)) != 1 {
		t.Error("the latest exchange is gone")
	}
}

// TestAQuietPodTouchesLittleMemory: slots of exchanges whose time is over are used again before fresh ones are touched.
func TestAQuietPodTouchesLittleMemory(t *testing.T) {
	c := &clock{epoch}
	table := opened(t, Config{Now: c.Now})
	for n := range 20_000 { // one a second, half of them with a session
		served(table, c, n, []string{"", "token"}[n%2], netip.AddrPort{})
	}
	if touched := int(table.grown) * slotSize; touched > 600<<10 {
		t.Errorf("%d KiB are touched", touched>>10)
	}
	if got := testutil.ToFloat64(table.metrics.missed) + testutil.ToFloat64(table.metrics.evicted); got != 0 {
		t.Errorf("%v were evicted for lack of room", got)
	}
}

// TestLateCalls: whoever still holds a Ref of an exchange that is gone, or has ended, changes nothing.
func TestLateCalls(t *testing.T) {
	c := &clock{epoch}
	table := opened(t, Config{Size: minSize, Now: c.Now})
	gone := exchange(1, "token", c.now)
	table.Begin(gone)
	var open []*enrich.Exchange
	for n := range len(table.places) {
		open = append(open, exchange(10+n, "other", c.now))
		table.Begin(open[n])
	}
	if !table.EvictedSince(c.pass(time.Hour)) {
		t.Error("an exchange that was evicted may still be open, and does not count as such")
	}
	for _, x := range append(open, gone) {
		x.Status = 500
		table.Update(x)
		x.End = c.now
		table.End(x)
	}
	if got := byID(table, gone.ID); len(got) != 0 {
		t.Errorf("the late calls brought it back: %v", got)
	}
	if table.EvictedSince(c.pass(time.Hour)) {
		t.Error("all have ended, and still one counts as open")
	}
	last := open[len(open)-1]
	last.Session = "another"
	table.Update(last)
	table.End(last)
	if got := byID(table, last.ID); len(got) != 1 || got[0].Session != "other" {
		t.Errorf("a call after the end changed it: %v", got)
	}
}

// TestAnExchangeDoesNotEvictItself, though it is the oldest, all are open, and it needs more room.
func TestAnExchangeDoesNotEvictItself(t *testing.T) {
	table := opened(t, Config{Size: minSize})
	x := exchange(0, "token", time.Now())
	table.Begin(x)
	for n := 1; table.nfree > 0 || int(table.grown) < len(table.places); n++ {
		table.Begin(exchange(n, "", time.Now()))
	}
	for n := range maxIDs - 1 {
		x.IDs = append(x.IDs, fmt.Sprintf("%0100d", n))
	}
	table.Update(x)
	if got := byID(table, x.IDs[1]); len(got) != 1 || len(got[0].IDs) < 8 {
		t.Errorf("found %v", got)
	}
}

// TestASearchMissesNothingThatStays: exchanges come and go while a search for an ID that all share is under way.
func TestASearchMissesNothingThatStays(t *testing.T) {
	c := &clock{epoch}
	table := opened(t, Config{Size: minSize, Now: c.Now})
	for n := range 200 {
		x := exchange(n, []string{"", "token"}[n%2], c.now)
		x.IDs = []string{"main"}
		table.Begin(x)
		x.End = c.pass(time.Millisecond)
		table.End(x)
	}
	given := map[string]int{}
	table.ByID("MAIN", func(x enrich.Exchange) bool {
		if given[x.ID]++; len(given) == 1 || len(given) == 50 { // among those that go is the one that the search is at
			flood(table, c, 1000*len(given), 2*len(table.places), "")
		}
		return true
	})
	if testutil.ToFloat64(table.metrics.evicted) == 0 {
		t.Fatal("nothing went meanwhile: the test shows nothing")
	}
	for n := range 200 {
		id := exchange(n, "", epoch).ID
		if held := len(byID(table, id)) == 1; given[id] > 1 || held && given[id] == 0 {
			t.Errorf("exchange %d (held %v) was given %d times", n, held, given[id])
		}
	}
	if len(table.index.cursors) != 0 {
		t.Error("the search left its cursor")
	}
}

// TestManyKeys: exchanges with more IDs than there is room for in the index make room like others.
func TestManyKeys(t *testing.T) {
	table := opened(t, Config{Size: minSize})
	for n := range 1000 {
		x := exchange(n, "", time.Now())
		for i := range maxIDs - 1 {
			x.IDs = append(x.IDs, fmt.Sprintf("i%d-%d", i, n))
		}
		table.Begin(x)
		for _, id := range x.IDs {
			if len(byID(table, id)) != 1 {
				t.Fatalf("exchange %d is not found by %s", n, id)
			}
		}
		table.End(x)
	}
}

// TestARecordingIsPlayedIn: what is older than the table is kept like what is new.
func TestARecordingIsPlayedIn(t *testing.T) {
	table := opened(t, Config{Size: minSize})
	begin := time.Now().Add(-240 * time.Hour)
	for n := range 100 {
		x := exchange(n, "", begin.Add(time.Duration(n)*time.Second))
		x.Upstream, x.End = netip.MustParseAddrPort("127.0.0.1:40001"), x.Begin.Add(time.Millisecond)
		table.Begin(x)
		table.End(x)
	}
	for n := range 100 {
		at := begin.Add(time.Duration(n) * time.Second)
		if got := targets(func(y func(enrich.Exchange) bool) { table.During(at, at, y) }); len(got) != 1 {
			t.Fatalf("at second %d: %v", n, got)
		}
	}
	if table.EvictedSince(begin.Add(time.Second)) {
		t.Error("something counts as evicted")
	}
	if got := targets(func(y func(enrich.Exchange) bool) {
		table.ByUpstream(netip.MustParseAddrPort("127.0.0.1:40001"), begin.Add(50*time.Second), y)
	}); !slices.Equal(got, []string{"51", "50", "49"}) { // one second each
		t.Errorf("by its connection: %v", got)
	}
}

func TestSizes(t *testing.T) {
	for _, size := range []int64{1, minSize - 1, maxSize + 1, -1} {
		if _, err := Open(Config{Size: size}); err == nil || !strings.Contains(err.Error(), "choose between") {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

func TestClosed(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	table := opened(t, Config{Size: minSize, Registerer: reg})
	x := exchange(1, "token", time.Now())
	table.Begin(x)
	if n, err := testutil.GatherAndCount(reg); n != 6 || err != nil {
		t.Errorf("%d metrics, %v", n, err)
	}
	if got := table.count(); got != 1 {
		t.Errorf("%v are held", got)
	}
	// Closed twice, and in the midst of a search.
	table.ByID(x.ID, func(enrich.Exchange) bool {
		table.Close()
		return table.Close() == nil
	})
	table.Update(x)
	table.End(x)
	table.Begin(x)
	table.During(epoch, time.Now(), func(enrich.Exchange) bool { t.Error("a closed table gives something"); return false })
	if x.Ref != 0 || len(byID(table, x.ID)) != 0 {
		t.Error("a closed table holds something")
	}
}

// TestConcurrent is for the race detector: requests, the reader of logs and the metrics at the same time.
func TestConcurrent(t *testing.T) {
	table := opened(t, Config{Size: minSize})
	var group sync.WaitGroup
	for g := range 8 {
		group.Go(func() {
			for i := range 500 {
				x := exchange(g*1000+i, "token", time.Now())
				table.Begin(x)
				x.Status = 200
				table.Update(x)
				if got := byID(table, x.ID); len(got) != 1 || got[0].Status != 200 {
					t.Errorf("exchange %d of %d: %v", i, g, got)
				}
				table.During(x.Begin, time.Now(), func(enrich.Exchange) bool { return false })
				table.BySession("token", func(enrich.Exchange) bool { return false })
				table.End(x)
				table.count()
			}
		})
	}
	group.Wait()
}

func TestRequestsAllocateNothing(t *testing.T) {
	table := opened(t, Config{Size: minSize})
	x := exchange(1, "token", time.Now())
	x.Target = strings.Repeat("/long", 1000)
	if n := testing.AllocsPerRun(1000, func() {
		x.End = time.Time{}
		table.Begin(x)
		x.Upstream = netip.MustParseAddrPort("127.0.0.1:40001")
		table.Update(x)
		x.End = x.Begin
		table.End(x)
		table.ByID("a-word-that-is-no-id", nil)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
