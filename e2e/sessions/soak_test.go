//go:build e2e

package sessions

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"log"
	mrand "math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/openreplay/log-sidecar/e2e/stage"
)

// TestTwoHundredUsers has people with two or three tabs each go through a shop of which a third fails. Each browser sends what
// a real one sends: the header with its scripts' calls, cookies alone with all else. SOAK is how long they stay.
func TestTwoHundredUsers(t *testing.T) {
	stay := 30 * time.Second
	if text := os.Getenv("SOAK"); text != "" {
		var err error
		if stay, err = time.ParseDuration(text); err != nil {
			t.Fatalf("SOAK: %v", err)
		}
	}
	dir := t.TempDir()
	shop, logs := newShop(t, dir)
	s := stage.New(t, shop)
	s.Logs = logs
	s.Run()

	users := make([]*user, 200)
	var group sync.WaitGroup
	end := time.Now().Add(stay)
	for n := range users {
		users[n] = newUser(t, "http://"+s.Front, n)
		for tab := range 2 + n%2 {
			group.Go(func() { users[n].browse(tab, end) })
		}
	}
	group.Wait()

	var all []visit
	for _, u := range users {
		all = append(all, u.visits...)
	}
	judgeSoak(t, s, all)
}

func judgeSoak(t *testing.T, s *stage.Stage, all []visit) {
	t.Helper()
	byWord := map[string]*visit{}
	due := 0
	for i := range all {
		byWord[all[i].word] = &all[i]
		if all[i].due() {
			due++
		}
	}
	seen, wrong, ways := map[string]bool{}, 0, map[string]int{}
	found := func() (n int) {
		clear(seen)
		clear(ways)
		wrong = 0
		for _, e := range s.Entries("") {
			v := byWord[wordIn(e.JSONPayload.Message)]
			if v == nil {
				v = byWord[wordIn(e.JSONPayload.Context.HTTPRequest.URL)]
			}
			switch {
			case v == nil:
				t.Fatalf("belongs to no visit: %.300s", e.JSONPayload.Message)
			case e.Token() != v.token:
				wrong++
				t.Errorf("%s of %s (%s) arrived under %s by %s", v.word, v.token, v.kind, e.Token(), e.Labels["sessionBy"])
			case v.due() && !seen[v.word]:
				n++
			}
			seen[v.word] = true
			ways[e.Labels["sessionBy"]]++
		}
		return n
	}
	n := 0
	stage.Await(t, "99 of 100 errors to arrive", func() bool { n = found(); return wrong > 0 || float64(n) >= 0.99*float64(due) })
	t.Logf("%d errors, of which %d had a session that was seen: %d arrived (%.2f %%), %d under a wrong one, by %v", len(all), due, n, 100*float64(n)/float64(due), wrong, ways)
}

// A visit is a request that fails.
type visit struct {
	word, kind, token string
	at                time.Time
	ends              time.Time // the session's end
	two               bool      // another session of the browser was alive on the same cookie
	seen              time.Time // when the header first came in this session
}

// due says whether the sidecar can know the session: the header came before, or within 10 s, the session was not over, and
// no second one shared its cookie.
func (v *visit) due() bool {
	return v.kind == "call" || !v.two && !v.seen.IsZero() && v.seen.Before(v.at.Add(9*time.Second)) && v.at.Before(v.ends.Add(-time.Second))
}

// A user is one browser: its tabs share a cookie and, as OpenReplay's tracker does, one session.
type user struct {
	t     *testing.T
	front string

	open sync.RWMutex // held while a tab is busy

	mu     sync.Mutex
	cookie string
	token  string
	ends   time.Time
	seen   *time.Time
	two    bool
	number int
	client *http.Client
	visits []visit
}

