package enrich

import (
	"testing"
	"time"
)

// cookies is what is learned of whose requests are: from moments on, of the world's clock.
type cookies struct {
	w     *world
	known map[uint64]string
	from  map[uint64]time.Time
	wrong map[uint64]bool   // another session began on it
	given map[string]uint64 // the app's session IDs, each given to one browser
}

func (c *cookies) Again(key uint64, begin time.Time) (string, uint64, bool) {
	from, ok := c.from[key]
	if !ok || c.w.now.Before(from) {
		return "", 0, c.w.now.Sub(begin) < 10*time.Second
	}
	return c.known[key], 0, false
}

func (c *cookies) Agrees(key uint64, _ time.Time, _ string, _ uint64) bool { return !c.wrong[key] }

func (c *cookies) KeyOf(id string) (uint64, bool) {
	key, given := c.given[id]
	return key, given
}

// TestTheAppsSessionTellsTheUser: where a record names the app's own session and nothing of the request, the user is certain;
// the request is only if one was under way.
func TestTheAppsSessionTellsTheUser(t *testing.T) {
	start := time.Unix(1_800_000_000, 0)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	const id = "1F0C8A2B4D6E7F90A1B2C3D4E5F60718"
	line := func(ms int) string {
		return at(ms).UTC().Format("2006-01-02 15:04:05,000") + " ERROR [pool-2] session=" + id + " cannot ship\n"
	}
	mine := Exchange{ID: idA, Session: "alice", AppSession: 7, Method: "POST", Target: "/ship", Begin: at(0), Head: at(40), End: at(41), Status: 200}
	other := Exchange{ID: idB, Session: "bob", AppSession: 8, Method: "POST", Target: "/ship", Begin: at(0), Head: at(40), End: at(41), Status: 500}
	elsewhere := mine
	elsewhere.ID, elsewhere.Session = "6f1c9d3e-95a1-4b9e-8f0e-0c2a54d3a333", "carol"
	for _, c := range []struct {
		name             string
		all              []Exchange
		wrote            int
		foreign          bool // the cookie is not one that the app gave
		session, request string
	}{
		{"while the request is under way", []Exchange{mine, other}, 20, false, "alice", idA},
		{"by what goes on behind it", []Exchange{mine, other}, 5000, false, "alice", ""},
		{"long after", []Exchange{mine, other}, 700_000, false, "", ""},
		{"two sessions with one cookie", []Exchange{mine, elsewhere}, 20, false, "", ""},
		{"a cookie that is none of the app's", []Exchange{other}, 20, true, "", ""},
	} {
		w := &world{all: c.all, now: start, written: []written{{"app.log", at(-10), "2027-01-15 07:59:59,990 INFO [main] up\n"}, {"app.log", at(c.wrote), line(c.wrote)}}}
		known := &cookies{w: w, given: map[string]uint64{id: 7}}
		if c.foreign {
			known.given = nil
		}
		found := w.run(t, func(config *Config) { config.Sessions, config.Infer = known, InferNothing })
		if c.session == "" {
			if len(found) != 0 {
				t.Errorf("%s: %s got it", c.name, found[0].Exchange.Session)
			}
			continue
		}
		if len(found) != 1 || found[0].Exchange.Session != c.session || found[0].Exchange.ID != c.request || found[0].By != byAppSession || found[0].Inferred {
			t.Errorf("%s: %+v, want the session %s and the request %q", c.name, found, c.session, c.request)
		}
	}
}

// TestACookieThatIsACopiedWord: a client can send what it saw on an error page as its cookie.
func TestACookieThatIsACopiedWord(t *testing.T) {
	start := time.Unix(1_800_000_000, 0)
	const build = "1F0C8A2B4D6E7F90A1B2C3D4E5F60718"
	line := "2027-01-15 08:00:00,005 ERROR [w] build " + build + " cannot ship\n"
	thief := Exchange{ID: idA, Session: "thief", AppSession: 7, Method: "GET", Target: "/", Begin: start.Add(5 * time.Second), End: start.Add(6 * time.Second), Status: 200}
	w := &world{all: []Exchange{thief}, now: start, written: []written{{"app.log", start, line}, {"app.log", start.Add(5500 * time.Millisecond), line}}}
	found := w.run(t, func(config *Config) { config.Sessions, config.Infer = copied{&cookies{w: w}}, InferNothing })
	if len(found) != 0 {
		t.Errorf("it caught %+v", found[0])
	}
}

