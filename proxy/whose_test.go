package proxy

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/openreplay/log-sidecar/enrich"
)

// fresh is a token of a session that ends in two hours.
func fresh(n int) string {
	id := uint64(time.Now().UnixMilli()-1_550_000_000_000)<<24 | uint64(n)
	return fmt.Sprintf("%s.0.%s.signature%d", strconv.FormatUint(id, 36), strconv.FormatInt(time.Now().Add(2*time.Hour).UnixMilli(), 36), n)
}

// An errand is a request through the handler, and what came of it.
type errand struct {
	answer http.Header // of the app's answer
	status int

	sent http.Header // what the app got
	got  http.Header // what the client got
	enrich.Exchange
}

// ends keeps what an exchange was at its end.
type ends struct{ last enrich.Exchange }

func (e *ends) Begin(*enrich.Exchange)  {}
func (e *ends) Update(*enrich.Exchange) {}
func (e *ends) End(x *enrich.Exchange)  { e.last = *x }

// A person visits an app behind a proxy.
type person struct {
	t     *testing.T
	proxy *Proxy
	ends  *ends
	now   *errand
}

func newPerson(t *testing.T, change func(*Config)) *person {
	t.Helper()
	p := &person{t: t, ends: &ends{}}
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.now.sent = r.Header.Clone()
		for name, values := range p.now.answer {
			w.Header()[name] = values
		}
		w.WriteHeader(p.now.status)
	}))
	t.Cleanup(app.Close)
	c := Config{App: app.URL, Sessions: memory(t)}
	if change != nil {
		change(&c)
	}
	var err error
	if p.proxy, err = New(c, p.ends, nil); err != nil {
		t.Fatal(err)
	}
	return p
}

// does sends a request; each header is "Name: value".
func (p *person) does(v errand, headers ...string) errand {
	p.t.Helper()
	v.status = max(v.status, 200)
	r := httptest.NewRequest("GET", "http://shop.example/x", nil)
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	p.now = &v
	w := httptest.NewRecorder()
	p.proxy.ServeHTTP(w, r)
	v.got, v.Exchange = w.Header(), p.ends.last
	return v
}

const jar = "JSESSIONID=0123456789ABCDEF0123456789ABCDEF"

