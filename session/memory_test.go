package session

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// A scene has a memory on a clock of its own, and plays what browsers send.
type scene struct {
	t testing.TB
	*Memory
	now time.Time
}

func newScene(t testing.TB, change func(*Config)) *scene {
	t.Helper()
	s := &scene{t: t, now: time.UnixMilli(1_795_000_000_000)}
	c := Config{Key: []byte("key"), Now: func() time.Time { return s.now }}
	if change != nil {
		change(&c)
	}
	m, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	s.Memory = m
	t.Cleanup(func() { m.Close() })
	return s
}

// token is one of OpenReplay's for a session that ends two hours from now.
func (s *scene) token(n int) string { return s.tokenUntil(n, s.now.Add(2*time.Hour)) }

func (s *scene) tokenUntil(n int, end time.Time) string {
	id := uint64(s.now.UnixMilli()-1_550_000_000_000)<<24 | uint64(n)
	return strings.Join([]string{strconv.FormatUint(id, 36), "0", strconv.FormatInt(end.UnixMilli(), 36), "signature" + strconv.Itoa(n)}, ".")
}

// cookie is one as Tomcat makes them.
func cookie(n int) string {
	return fmt.Sprintf("JSESSIONID=%016X%016X", 0x9e3779b97f4a7c15*uint64(n+1), 0xbf58476d1ce4e5b9*uint64(n+1))
}

func (s *scene) pass(d time.Duration) { s.now = s.now.Add(d) }

// calls is a request with the header.
func (s *scene) calls(cookies, token string) {
	lines := []string{cookies}
	id, _ := ParseID(token)
	s.Teach(s.Key(lines, ""), lines, token, uint64(id))
}

// posts is a request without: a form, a link, an image.
func (s *scene) posts(cookies string) (token, why string) {
	token, _, why = s.Find(s.Key([]string{cookies}, ""), s.now, false)
	return token, why
}

// opens is a page that is opened from the address bar.
func (s *scene) opens(cookies string) (token, why string) {
	token, _, why = s.Find(s.Key([]string{cookies}, ""), s.now, true)
	return token, why
}

// answers is an answer to a request without the header that sets a cookie.
func (s *scene) answers(cookies string, set ...string) {
	lines := []string{cookies}
	s.Replaced(s.Key(lines, ""), "", lines, set, "", 0)
}

func (s *scene) wants(what, cookies, want, why string) {
	s.t.Helper()
	if got, because := s.posts(cookies); got != want || because != why {
		s.t.Errorf("%s: %q (%s), want %q (%s)", what, got, because, want, why)
	}
}

func TestAFormPostHasTheSessionOfItsCookie(t *testing.T) {
	s := newScene(t, nil)
	alice, bob := s.token(1), s.token(2)
	s.wants("before the first call", cookie(1), "", Unknown)
	s.calls(cookie(1)+"; theme=dark", alice)
	s.calls("lang=de; "+cookie(2), bob)
	s.wants("alice's form", "lang=en; "+cookie(1), alice, Found)
	s.wants("bob's form", cookie(2), bob, Found)
	s.wants("without a cookie", "", "", Unknown)
	s.wants("another's cookie", cookie(3), "", Unknown)
}

func TestAnExpiredSessionIsGivenToNobody(t *testing.T) {
	s := newScene(t, nil)
	s.calls(cookie(1), s.tokenUntil(1, s.now.Add(10*time.Minute)))
	s.pass(10*time.Minute - time.Millisecond)
	if got, _ := s.posts(cookie(1)); got == "" {
		t.Error("a session that is not over is not given")
	}
	s.pass(time.Millisecond)
	s.wants("at its token's end", cookie(1), "", Over)
}

func TestASessionThatWasNotSeenForLongIsOver(t *testing.T) {
	s := newScene(t, nil)
	token := s.token(1)
	s.calls(cookie(1), token)
	s.pass(idle - time.Second)
	s.wants("just before", cookie(1), token, Found)
	s.pass(time.Second) // the form itself was no sign of the session: only the header is
	s.wants("after half an hour", cookie(1), "", Over)
}