func newUser(t *testing.T, front string, n int) *user {
	u := &user{t: t, front: front, number: n, client: &http.Client{
		Transport:     &http.Transport{MaxIdleConnsPerHost: 6},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	t.Cleanup(u.client.CloseIdleConnections)
	u.begin(2 * time.Hour)
	return u
}

var sessionCount atomic.Uint64

// begin is what a start of the tracker does.
func (u *user) begin(life time.Duration) {
	now := time.Now()
	u.ends, u.seen = now.Add(life), new(time.Time)
	id := uint64(now.UnixMilli()-1_550_000_000_000)<<24 | sessionCount.Add(1)
	u.token = fmt.Sprintf("%s.0.%s.signature%d", strconv.FormatUint(id, 36), strconv.FormatInt(u.ends.UnixMilli(), 36), u.number)
}

// browse is one tab's way until the end.
func (u *user) browse(tab int, end time.Time) {
	rest := func(most int) bool {
		time.Sleep(time.Duration(200+mrand.IntN(most)) * time.Millisecond)
		return time.Now().Before(end)
	}
	if tab > 0 && !rest(2000) {
		return
	}
	u.asks("GET", "/", "Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate")
	for rest(1500) {
		switch mrand.IntN(12) {
		case 0, 1:
			u.fails("call", "GET", "Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: cors")
		case 2, 3:
			u.fails("form", "POST", "Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: navigate")
		case 4:
			u.fails("image", "GET", "Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: no-cors")
		case 5:
			u.asks("POST", "/login", "Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: navigate")
		case 6:
			u.asks("POST", "/logout", "Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: navigate")
		case 7:
			u.reopens()
		default:
			u.asks("GET", "/", "Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: navigate")
			if !rest(300) { // until the tracker runs
				return
			}
			u.calls()
		}
	}
}

// reopens closes all tabs of one browser in twenty and opens a new one: the cookie is the old one, the session is not.
func (u *user) reopens() {
	if u.number%20 != 7 {
		return
	}
	u.open.Lock() // nothing is under way in tabs that are closed
	defer u.open.Unlock()
	u.mu.Lock()
	u.two = true // for all that the sidecar knows, the first session lives on in another tab
	u.begin(2 * time.Hour)
	token := u.token
	u.mu.Unlock()
	u.asksAs(token, "GET", "/", "Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate")
}

func (u *user) calls() {
	u.asks("GET", "/status", "Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: cors", "call")
}

func (u *user) fails(kind, method string, headers ...string) {
	if kind == "call" {
		headers = append(headers, "call")
	}
	u.open.RLock()
	defer u.open.RUnlock()
	u.mu.Lock()
	v := visit{word: newWord(), kind: kind, token: u.token, at: time.Now(), ends: u.ends, two: u.two}
	seen := u.seen
	u.mu.Unlock()
	u.asksAs(v.token, method, "/fail?ref="+v.word, headers...)
	u.mu.Lock()
	defer u.mu.Unlock()
	v.two = v.two || u.two // another one began while this was under way
	v.seen = *seen
	u.visits = append(u.visits, v)
}

func (u *user) asks(method, path string, headers ...string) {
	u.open.RLock()
	defer u.open.RUnlock()
	u.mu.Lock()
	token := u.token
	u.mu.Unlock()
	u.asksAs(token, method, path, headers...)
}

// asksAs sends a request as a browser does: all with the cookie, calls with the token.
func (u *user) asksAs(token, method, path string, headers ...string) {
	r, err := http.NewRequest(method, u.front+path, nil)
	if err != nil {
		u.t.Error(err)
		return
	}
	call := false
	for _, line := range headers {
		if name, value, ok := strings.Cut(line, ": "); ok {
			r.Header.Set(name, value)
		} else {
			call = true
			r.Header.Set("X-OpenReplay-SessionToken", token)
		}
	}
	u.mu.Lock()
	if u.cookie != "" {
		r.Header.Set("Cookie", "lang=de; "+u.cookie)
	}
	if call && token == u.token && u.cookie != "" && u.seen.IsZero() {
		*u.seen = time.Now()
	}
	u.mu.Unlock()
	answer, err := u.client.Do(r)
	if err != nil {
		u.t.Errorf("%s %s: %v", method, path, err)
		return
	}
	io.Copy(io.Discard, answer.Body)
	answer.Body.Close()
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, c := range answer.Cookies() {
		u.cookie = c.Name + "=" + c.Value
	}
}

const wordStart = "KQWX"

var soakWords atomic.Int64

func newWord() string { return fmt.Sprintf("%s%06dJVB", wordStart, soakWords.Add(1)) }

func wordIn(text string) string {
	i := strings.Index(text, wordStart)
	if i < 0 || len(text) < i+len(wordStart)+9 {
		return ""
	}
	return text[i : i+len(wordStart)+9]
}

// newShop is an app with a session cookie that log-in and log-out replace.
func newShop(t *testing.T, dir string) (address, logs string) {
	logs = filepath.Join(dir, "logs")
	if err := os.Mkdir(logs, 0o755); err != nil {
		t.Fatal(err)
	}
	file, err := os.Create(filepath.Join(logs, "shop.log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	logger := log.New(file, "", 0)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := r.Cookie("JSESSIONID"); err != nil || r.URL.Path == "/login" || r.URL.Path == "/logout" {
			var value [16]byte
			rand.Read(value[:])
			http.SetCookie(w, &http.Cookie{Name: "JSESSIONID", Value: strings.ToUpper(hex.EncodeToString(value[:])), Path: "/", HttpOnly: true})
		}
		switch r.URL.Path {
		case "/fail":
			logger.Printf("%s ERROR Request %s: %s could not be served", time.Now().Format("2006-01-02 15:04:05.000"), r.Header.Get("X-Request-ID"), r.URL.Query().Get("ref"))
			w.WriteHeader(http.StatusInternalServerError)
		case "/login", "/logout":
			w.Header().Set("Location", "/")
			w.WriteHeader(http.StatusFound)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL, logs
}
