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
	wrong map[uint64]bool // another session began on it
}

func (c *cookies) Again(key uint64, begin time.Time) (string, uint64, bool) {
	from, ok := c.from[key]
	if !ok || c.w.now.Before(from) {
		return "", 0, c.w.now.Sub(begin) < 10*time.Second
	}
	return c.known[key], 0, false
}

func (c *cookies) Agrees(key uint64, _ time.Time, _ string, _ uint64) bool { return !c.wrong[key] }

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
	c := &cookies{w, map[uint64]string{7: "alice"}, map[uint64]time.Time{}, map[uint64]bool{7: wrong}}
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