func TestARenewedTokenTakesTheOldOnesPlace(t *testing.T) {
	s := newScene(t, nil)
	first := s.token(1)
	s.pass(time.Hour)
	renewed := first[:strings.LastIndexByte(first, '.')] + ".another"
	s.calls(cookie(1), first)
	s.calls(cookie(1), renewed) // the same session's number: no second session
	s.wants("after the renewal", cookie(1), renewed, Found)
}

func TestTheNextSessionOfAPageThatTheServerEnded(t *testing.T) {
	s := newScene(t, nil)
	s.calls(cookie(1), s.tokenUntil(1, s.now.Add(time.Minute)))
	s.pass(time.Minute)
	next := s.token(2)
	s.calls(cookie(1), next) // the first is over, so there is nothing to confuse it with
	s.wants("after the renewal", cookie(1), next, Found)
}

func TestTwoLiveSessionsOnOneCookieGiveNone(t *testing.T) {
	s := newScene(t, nil)
	left, right := s.token(1), s.token(2)
	s.calls(cookie(1), left)
	s.pass(time.Minute)
	s.calls(cookie(1), right)
	s.wants("a form in one of the tabs", cookie(1), "", Contested)
	s.calls(cookie(1), left) // the first tab lives
	s.wants("after another call of the first", cookie(1), "", Contested)
	s.pass(idle - time.Second)
	s.calls(cookie(1), right)
	s.wants("as long as the other may live", cookie(1), "", Contested)
	s.pass(idle)
	s.calls(cookie(1), right)
	s.wants("when it was not seen for long", cookie(1), right, Found)
}

func TestASharedMachine(t *testing.T) {
	s := newScene(t, nil)
	s.calls(cookie(1), s.token(1))
	s.pass(time.Minute) // the next person opens a new tab over the old cookie
	next := s.token(2)
	s.calls(cookie(1), next)
	s.wants("the first one's session has been followed", cookie(1), "", Contested)
	s.pass(idle)
	s.calls(cookie(1), next)
	s.wants("long after", cookie(1), next, Found)
}

func TestLogInAndLogOutHandTheSessionOn(t *testing.T) {
	s := newScene(t, nil)
	token := s.token(1)
	s.calls(cookie(1), token)
	s.answers(cookie(1), "lang=de; Path=/", cookie(2)+"; Path=/; HttpOnly") // log-in, by a form: no header
	s.wants("after the log-in", cookie(2), token, Found)
	s.wants("what was still under way with the old one", cookie(1), token, Found)
	s.answers(cookie(2), "JSESSIONID=; Max-Age=0", "PHPSESSID=deleted; Expires=Thu, 01-Jan-1970 00:00:01 GMT") // log-out
	s.answers(cookie(2), cookie(3))
	s.wants("after the log-out", cookie(3), token, Found)
}

func TestWhatIsHandedOnKeepsItsDoubts(t *testing.T) {
	s := newScene(t, nil)
	s.calls(cookie(1), s.token(1))
	s.pass(time.Second)
	s.calls(cookie(1), s.token(2))
	s.answers(cookie(1), cookie(2)) // a log-in in one tab gives both tabs a new cookie
	s.wants("two tabs stay two tabs", cookie(2), "", Contested)

	s.calls(cookie(3), s.token(3))
	s.opens(cookie(3))
	s.answers(cookie(3), cookie(4))
	s.wants("a page entered from outside stays one", cookie(4), "", Doubtful)
}

func TestACookieGivenToACallHasTheCallsSession(t *testing.T) {
	s := newScene(t, nil)
	token := s.token(1)
	s.Replaced(0, "", nil, []string{cookie(1)}, token, 0)
	s.wants("the next request", cookie(1), token, Found)
}

func TestAnAppThatEncryptsItsCookieAnewWithEachAnswer(t *testing.T) {
	s := newScene(t, nil)
	token := s.token(1)
	s.calls(cookie(0), token)
	for n := range 500 {
		s.answers(cookie(n), cookie(n+1))
		s.pass(time.Second)
	}
	s.wants("after 500 pages", cookie(500), token, Found)
}

