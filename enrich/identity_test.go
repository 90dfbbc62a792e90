package enrich

import (
	"fmt"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/openreplay/log-sidecar/enrich/record"
)

func TestWhatIsAnID(t *testing.T) {
	for word, want := range map[string]struct{ alone, named bool }{
		"6f1c9d3e-95a1-4b9e-8f0e-0c2a54d3a111": {true, true}, // a UUID
		"4bf92f3577b34da6a3ce929d0e0e4736":     {true, true}, // a trace ID of W3C Trace Context
		"00f067aa0ba902b7":                     {true, true}, // a span ID
		"01ARZ3NDEKTSV4RRFFQ69G5FAV":           {true, true}, // a ULID
		"9m4e2mr0ui3e8a215n4g":                 {true, true}, // an xid
		"8927301846550231749":                  {true, true}, // 64 bits, decimal
		"a3f9c2d1":                             {false, true},
		"1111-22222":                           {false, true},
		"ERROR":                                {},
		"main":                                 {},
		"1":                                    {},
		"req-1f":                               {},
		"com.acme.shop.OrderController2":       {false, true},
		"org.springframework.web.HttpServlet3": {false, true},
		"http-nio-8080-exec-12":                {false, true},
		"Servlet.service":                      {},
		"V1StGXR8_Z5jdHi6B-myT":                {true, true}, // a nanoid
		"00000000000000000000000000000000":     {},
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa": {},
	} {
		if alone, named := identity(word, false), identity(word, true); alone != want.alone || named != want.named {
			t.Errorf("%s (%.0f bits): an ID alone: %v, under an ID key: %v; want %v", word, chance(word), alone, named, want)
		}
	}
}

// TestAHostileClientCatchesNobodysErrors: a client may send any words as its request's ID.
func TestAHostileClientCatchesNobodysErrors(t *testing.T) {
	for _, id := range []string{"ERROR", "main", "1", "Shipping", "com.acme.Warehouse.take", "Warehouse.java", "nightly"} {
		if found, _ := join(t, exchanges{exchange(id, "thief")}, log, nil); len(found) != 0 {
			t.Errorf("X-Request-ID: %s caught %q", id, found)
		}
	}
}

// TestWhatStoodThereBeforeIsNoID: a client may send what it saw on an error page, such as the number of a build.
func TestWhatStoodThereBeforeIsNoID(t *testing.T) {
	const build = "9f86d081884c7d659a2feaa0c55ad015"
	s := &source{}
	now := time.Now()
	s.history.note(100, now.Add(-time.Minute), time.Time{})
	s.history.note(200, now, time.Time{})
	if got := s.history.before(now.Add(-time.Second)); got != 100 {
		t.Errorf("%d bytes stood there a second ago, want 100", got)
	}
	late := exchange(build, "thief")
	late.Begin = time.Now().Add(time.Hour)
	if found, _ := join(t, exchanges{late}, "2026-11-25 10:31:07,410 ERROR build "+build+" cannot ship\n", nil); len(found) != 0 {
		t.Errorf("an exchange that had not begun caught %q", found)
	}
}

func TestTheConnectionTellsTheExchange(t *testing.T) {
	addr := netip.MustParseAddrPort("127.0.0.1:41506")
	a, b := exchange(idA, "session-a"), exchange(idB, "session-b")
	a.Upstream, b.Upstream = addr, netip.MustParseAddrPort("127.0.0.1:41508")
	a.Status = http.StatusBadGateway
	const line = "2026/11/23 22:56:52 http: panic serving 127.0.0.1:41506: order is already closed\ngoroutine 21 [running]:\nmain.deep()\n\t/srv/main.go:12 +0x1d\n"
	found, _ := join(t, exchanges{a, b}, line, nil)
	if len(found) != 1 || found[0][:9] != "session-a" {
		t.Errorf("found %q, want session-a", found)
	}
}