func TestTheOrderOfTheWays(t *testing.T) {
	p := newPerson(t, func(c *Config) { c.SessionCookie = true })
	alice := fresh(1)
	call := "X-OpenReplay-SessionToken: " + alice
	same := "Sec-Fetch-Site: same-origin"
	ours := "Cookie: " + plainCookie + "=" + alice
	for _, c := range []struct {
		name    string
		headers []string
		by      string
	}{
		{"nothing", []string{same}, ""},
		{"a cookie that nobody knows", []string{same, "Cookie: " + jar}, ""},
		{"the header", []string{same, "Cookie: " + jar, call}, byHeader},
		{"the app's cookie alone", []string{same, "Cookie: " + jar}, byLearned},
		{"our cookie alone", []string{same, ours}, byCookie},
		{"both cookies", []string{same, ours, "Cookie: " + jar}, byCookie},
		{"our cookie of another session than the app's is known for", []string{same, "Cookie: " + plainCookie + "=" + fresh(2), "Cookie: " + jar}, ""},
		{"two cookies of ours that differ", []string{same, ours, "Cookie: " + plainCookie + "=" + fresh(2)}, ""},
		{"two headers that differ, and cookies", []string{same, ours, "Cookie: " + jar, call, "X-OpenReplay-SessionToken: " + fresh(2)}, ""},
		{"an image in another site's page", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Referer: https://portal.example/", "Cookie: " + jar}, ""},
		{"an address that is typed in", []string{"Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate", ours, "Cookie: " + jar}, ""},
		{"the form of that page", []string{same, "Sec-Fetch-Mode: navigate", "Cookie: " + jar}, ""},
		{"our cookie, which is not of today", []string{same, "Cookie: " + plainCookie + "=" + token}, ""},
	} {
		v := p.does(errand{}, c.headers...)
		if v.SessionBy != c.by || (v.Session == alice) != (c.by != "") {
			t.Errorf("%s: %q by %q", c.name, v.Session, v.SessionBy)
		}
		if cookie := v.sent.Get("Cookie"); strings.Contains(cookie, plainCookie) {
			t.Errorf("%s: the app got %q", c.name, cookie)
		}
	}
}

func TestAnOldBrowserTellsByReferer(t *testing.T) {
	const page = "text/html,application/xhtml+xml,*/*;q=0.8"
	for _, c := range []struct {
		name, method string
		headers      []string
		origin       string
		outside      bool
	}{
		{"a link of ours", "GET", []string{"Accept: " + page, "Referer: http://shop.example/cart"}, "", false},
		{"a form of ours", "POST", []string{"Accept: " + page, "Origin: http://shop.example"}, "", false},
		{"an image of ours", "GET", []string{"Accept: image/*", "Referer: http://shop.example/cart"}, "", false},
		{"behind a balancer that renames the host", "GET", []string{"Accept: " + page, "Referer: https://shop.com/", "X-Forwarded-Host: shop.com"}, "", false},
		{"typed in", "GET", []string{"Accept: " + page}, "", true},
		{"a link of another's", "GET", []string{"Accept: " + page, "Referer: https://portal.example/a"}, "", true},
		{"a call of another's page", "GET", []string{"Accept: */*", "Origin: https://portal.example"}, "https://portal.example", false},
		{"a program", "GET", []string{"Accept: */*"}, "", false},
		{"a form of a page that hides where it is", "POST", []string{"Accept: " + page}, "", false},
	} {
		r := httptest.NewRequest(c.method, "http://shop.example/x", nil)
		for _, line := range c.headers {
			name, value, _ := strings.Cut(line, ": ")
			r.Header.Add(name, value)
		}
		if origin, outside := pageOf(r); origin != c.origin || outside != c.outside {
			t.Errorf("%s: %q, %v", c.name, origin, outside)
		}
	}
}

func TestOurCookieIsSetOnlyWhereNobodyElseGetsIt(t *testing.T) {
	p := newPerson(t, func(c *Config) { c.SessionCookie = true })
	call := "X-OpenReplay-SessionToken: " + fresh(1)
	for _, c := range []struct {
		name    string
		status  int
		answer  http.Header
		headers []string
		set     string // what the cookie's line ends with
	}{
		{"private", 200, http.Header{"Cache-Control": {"max-age=0, private"}}, nil, "; Path=/; HttpOnly; SameSite=Lax"},
		{"no-store", 500, http.Header{"Cache-Control": {"no-store"}}, nil, "; Path=/; HttpOnly; SameSite=Lax"},
		{"beside a cookie of the app's", 302, http.Header{"Set-Cookie": {"a=b"}}, nil, "; Path=/; HttpOnly; SameSite=Lax"},
		{"by TLS, as a balancer says", 200, http.Header{"Cache-Control": {"private"}}, []string{"X-Forwarded-Proto: https"}, "; Path=/; Secure; HttpOnly; SameSite=Lax"},
		{"an answer that caches may keep", 200, http.Header{"Cache-Control": {"max-age=60"}}, nil, ""},
		{"an answer that says nothing", 200, nil, nil, ""},
		{"a 304", 304, http.Header{"Cache-Control": {"private"}}, nil, ""},
		{"a call of another site's page", 200, http.Header{"Cache-Control": {"private"}}, []string{"Sec-Fetch-Site: same-site", "Origin: https://www.example"}, ""},
	} {
		v := p.does(errand{status: c.status, answer: c.answer}, append(c.headers, call)...)
		line := ours(v.got)
		if (line == "") != (c.set == "") || !strings.HasSuffix(line, c.set) {
			t.Errorf("%s: %q", c.name, line)
		}
		if want := len(c.answer["Set-Cookie"]); len(v.got["Set-Cookie"]) < want {
			t.Errorf("%s: the app's cookie is gone", c.name)
		}
	}
	off := newPerson(t, nil)
	if v := off.does(errand{answer: http.Header{"Cache-Control": {"private"}}}, call); ours(v.got) != "" {
		t.Error("it is set although nobody allowed it")
	}
}

func ours(h http.Header) string {
	for _, line := range h["Set-Cookie"] {
		if strings.Contains(line, plainCookie) {
			return line
		}
	}
	return ""
}

func TestOurCookieOverTheOwnListenersTLS(t *testing.T) {
	r := httptest.NewRequest("GET", "/", nil)
	r.TLS = &tls.ConnectionState{}
	if !spokeTLS(r) {
		t.Error("TLS was not seen")
	}
	r.TLS = nil
	r.Header.Set("X-Forwarded-Proto", "http, https")
	if spokeTLS(r) {
		t.Error("the first hop was plain")
	}
}

func TestOurCookieFollowsTheTracker(t *testing.T) {
	p := newPerson(t, func(c *Config) { c.SessionCookie = true })
	private := errand{answer: http.Header{"Cache-Control": {"private"}}}
	same := "Sec-Fetch-Site: same-origin"
	value := func(v errand) string {
		line := ours(v.got)
		if line == "" {
			return ""
		}
		line, _, _ = strings.Cut(line, ";")
		return "Cookie: " + line
	}
	call := func(token string, cookie string) errand {
		headers := []string{same, "X-OpenReplay-SessionToken: " + token}
		if cookie != "" {
			headers = append(headers, cookie)
		}
		return p.does(private, headers...)
	}
	first := fresh(1)
	cookie := value(call(first, ""))
	if v := call(first, cookie); ours(v.got) != "" {
		t.Errorf("set again although the browser has it: %q", ours(v.got))
	}
	renewed := first[:strings.LastIndexByte(first, '.')] + ".renewed"
	if cookie = value(call(renewed, cookie)); p.does(private, same, cookie).Session != renewed {
		t.Errorf("after the renewal the browser has %q", cookie)
	}
	second := fresh(2) // another tab, or all tabs were closed
	if cookie = value(call(second, cookie)); p.does(private, same, cookie).Session != "" {
		t.Error("one of two sessions of a browser was given")
	}
	if v := p.does(private, "Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate", cookie); !strings.Contains(ours(v.got), "Max-Age=0") && !strings.Contains(cookie, "~") {
		t.Errorf("a page entered from outside keeps the cookie: %q", ours(v.got))
	}
	v := p.does(private, "Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate", "Cookie: "+plainCookie+"="+first)
	if !strings.Contains(ours(v.got), "Max-Age=0") || v.Session != "" {
		t.Errorf("a page entered from outside keeps the cookie: %q", ours(v.got))
	}
}

func TestTheAppsCookiesComeAsTheyWouldWithoutOurs(t *testing.T) {
	p := newPerson(t, func(c *Config) { c.SessionCookie = true })
	mine := plainCookie + "=" + fresh(1)
	for _, c := range []struct {
		name     string
		in, want []string
	}{
		{"alone", []string{mine}, nil},
		{"first", []string{mine + "; a=1;b=2"}, []string{"a=1;b=2"}},
		{"last", []string{"a=1; b= \"2\"; " + mine}, []string{"a=1; b= \"2\""}},
		{"in the middle", []string{"a=1; " + mine + "; b=2;"}, []string{"a=1; b=2;"}},
		{"both names", []string{"__Host-" + mine + "; a=1; " + mine}, []string{"a=1"}},
		{"a line of its own", []string{"a=1", mine, "b=2"}, []string{"a=1", "b=2"}},
		{"none of ours", []string{"a=1;  b=2; =x;;"}, []string{"a=1;  b=2; =x;;"}},
		{"a name that only ends alike", []string{"my-" + mine}, []string{"my-" + mine}},
	} {
		var headers []string
		for _, line := range c.in {
			headers = append(headers, "Cookie: "+line)
		}
		if v := p.does(errand{}, headers...); !slices.Equal(v.sent["Cookie"], c.want) {
			t.Errorf("%s: the app got %q", c.name, v.sent["Cookie"])
		}
	}
}

func FuzzOurCookie(f *testing.F) {
	f.Add("a=1; "+plainCookie+"="+token+"; b=2", token)
	p := &Proxy{config: Config{SessionCookie: true}}
	f.Fuzz(func(t *testing.T, line, header string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["Cookie"] = []string{line}
		own, _ := p.takeOwnCookie(r)
		own.renewed(header, 1, time.Now())
		for _, left := range r.Header["Cookie"] {
			for pair := range strings.SplitSeq(left, ";") {
				if strings.HasPrefix(strings.TrimSpace(pair), plainCookie+"=") {
					t.Errorf("%q still has ours: %q", line, left)
				}
			}
		}
	})
}