// A value that all have alike must never be one person's, however its name sounds.
func TestWhatEveryUserHasAlike(t *testing.T) {
	s := newScene(t, nil)
	for _, pair := range []string{"sessionid=anonymous", "SESSION=guest-user-without-login", "sid=20261128", "session=aaaaaaaaaaaaaaaaaaaaaaaa"} {
		if s.Key([]string{pair}, "") != 0 {
			t.Errorf("%s counts as one browser's", pair)
		}
	}
	// An app that gives two browsers the same value, as cookies do that hold a signed, empty session of the same second.
	s.answers("", cookie(1))
	s.calls(cookie(1), s.token(1))
	s.answers("", cookie(1))
	s.wants("the second browser's form", cookie(1), "", Alike)
}

// TestBetweenTwoSessions: the token of a page has run out, and what it asks for until its tracker has begun anew is nobody's.
func TestBetweenTwoSessions(t *testing.T) {
	s := newScene(t, nil)
	ended := s.tokenUntil(1, s.now.Add(10*time.Second))
	s.calls(cookie(1), ended)
	s.pass(11 * time.Second)
	s.wants("an image of the page", cookie(1), "", Over)
	asked := s.now
	s.pass(2 * time.Second)
	fresh := s.token(2)
	s.calls(cookie(1), fresh)
	s.pass(5 * time.Second)
	if token, _, _ := s.Again(s.Key([]string{cookie(1)}, ""), asked); token != "" {
		t.Errorf("the image was given to %q", token)
	}
	s.wants("the next one", cookie(1), fresh, Found)
}

// TestBeforeTheBrowserCameInAnew: no header had come yet when all tabs were closed. What was asked for before is not the next
// session's, and the page that was entered is.
func TestBeforeTheBrowserCameInAnew(t *testing.T) {
	for name, known := range map[string]bool{"a value that the app was seen to give out": true, "one that nobody has seen": false} {
		s := newScene(t, nil)
		lines := []string{cookie(1)}
		if known {
			s.Replaced(0, "", nil, []string{cookie(1) + "; Path=/"}, "", 0)
		}
		key, form := s.Key(lines, ""), s.now
		s.wants(name, cookie(1), "", Unknown)
		s.pass(2 * time.Second)
		entered := s.now
		s.Find(key, entered, true)
		s.pass(time.Second)
		fresh := s.token(2)
		s.calls(cookie(1), fresh)
		s.pass(5 * time.Second)
		if token, _, _ := s.Again(key, form); token != "" {
			t.Errorf("%s: what was asked before was given to %q", name, token)
		}
		if token, _, _ := s.Again(key, entered); token != fresh {
			t.Errorf("%s: the page that was entered was given to %q, want %q", name, token, fresh)
		}
	}
}

// TestWhatIsOverIsWiped: the token is not in the file any more, and who has the same cookie again may begin anew.
func TestWhatIsOverIsWiped(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sessions")
	s := newScene(t, func(c *Config) { c.Path, c.Size = file, 256<<10 })
	ended, going := s.tokenUntil(1, s.now.Add(time.Minute)), s.token(2)
	s.calls(cookie(1), ended)
	s.pass(20 * time.Minute)
	s.calls(cookie(2), going)
	s.Forget()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(content), ended) || !strings.Contains(string(content), going) {
		t.Errorf("in the file: the ended one %v, the other %v", strings.Contains(string(content), ended), strings.Contains(string(content), going))
	}
	s.wants("the browser of the ended session", cookie(1), "", Unknown)
	s.wants("the other", cookie(2), going, Found)
	s.calls(cookie(1), s.token(3))
	s.wants("a new session on the old cookie", cookie(1), s.token(3), Found)
}