// TestAnAnsweredRequestDidNotPanic: a panic that net/http logs has taken the connection along. Where the request that we sent on it was
// answered before, the port is somebody else's by now.
func TestAnAnsweredRequestDidNotPanic(t *testing.T) {
	now := time.Unix(1795472914, 0)
	for name, c := range map[string]struct {
		status int
		end    time.Duration // since now; 0 is not yet
		is     bool
	}{
		"its answer is on its way":   {200, 0, true},
		"its answer broke off":       {200, -2 * time.Millisecond, true},
		"answered, a moment before":  {200, -40 * time.Millisecond, false},
		"answered, some time before": {500, -time.Minute, false},
		"the app gave it no answer":  {502, -40 * time.Millisecond, true},
	} {
		x := Exchange{ID: idA, Session: "session-a", Upstream: netip.MustParseAddrPort("127.0.0.1:41506"),
			Begin: now.Add(-2 * time.Minute), Head: now.Add(-2 * time.Minute), Status: c.status}
		if c.end != 0 {
			x.End = now.Add(c.end)
		}
		w := &world{all: []Exchange{x}, written: []written{{"app.log", now, "2026/11/23 22:28:34 http: panic serving 127.0.0.1:41506: order is already closed\n"}}}
		if found := w.run(t, nil); (len(found) == 1) != c.is {
			t.Errorf("%s: found %d", name, len(found))
		}
	}
}

// TestAnAddressOfItsOwnTellsTheConnection: where each connection has one, a log need not name the port.
func TestAnAddressOfItsOwnTellsTheConnection(t *testing.T) {
	a, b := exchange(idA, "session-a"), exchange(idB, "session-b")
	a.Upstream, b.Upstream = netip.MustParseAddrPort("127.33.4.5:0"), netip.MustParseAddrPort("127.33.4.6:0")
	for _, client := range []string{"127.33.4.5", "::ffff:127.33.4.5", "127.33.4.5:41506"} {
		line := "2026/11/23 22:56:52 [error] 7#7: *3 stock is gone, client: " + client + ", server: shop\n"
		found, j := join(t, exchanges{a, b}, line, nil)
		if ways := testutil.ToFloat64(j.metrics.matched.WithLabelValues("sourceAddress")); len(found) != 1 || found[0][:9] != "session-a" || ways != 1 {
			t.Errorf("client %s: found %q, %v by sourceAddress, want session-a", client, found, ways)
		}
	}
}

func anyExchange(*Exchange) bool { return true }

// sessionOf is whose a match is, "" for nobody.
func sessionOf(m match) string {
	if m.exchange == nil {
		return ""
	}
	return m.exchange.Session
}

