package proxy

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/openreplay/log-sidecar/tracker"
)

// openreplay is an ingest that answers each start with a token, and takes what comes.
func openreplay(t *testing.T, token string) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Cookie") != "" {
			t.Errorf("%s brings the app's cookies to OpenReplay: %q", r.URL.Path, r.Header.Get("Cookie"))
		}
		if strings.HasSuffix(r.URL.Path, "/start") {
			io.WriteString(w, `{"token":"`+token+`"}`)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// calls is the tracker's call from a page of the app.
func (p *person) calls(path string, headers ...string) *http.Response {
	r := httptest.NewRequest("POST", "http://shop.example"+path, strings.NewReader("{}"))
	for _, line := range append(headers, "Sec-Fetch-Site: same-origin") {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	p.now = &errand{status: 200}
	w := httptest.NewRecorder()
	p.proxy.ServeHTTP(w, r)
	return w.Result()
}

func TestTheTrackersOwnCallsTeach(t *testing.T) {
	const same = "Sec-Fetch-Site: same-origin"
	for _, c := range []struct {
		name, path, given string
		headers           []string
	}{
		{"a start", "/v1/web/start", fresh(1), nil},
		{"a batch", "/v1/web/i?batch=1", fresh(2), []string{"Authorization: Bearer "}},
	} {
		p := newPerson(t, func(config *Config) { config.Ingest = openreplay(t, c.given).URL })
		for i := range c.headers {
			c.headers[i] += c.given
		}
		if before := p.does(errand{}, same, "Cookie: "+jar); before.Session != "" {
			t.Fatalf("%s: known before it was learned", c.name)
		}
		answer := p.calls(tracker.IngestPath+c.path, append(c.headers, "Cookie: "+jar)...)
		if answer.StatusCode != 200 || len(answer.Header["Set-Cookie"]) > 0 {
			t.Errorf("%s: %s, %q", c.name, answer.Status, answer.Header)
		}
		if form := p.does(errand{}, same, "Cookie: "+jar); form.Session != c.given || form.SessionBy != byLearned {
			t.Errorf("%s: the form after it has %q by %q", c.name, form.Session, form.SessionBy)
		}
	}
}

func TestTheTrackersOwnCallsSetOurCookie(t *testing.T) {
	token := fresh(1)
	p := newPerson(t, func(c *Config) { c.Ingest, c.SessionCookie, c.Sessions = openreplay(t, token).URL, true, nil })
	line := ours(p.calls(tracker.IngestPath + "/v1/web/start").Header)
	cookie, _, _ := strings.Cut(line, ";")
	if form := p.does(errand{}, "Sec-Fetch-Site: same-origin", "Cookie: "+cookie); form.Session != token || form.SessionBy != byCookie {
		t.Errorf("%q: the form after it has %q by %q", line, form.Session, form.SessionBy)
	}
}

// While neither is on, the sidecar has no path of its own.
func TestOurPathIsTheAppsWhereNothingIsOn(t *testing.T) {
	p := newPerson(t, nil)
	if p.calls(tracker.IngestPath + "/v1/web/start"); p.now.sent == nil {
		t.Error("the app did not get it")
	}
}

func TestAPageGetsTheTracker(t *testing.T) {
	const body = "<!doctype html><html><head><title>Shop</title></head></html>"
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, body)
	}))
	defer app.Close()
	inPages, err := tracker.New(tracker.Config{ProjectKey: "key", Ingest: tracker.IngestPath})
	if err != nil {
		t.Fatal(err)
	}
	p, err := New(Config{App: app.URL, Tracker: inPages}, &ends{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(p)
	defer front.Close()
	get := func(path, dest string) string {
		t.Helper()
		r, _ := http.NewRequest("GET", front.URL+path, nil)
		r.Header.Set("Sec-Fetch-Dest", dest)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, _ := io.ReadAll(answer.Body)
		return string(text)
	}
	page := get("/", "document")
	before, rest, _ := strings.Cut(page, `<script src="`)
	script, after, _ := strings.Cut(rest, `"></script>`)
	if before+after != body || script == "" {
		t.Fatalf("the page is %q", page)
	}
	if text := get(script, "script"); !strings.Contains(text, `"projectKey":"key"`) {
		t.Errorf("the script is %.200q", text)
	}
	if got := get("/", "iframe"); got != body {
		t.Errorf("a frame is %q", got)
	}
}