// What the well-known makers of session cookies put into them counts every time, whatever the dice say.
func TestEveryValueOfAWellKnownMaker(t *testing.T) {
	const lower, upper, digits = "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789"
	s := newScene(t, nil)
	dice := rand.New(rand.NewPCG(1, 2))
	for _, maker := range []struct {
		name, letters string
		length        int
	}{
		{"PHPSESSID", digits + lower[:22], 26},           // 5 bits a character: Debian's php.ini
		{"PHPSESSID", digits + lower[:6], 32},            // 4 bits: PHP's own default
		{"PHPSESSID", digits + lower + upper + "-,", 32}, // 6 bits
		{"ASP.NET_SessionId", lower + digits[:6], 24},
		{"JSESSIONID", digits + upper[:6], 32}, // Tomcat
		{"sessionid", lower + digits, 32},      // Django
		{"connect.sid", digits + lower + upper + "-_", 32},
	} {
		for range 20_000 {
			value := make([]byte, maker.length)
			for i := range value {
				value[i] = maker.letters[dice.IntN(len(maker.letters))]
			}
			if s.Key([]string{maker.name + "=" + string(value)}, "") == 0 {
				t.Fatalf("%s=%s does not count", maker.name, value)
			}
		}
	}
}

func TestAPageEnteredFromOutsideMayBeOfANewSession(t *testing.T) {
	s := newScene(t, nil)
	first, second := s.token(1), s.token(2)
	s.calls(cookie(1), first)
	s.pass(2 * time.Minute) // all tabs are closed; a new one opens, and the cookie is still there
	if got, why := s.opens(cookie(1)); got != "" || why != Doubtful {
		t.Errorf("the page has %q (%s)", got, why)
	}
	s.pass(time.Second)
	s.wants("its form, before its first call", cookie(1), "", Doubtful)
	s.calls(cookie(1), first) // it was a second tab beside the first, and shares its session
	s.wants("its form after a call", cookie(1), first, Found)

	s.opens(cookie(1))
	s.calls(cookie(1), second)
	s.wants("a new session, while the old one may live", cookie(1), "", Contested)
}

func TestACallBeforeTheTrackerHasStarted(t *testing.T) {
	s := newScene(t, nil)
	key, begin := s.Key([]string{cookie(1)}, ""), s.now
	s.wants("at first", cookie(1), "", Unknown)
	again := func(want string, wait bool) {
		t.Helper()
		if got, _, more := s.Again(key, begin); got != want || more != wait {
			t.Errorf("after %v: %q, %v, want %q, %v", s.now.Sub(begin), got, more, want, wait)
		}
	}
	again("", true)
	s.pass(500 * time.Millisecond)
	token := s.token(1)
	s.calls(cookie(1), token)
	again("", true) // another tab's session may just be starting
	s.pass(settling)
	again(token, false)
}

func TestASessionThatBeganLongAfterIsNotTheRequests(t *testing.T) {
	s := newScene(t, nil)
	key, begin := s.Key([]string{cookie(1)}, ""), s.now
	s.pass(Patience + time.Second)
	s.calls(cookie(1), s.token(1))
	if got, _, wait := s.Again(key, begin); got != "" || wait {
		t.Errorf("%q, %v", got, wait)
	}
}

func TestTwoSessionsWhileARecordWaits(t *testing.T) {
	s := newScene(t, nil)
	key, begin := s.Key([]string{cookie(1)}, ""), s.now
	s.pass(time.Second)
	s.calls(cookie(1), s.token(1))
	s.pass(time.Second)
	s.calls(cookie(1), s.token(2))
	s.pass(settling)
	if got, _, wait := s.Again(key, begin); got != "" || wait {
		t.Errorf("%q, %v", got, wait)
	}
}