// copied knows cookies that the app was not seen to give.
type copied struct{ *cookies }

func (copied) KeyOf(string) (uint64, bool) { return 7, false }

// session is what came of a record of one exchange, whose cookie is learned some time later.
func lateSession(t *testing.T, x Exchange, learnedAfter time.Duration, wrong bool, log bool) (found []Finding) {
	t.Helper()
	start := time.Unix(1_800_000_000, 0)
	x.ID, x.Method, x.Target, x.Status, x.AppSession = idA, "POST", "/ship", 500, 7
	x.Begin, x.Head, x.End = start, start.Add(10*time.Millisecond), start.Add(10*time.Millisecond)
	w := &world{all: []Exchange{x}, now: start}
	at := start.Add(5 * time.Millisecond)
	if log {
		w.written = []written{{"app.log", at, "2027-01-15 08:00:00,005 ERROR [w] [" + idA + "] cannot ship\n"}}
	} else {
		w.written = []written{{"app.log", at, "2027-01-15 08:00:00,005 INFO all is well\n"}}
	}
	c := &cookies{w, map[uint64]string{7: "alice"}, map[uint64]time.Time{}, map[uint64]bool{7: wrong}, nil}
	if learnedAfter > 0 {
		c.from[7] = start.Add(learnedAfter)
	}
	return w.run(t, func(config *Config) { config.Sessions, config.SilentFailures = c, true })
}

func TestASessionThatBecomesKnownWhileItsRecordWaits(t *testing.T) {
	for _, c := range []struct {
		name    string
		x       Exchange
		after   time.Duration
		wrong   bool
		session string
	}{
		{"after four seconds", Exchange{}, 4 * time.Second, false, "alice"},
		{"never", Exchange{}, 0, false, ""},
		{"too late", Exchange{}, 12 * time.Second, false, ""},
		{"known at once, by the header", Exchange{Session: "bob", SessionBy: "header"}, 0, true, "bob"},
		{"learned at once, and nothing speaks against it", Exchange{Session: "alice", SessionBy: "learned"}, 0, false, "alice"},
		{"learned at once, but another session began", Exchange{Session: "alice", SessionBy: "learned"}, 0, true, ""},
	} {
		for _, log := range []bool{true, false} { // an error record, or a failure of which nothing is logged
			found := lateSession(t, c.x, c.after, c.wrong, log)
			if c.session == "" {
				if len(found) != 0 {
					t.Errorf("%s, logged %v: %q got it", c.name, log, found[0].Exchange.Session)
				}
				continue
			}
			if len(found) != 1 || found[0].Exchange.Session != c.session || found[0].Exchange.SessionBy == "" {
				t.Errorf("%s, logged %v: %+v", c.name, log, found)
			}
		}
	}
}

// Two requests one after the other on a connection, of two browsers of which neither's session is known yet: they are not
// one user's because both have none.
func TestTwoBrowsersWithoutASessionAreTwoUsers(t *testing.T) {
	a, b := Exchange{AppSession: 1}, Exchange{AppSession: 2}
	if sameUser(&a, &b) || !differ(&a, &b) {
		t.Error("they count as one")
	}
	if none := (Exchange{}); !sameUser(&none, &none) || differ(&none, &a) {
		t.Error("exchanges of nobody count as several users'")
	}
	renewed := Exchange{Session: "b", SessionID: 5}
	if differ(&Exchange{Session: "a", SessionID: 5}, &renewed) {
		t.Error("a renewed token counts as another session")
	}
}