// TestTheNextOnAConnectionIsNotBlamed: the line of a request is read when the next one has the connection already.
func TestTheNextOnAConnectionIsNotBlamed(t *testing.T) {
	now := time.Now()
	at := func(ms int) time.Time { return now.Add(time.Duration(ms) * time.Millisecond) }
	addr := netip.MustParseAddrPort("127.0.0.1:41506")
	first := Exchange{ID: idA, Session: "session-a", Upstream: addr, Begin: at(-90), Head: at(-3), End: at(-3), Status: 500}
	next := Exchange{ID: idB, Session: "session-b", Upstream: addr, Begin: at(-2), Head: at(40), End: at(40), Status: 200}
	for _, c := range []struct {
		name string
		next func(*Exchange)
		want string
	}{
		{"the one that failed", func(*Exchange) {}, "session-a"},
		{"both failed", func(x *Exchange) { x.Status = 500 }, ""},
		{"the next has long begun", func(x *Exchange) { x.Begin = at(-60) }, "session-b"},
	} {
		next := next
		c.next(&next)
		j := New(Config{Exchanges: exchanges{first, next}, Registerer: nil})
		m := j.byPort(addr, clue{at: now, slip: connectionSlip, fits: anyExchange})
		if got := sessionOf(m); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestTheSameRequestTwiceOnAConnection: a line with a stamp in whole seconds is read 20 ms late on a machine that is busy, and the
// connection then serves another user's request for the same page.
func TestTheSameRequestTwiceOnAConnection(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	at := func(ms int) time.Time { return now.Add(time.Duration(ms) * time.Millisecond) }
	const line = "2027/01/15 08:00:00 [error] 7#7: *3 stock is gone, client: 127.33.4.5, request: \"GET /a HTTP/1.1\"\n"
	first := Exchange{ID: idA, Session: "session-a", Method: "GET", Target: "/a", Begin: at(-40), End: at(-20), Status: 500}
	next := Exchange{ID: idB, Session: "session-b", Method: "GET", Target: "/a", Begin: at(-19), Head: at(3), End: at(3), Status: 200}
	other, both := next, next
	other.Target, both.Status = "/b", 500
	for name, c := range map[string]struct {
		next Exchange
		want string
	}{"the first failed": {next, "session-a"}, "another page": {other, "session-a"}, "both failed": {both, ""}} {
		first.Upstream = netip.MustParseAddrPort("127.33.4.5:0")
		c.next.Upstream = first.Upstream
		w := &world{all: []Exchange{first, c.next}, now: at(-50), written: []written{{"error.log", now, line}}}
		found, got := w.run(t, func(c *Config) { c.Infer = InferNothing }), ""
		if len(found) == 1 {
			got = found[0].Exchange.Session
		}
		if got != c.want {
			t.Errorf("%s: %q got it, want %q", name, got, c.want)
		}
	}
}

// TestLinesThatComeBehindTheAnswer: what Apache reads of a CGI script's standard error it logs when the script has ended, and the
// connection may serve the next request by then. So the end that is much nearer to the line tells.
func TestLinesThatComeBehindTheAnswer(t *testing.T) {
	now := time.Now()
	at := func(ms int) time.Time { return now.Add(time.Duration(ms) * time.Millisecond) }
	addr := netip.MustParseAddrPort("127.0.0.1:41506")
	for _, c := range []struct {
		name                  string
		ended, began, endsNow int // of the one before, and of the next, in milliseconds from the line
		want                  string
	}{
		{"the one before has just ended", -6, -5, 20, "session-a"},
		{"the next one ends now", -30, -29, 1, "session-b"},
		{"either may be", -12, -11, 12, ""},
	} {
		first := Exchange{ID: idA, Session: "session-a", Upstream: addr, Begin: at(-90), End: at(c.ended), Status: 200}
		next := Exchange{ID: idB, Session: "session-b", Upstream: addr, Begin: at(c.began), End: at(c.endsNow), Status: 500}
		m := New(Config{Exchanges: exchanges{first, next}}).byPort(addr, clue{at: now, late: true, slip: connectionSlip, fits: anyExchange})
		if got := sessionOf(m); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	var e endings
	r := &record.Record{Time: now.Add(time.Microsecond)}
	for _, ended := range []int{-40, 3, 2, -2} {
		e.add(r, now, &Exchange{End: at(ended)})
	}
	if !e.late() {
		t.Errorf("half of the lines came behind their exchange's end: %+v", e)
	}
}

// TestLinesThatNeverComeSoon: of a CGI script's each begins with a process, so that what comes at once is of the request before,
// however the next one ends.
func TestLinesThatNeverComeSoon(t *testing.T) {
	now := time.Now()
	ago := func(ms int) time.Time { return now.Add(-time.Duration(ms) * time.Millisecond) }
	addr := netip.MustParseAddrPort("127.0.0.1:41506")
	for _, c := range []struct {
		name                    string
		slow                    bool
		ended, began            int // of the one before, and of the next, in milliseconds before the line
		statusBefore, statusNow int
		want                    string
	}{
		{"the next one has just begun, and fails", true, 2, 1, 200, 500, ""},
		{"the one before failed", true, 7, 6, 500, 500, "session-a"},
		{"the next one has long begun", true, 12, 11, 500, 200, "session-b"},
		{"nothing is known of the file", false, 2, 1, 200, 500, "session-b"},
	} {
		first := Exchange{ID: idA, Session: "session-a", Upstream: addr, Begin: ago(90), End: ago(c.ended), Status: c.statusBefore}
		next := Exchange{ID: idB, Session: "session-b", Upstream: addr, Begin: ago(c.began), End: now.Add(time.Second), Status: c.statusNow}
		m := New(Config{Exchanges: exchanges{first, next}}).byPort(addr, clue{at: now, slow: c.slow, slip: connectionSlip, fits: anyExchange})
		if got := sessionOf(m); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	var e endings
	r := &record.Record{Time: now.Add(time.Microsecond)}
	for n := range 20 {
		if e.slow() {
			t.Fatalf("%+v says so of %d records", e, n)
		}
		e.add(r, now, &Exchange{Begin: ago(30), End: now})
	}
	if e.slow() {
		t.Errorf("none came after its exchange: %+v", e)
	}
	if e.add(r, now, &Exchange{Begin: ago(30), End: ago(2)}); !e.slow() {
		t.Errorf("twenty records came after 30 ms, and one behind its exchange: %+v", e)
	}
	if e.surprise(); !e.slow() {
		t.Errorf("one of 22 came soon: %+v", e)
	}
	if e.surprise(); e.slow() {
		t.Errorf("two of 23 came soon: %+v", e)
	}
}

// TestALineIsReadLate: its connection has served others since, and the request that it names is the one before the last.
func TestALineIsReadLate(t *testing.T) {
	now := time.Now()
	addr := netip.MustParseAddrPort("127.0.0.1:41506")
	var all exchanges
	for i, target := range []string{"/a", "/b", "/c"} {
		begin := now.Add(time.Duration(i-3) * 100 * time.Millisecond)
		all = append(all, Exchange{ID: target, Method: "GET", Target: target, Upstream: addr, Begin: begin, Head: begin.Add(90 * time.Millisecond), End: begin.Add(95 * time.Millisecond), Status: 200})
	}
	j := New(Config{Exchanges: all})
	for named, want := range map[string]string{"/a": "/a", "/b": "/b", "/c": "/c", "/rewritten": "/c"} {
		m := j.byPort(addr, clue{at: now, slip: connectionSlip, fits: func(x *Exchange) bool { return isOf(x, "GET", named, "") }})
		if m.exchange == nil || m.exchange.ID != want {
			t.Errorf("%s: %+v, want %s", named, m, want)
		}
	}
}

// TestAnAnswerMayGiveTheIDAway: the app logs its own ID first, and answers with it in a header then.
func TestAnAnswerMayGiveTheIDAway(t *testing.T) {
	begin := time.Unix(1795472914, 0)
	x := Exchange{ID: idA, Session: "session-a", Method: "GET", Target: "/x", Begin: begin, Head: begin.Add(900 * time.Millisecond), End: begin.Add(910 * time.Millisecond), Status: 200}
	own := "4bf92f3577b34da6a3ce929d0e0e4736"
	w := &world{all: []Exchange{x}, answered: map[string][]string{idA: {own}}, written: []written{{"app.log", begin.Add(100 * time.Millisecond),
		"2026-11-23 22:28:34,100 ERROR [" + own + "] Payment - refused\n"}}}
	if found := w.run(t, nil); len(found) != 1 || found[0].Exchange.Session != "session-a" || found[0].Inferred {
		t.Errorf("found %+v, want one exact match with session-a", found)
	}
}

// TestWhatStoodThereIsNobodys: when lines were written that are read together, long after one another, is not known from when
// they were read. Whoever happened to be there then does not get them.
func TestWhatStoodThereIsNobodys(t *testing.T) {
	begin := time.Unix(1795472914, 0)
	var all []Exchange
	for i := range 40 { // every error of the file's is read while one of these fails
		at := begin.Add(time.Duration(i) * 50 * time.Millisecond)
		all = append(all, Exchange{ID: fmt.Sprint(i), Session: "session-a", Method: "GET", Target: "/x", Begin: at, Head: at.Add(45 * time.Millisecond), End: at.Add(48 * time.Millisecond), Status: 500})
	}
	lines := ""
	for i := range 8 {
		lines += begin.UTC().Add(time.Duration(i-20)*2*time.Second).Format("2006-01-02 15:04:05,000") + " ERROR [job] sync failed\n"
	}
	for name, w := range map[string]*world{
		"at the start": {all: all, written: []written{{"app.log", begin.Add(1030 * time.Millisecond), lines}}},
		"later": {all: all, written: []written{
			{"app.log", begin.Add(-20 * time.Second), "2026-11-23 22:28:14,000 INFO [main] up\n"},
			{"app.log", begin.Add(1030 * time.Millisecond), lines},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			if found := w.run(t, func(c *Config) { c.Infer = InferKind }); len(found) != 0 {
				t.Errorf("found %d, of %s", len(found), found[0].Exchange.ID)
			}
		})
	}
}

// TestAFailureWaitsForTheRecordThatMayBeItsOwn: an app answers first, and logs then. Until it is decided whose the record is,
// nobody can say that the failure was not logged.
func TestAFailureWaitsForTheRecordThatMayBeItsOwn(t *testing.T) {
	begin := time.Unix(1795472914, 0)
	at := func(ms int) time.Time { return begin.Add(time.Duration(ms) * time.Millisecond) }
	x := Exchange{ID: idA, Session: "session-a", Method: "GET", Target: "/x", Begin: begin, Head: at(40), End: at(50), Status: 500}
	w := &world{all: []Exchange{x}, written: []written{{"app.log", at(-3000), "INFO open\n"}, {"app.log", at(100), "ERROR stock is gone\n"}}}
	found := w.run(t, func(c *Config) { c.SilentFailures, c.Unmatched = true, true })
	if len(found) != 2 || found[0].File == "exchange" || found[1].File != "exchange" {
		t.Errorf("found %+v, want the record first, and then the failure", found)
	}
}

// TestAFailureThatEndsAsTheJoinerBegins: it has ended before, and is kept after. The one of this life's time is not given twice.
func TestAFailureThatEndsAsTheJoinerBegins(t *testing.T) {
	begin := time.Unix(1795472914, 0)
	failure := func(id string, end time.Time) Exchange {
		return Exchange{ID: id, Session: "session", Method: "GET", Target: "/x", Begin: begin, Head: end, End: end, Status: 500}
	}
	early, later := failure(idA, begin.Add(-time.Millisecond)), failure(idB, begin.Add(time.Millisecond))
	w := &world{all: []Exchange{early, later}, written: []written{{"app.log", begin, "INFO open\n"}}}
	found := w.run(t, func(c *Config) {
		c.SilentFailures = true
		c.Owed = func() (owed []*Exchange) {
			for _, x := range []*Exchange{&early, &later} {
				if w.now.After(x.End.Add(10 * time.Millisecond)) {
					owed = append(owed, x)
				}
			}
			return owed
		}
	})
	if len(found) != 2 || found[0].Exchange.ID != idA || found[1].Exchange.ID != idB {
		t.Errorf("found %+v, want each once", found)
	}
}

func TestTheTraceIsFoundAmongTheIDs(t *testing.T) {
	const trace, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	for _, c := range []struct {
		ids         []string
		trace, span string
	}{
		{[]string{"order-17", trace, span}, trace, span},
		{[]string{"0af7651916cd43dd8448eb211c80319c", "order-17"}, "", ""}, // an ID of that length, and no trace
		{[]string{trace, "00F067AA0BA902B7"}, "", ""},
		{nil, "", ""},
	} {
		if trace, span := (&Exchange{IDs: c.ids}).Trace(); trace != c.trace || span != c.span {
			t.Errorf("%q: %q, %q; want %q, %q", c.ids, trace, span, c.trace, c.span)
		}
	}
}