// An error page has no tracker. Opened from the address bar in the tab that was there, it is the session's, and nothing
// will confirm it.
func TestAnErrorPageThatWasTypedIn(t *testing.T) {
	for _, c := range []struct {
		name   string
		before time.Duration
		given  bool
	}{{"a moment after the session was seen", 10 * time.Second, true}, {"long after", 10 * time.Minute, false}} {
		s := newScene(t, nil)
		token := s.token(1)
		s.calls(cookie(1), token)
		s.pass(c.before)
		begin := s.now
		s.opens(cookie(1))
		key := s.Key([]string{cookie(1)}, "")
		if got, _, wait := s.Again(key, begin); got != "" || !wait {
			t.Errorf("%s: at once %q, %v", c.name, got, wait)
		}
		s.pass(Patience)
		if got, _, wait := s.Again(key, begin); (got == token) != c.given || wait {
			t.Errorf("%s: %q, %v", c.name, got, wait)
		}
	}
}

func TestARequestIsTakenBackWhenAnotherSessionBeganJustThen(t *testing.T) {
	s := newScene(t, nil)
	first, second := s.token(1), s.token(2)
	s.calls(cookie(1), first)
	s.pass(time.Minute)
	key, begin := s.Key([]string{cookie(1)}, ""), s.now
	id, _ := ParseID(first)
	if !s.Agrees(key, begin, first, uint64(id)) {
		t.Error("taken back without a reason")
	}
	s.pass(time.Second)
	s.calls(cookie(1), second)
	if s.Agrees(key, begin, first, uint64(id)) {
		t.Error("the request still counts as the first session's")
	}
	if !s.Agrees(key, begin.Add(-time.Minute), first, uint64(id)) {
		t.Error("a request of long before is taken back")
	}
}

// TestTheIDThatAnAppLogs: what stands around it in the cookie is for the server.
func TestTheIDThatAnAppLogs(t *testing.T) {
	const uuid = "6f1c9d3e-95a1-4b9e-8f0e-0c2a54d3a111"
	for cookie, id := range map[string]string{
		"JSESSIONID=1F0C8A2B4D6E7F90A1B2C3D4E5F60718":                                      "1F0C8A2B4D6E7F90A1B2C3D4E5F60718",
		"JSESSIONID=1F0C8A2B4D6E7F90A1B2C3D4E5F60718.node1":                                "1F0C8A2B4D6E7F90A1B2C3D4E5F60718", // Tomcat's jvmRoute
		"JSESSIONID=kXh2Q8vT3jR5mN7pLd9sWz1c!-1407319224!771029":                           "kXh2Q8vT3jR5mN7pLd9sWz1c",         // WebLogic
		"PHPSESSID=9m4e2mr0ui3e8a215n4gk7q1vs":                                             "9m4e2mr0ui3e8a215n4gk7q1vs",
		"connect.sid=s%3AV1StGXR8_Z5jdHi6B-myT0pQ2wE4rT6y.c2lnbmF0dXJlLW9mLXRoZS1zZXJ2ZXI": "V1StGXR8_Z5jdHi6B-myT0pQ2wE4rT6y", // Express, signed
		"SESSION=NmYxYzlkM2UtOTVhMS00YjllLThmMGUtMGMyYTU0ZDNhMTEx":                         uuid,                               // Spring Session
		"sessionid=a.b4f3e2d1c0b9a8f7e6":                                                   "a.b4f3e2d1c0b9a8f7e6",
	} {
		s := newScene(t, nil)
		if key, given := s.KeyOf(id); key != s.Key([]string{cookie}, "") || given {
			t.Errorf("%s: the ID is not %s, or the app was seen to give it: %v", cookie, id, given)
		}
		s.answers("", cookie)
		if _, given := s.KeyOf(id); !given {
			t.Errorf("%s: the app gave it", cookie)
		}
		s.answers("", cookie)
		if _, given := s.KeyOf(id); given {
			t.Errorf("%s: the app gave it to two", cookie)
		}
	}
}

func TestAnUnknownNameMustProveItself(t *testing.T) {
	value := func(n int) string { return cookie(n)[len("JSESSIONID="):] }
	for _, c := range []struct {
		name   string
		pair   func(user int) string
		counts bool
	}{
		{"a session of the app's own", func(n int) string { return "shopper=" + value(n) }, true},
		{"a language", func(n int) string { return "lang=" + []string{"de", "en"}[n%2] }, false},
		{"a balancer's route with a random look", func(n int) string { return "route=" + value(n%3) }, false},
		{"one of twenty buckets of an experiment", func(n int) string { return "bucket=" + value(n*7%20) }, false},
		{"a number", func(n int) string { return "visit=" + strconv.Itoa(100000+n) }, false},
	} {
		s := newScene(t, nil)
		for n := range enough {
			if n < enough-1 && s.Key([]string{c.pair(n)}, "") != 0 {
				t.Fatalf("%s: counts after %d sessions", c.name, n)
			}
			s.calls(c.pair(n), s.token(n))
			s.calls(c.pair(n), s.token(n)) // again and again the same says nothing new
		}
		if got := s.Key([]string{c.pair(1000)}, "") != 0; got != c.counts {
			t.Errorf("%s: counts: %v", c.name, got)
			continue
		}
		token := s.token(1000)
		s.calls(c.pair(1000), token)
		if got, _ := s.posts(c.pair(1000)); (got == token) != c.counts {
			t.Errorf("%s: a form has %q", c.name, got)
		}
	}
}

func TestABrowsersNextSessionSaysNothingAgainstAName(t *testing.T) {
	s := newScene(t, nil)
	pair := func(n int) string { return "shopper=" + cookie(n)[len("JSESSIONID="):] }
	s.calls(pair(-2), s.token(5000)) // puts the name under study
	for n := range enough {
		s.answers("", pair(n)) // the app gives it to one browser
		s.calls(pair(n), s.token(n))
		s.calls(pair(n), s.token(2000+n)) // whose tabs were closed meanwhile
	}
	if s.Key([]string{pair(1)}, "") == 0 {
		t.Error("the name does not count")
	}
}

func TestANameOfWhichTheAppGivesAValueTwiceIsLeft(t *testing.T) {
	s := newScene(t, nil)
	pair := func(n int) string { return "shopper=" + cookie(n)[len("JSESSIONID="):] }
	for n := range enough {
		s.calls(pair(n), s.token(n))
	}
	s.answers("", pair(77))
	s.answers("", pair(77))
	if s.Key([]string{pair(1)}, "") != 0 {
		t.Error("the name counts still")
	}
}

func TestAWellKnownNameComesBeforeOneThatWasLearned(t *testing.T) {
	s := newScene(t, nil)
	pair := func(n int) string { return "visitor=" + cookie(n)[len("JSESSIONID="):] }
	for n := range enough {
		s.calls(pair(n), s.token(n))
	}
	if s.Key([]string{pair(1) + "; " + cookie(2)}, "") != s.Key([]string{cookie(2)}, "") {
		t.Error("the other way round")
	}
}

func TestWhatIsLearnedSurvivesAndIsUnreadable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sessions")
	open := func(c *Config) { c.Path, c.Size = path, minSize }
	s := newScene(t, open)
	token := s.token(1)
	s.calls(cookie(1), token)
	s.Close() // a SIGKILL leaves the same: the kernel keeps what is mapped
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if value := cookie(1)[len("JSESSIONID="):]; strings.Contains(string(content), value) || !strings.Contains(string(content), token) {
		t.Error("the file has the cookie's value, or lacks the token")
	}
	again := newScene(t, open)
	if again.Held != 1 {
		t.Errorf("%d held", again.Held)
	}
	again.wants("in the next life", cookie(1), token, Found)
}

func TestAHalfWrittenSlotIsEmpty(t *testing.T) {
	s := newScene(t, nil)
	s.calls(cookie(1), s.token(1))
	b := s.held(s.Key([]string{cookie(1)}, ""))
	for i := range slotSize {
		if i >= 8 && i < 16 {
			continue // with another key it is another value's
		}
		b[i] ^= 0x40
		if got, _ := s.posts(cookie(1)); got != "" && i < textAt+70 {
			t.Fatalf("byte %d is wrong, and the slot gives %q", i, got)
		}
		b[i] ^= 0x40
	}
}

// Many more values than there is room for: those of whom nothing is known go first, and no one's session is another's.
func TestMoreBrowsersThanRoom(t *testing.T) {
	s := newScene(t, func(c *Config) { c.Size = minSize })
	tokens := map[int]string{}
	for n := range 400 {
		tokens[n] = s.token(n)
		s.calls(cookie(n), tokens[n])
	}
	for n := range 20_000 {
		s.answers("", cookie(10_000+n)) // robots, each with a new cookie
	}
	held := 0
	for n := range 400 {
		switch got, _ := s.posts(cookie(n)); got {
		case tokens[n]:
			held++
		case "":
		default:
			t.Fatalf("%d has %q", n, got)
		}
	}
	if held < 360 {
		t.Errorf("%d of 400 browsers are known still", held)
	}
}

func TestManyAtOnce(t *testing.T) {
	s := newScene(t, func(c *Config) { c.Size = minSize })
	tokens := make([]string, 50)
	for n := range tokens {
		tokens[n] = s.token(n)
	}
	var group sync.WaitGroup
	for g := range 8 {
		group.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 1))
			for range 2000 {
				n := r.IntN(len(tokens))
				switch r.IntN(3) {
				case 0:
					s.calls(cookie(n), tokens[n])
				case 1:
					s.answers(cookie(n), cookie(n)+"; Path=/")
				default:
					if got, _ := s.posts(cookie(n)); got != "" && got != tokens[n] {
						t.Errorf("%d has %q", n, got)
					}
				}
			}
		})
	}
	group.Wait()
}

func TestTokensTooLongAreNotLearned(t *testing.T) {
	s := newScene(t, nil)
	s.calls(cookie(1), strings.Repeat("t", maxText+1))
	s.wants("after it", cookie(1), "", Unknown)
}

// A page of another origin has a session of its own, and calls with the same cookie.
func TestAPageOfAnotherOriginHasItsOwnSession(t *testing.T) {
	s := newScene(t, nil)
	lines, shop, portal := []string{cookie(1)}, s.token(1), s.token(2)
	s.calls(cookie(1), shop)
	foreign := s.Key(lines, "https://portal.example")
	s.Teach(foreign, lines, portal, 2)
	s.wants("the shop's form", cookie(1), shop, Found)
	if got, _, _ := s.Find(foreign, s.now, false); got != portal {
		t.Errorf("an image in the portal's page has %q", got)
	}
}

func TestASessionKnownByItsNumberAlone(t *testing.T) {
	s := newScene(t, nil)
	lines := []string{cookie(1)}
	s.Teach(s.Key(lines, ""), lines, "", 42)
	if token, number, why := s.Find(s.Key(lines, ""), s.now, false); token != "" || number != 42 || why != Found {
		t.Errorf("%q, %d, %s", token, number, why)
	}
}

func FuzzCookies(f *testing.F) {
	f.Add("a=b; JSESSIONID=0123456789ABCDEF", "JSESSIONID=0123; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT")
	s := newScene(f, func(c *Config) { c.Size = minSize })
	token := s.token(1)
	f.Fuzz(func(t *testing.T, sent, set string) {
		s.calls(sent, token)
		s.answers(sent, set)
		s.posts(sent)
	})
}

func BenchmarkFind(b *testing.B) {
	s := newScene(b, nil)
	lines := []string{"theme=dark; " + cookie(1) + "; consent=yes"}
	s.Teach(s.Key(lines, ""), lines, s.token(1), 0)
	for _, c := range []struct {
		name  string
		lines []string
	}{{"learned", lines}, {"nothing", []string{"theme=dark; consent=yes"}}, {"no cookie", nil}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.Find(s.Key(c.lines, ""), s.now, false)
			}
		})
	}
}

func BenchmarkTeach(b *testing.B) {
	s := newScene(b, nil)
	lines, token := []string{"theme=dark; " + cookie(1) + "; consent=yes"}, s.token(1)
	b.ReportAllocs()
	for b.Loop() {
		s.Teach(s.Key(lines, ""), lines, token, 7)
	}
}
