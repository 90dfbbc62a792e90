package proxy

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/openreplay/log-sidecar/enrich"
	"github.com/openreplay/log-sidecar/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// seen keeps every exchange as its end found it.
type seen struct {
	mu   sync.Mutex
	more sync.Cond
	ends []enrich.Exchange
}

func newSeen() *seen {
	s := &seen{}
	s.more.L = &s.mu
	return s
}

func (s *seen) Begin(x *enrich.Exchange)  { x.Ref = 7 }
func (s *seen) Update(x *enrich.Exchange) {}
func (s *seen) End(x *enrich.Exchange) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ends = append(s.ends, *x)
	s.more.Broadcast()
}

// last is the exchange that ended last; the case's only client has its answer.
func (s *seen) last() enrich.Exchange {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.ends) == 0 {
		s.more.Wait()
	}
	return s.ends[len(s.ends)-1]
}

func (s *seen) all() []enrich.Exchange {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]enrich.Exchange(nil), s.ends...)
}

// start puts a proxy in front of the app at url, and gives the address where it listens.
func start(t testing.TB, c Config, o Observer) (*Proxy, string) {
	t.Helper()
	if c.Log == nil {
		c.Log = zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel))
	}
	if c.Sessions == nil {
		c.Sessions = memory(t)
	}
	p, err := New(c, o, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- p.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		p.Shutdown(ctx)
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return p, l.Addr().String()
}

func serveApp(t testing.TB, h http.HandlerFunc) string {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// memory learns sessions, as it does by default.
func memory(t testing.TB) *session.Memory {
	t.Helper()
	m, err := session.Open(session.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// talk sends text on a connection of its own and reads one answer.
func talk(t testing.TB, addr, text string) (*http.Response, string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, strings.ReplaceAll(text, "\n", "\r\n"))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func TestOneExchange(t *testing.T) {
	var got http.Header
	url := serveApp(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Clone()
		w.Header().Set("X-Correlation-Id", "answer-42")
		w.WriteHeader(http.StatusInternalServerError)
		io.WriteString(w, "sorry, error 4f3a2b1c9d is logged")
	})
	o := newSeen()
	_, addr := start(t, Config{App: url}, o)
	resp, body := talk(t, addr, "GET /a%2Fb?q=1;2 HTTP/1.1\nHost: shop\nX-OpenReplay-SessionToken: abc.d.e.f\nCookie: JSESSIONID=0123456789ABCDEF\n\n")
	if resp.StatusCode != 500 || body != "sorry, error 4f3a2b1c9d is logged" {
		t.Errorf("the client got %d %q", resp.StatusCode, body)
	}
	if got.Get("X-Request-Id") == "" || got.Get("X-OpenReplay-SessionToken") != "abc.d.e.f" {
		t.Errorf("the app got %v", got)
	}
	x := o.last()
	if _, port, _ := net.SplitHostPort(addr); strings.Contains(x.Upstream.String(), port) || !x.Upstream.IsValid() || x.AppSession == 0 ||
		x.Begin.After(x.Head) || x.Head.After(x.End) {
		t.Errorf("reported %+v", x)
	}
	want := enrich.Exchange{ID: got.Get("X-Request-Id"), Session: "abc.d.e.f", SessionID: 13368, SessionBy: "header", Method: "GET", Target: "/a%2Fb?q=1;2",
		Client: "127.0.0.1", IDs: []string{"answer-42", "4f3a2b1c9d"}, Status: 500, Ref: 7}
	x.Upstream, x.AppSession, x.Begin, x.Head, x.End = want.Upstream, 0, want.Begin, want.Head, want.End
	if diff := cmp.Diff(want, x, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
		t.Error(diff)
	}
}

func TestAnswersOfTheProxyItselfAreReported(t *testing.T) {
	o := newSeen()
	_, addr := start(t, Config{App: "http://127.0.0.1:1"}, o)
	resp, body := talk(t, addr, "GET / HTTP/1.1\nHost: a\n\n")
	if resp.StatusCode != 502 || body != "Bad Gateway\n" || o.last().Status != 502 {
		t.Errorf("the client got %d %q, reported %d", resp.StatusCode, body, o.last().Status)
	}
}

// What never reaches the app is no exchange with it.
func TestRefusedRequestsAreNotReported(t *testing.T) {
	o := newSeen()
	_, addr := start(t, Config{App: serveApp(t, func(http.ResponseWriter, *http.Request) { t.Error("it reached the app") })}, o)
	for request, want := range map[string]int{
		"GET /Server-Status?auto HTTP/1.1\nHost: a\n\n":     403,
		"GET /x/..;/manager;a=b/html HTTP/1.1\nHost: a\n\n": 403,
		"CONNECT 10.0.0.1:443 HTTP/1.1\nHost: 10.0.0.1\n\n": 405,
	} {
		if resp, _ := talk(t, addr, request); resp.StatusCode != want {
			t.Errorf("%q: %d, not %d", request, resp.StatusCode, want)
		}
	}
	if n := len(o.all()); n != 0 {
		t.Errorf("%d were reported", n)
	}
}

func TestWhatIsAddedOnlyWhereAsked(t *testing.T) {
	var got http.Header
	url := serveApp(t, func(w http.ResponseWriter, r *http.Request) { got = r.Header.Clone() })
	o := newSeen()
	_, addr := start(t, Config{App: url, ForwardedFor: true, AnswerRequestID: true, TraceParent: true, RequestIDHeader: "X-Correlation-ID"}, o)
	resp, _ := talk(t, addr, "GET / HTTP/1.1\nHost: a\nX-Forwarded-For: 10.1.1.1\nX-Forwarded-For: 10.2.2.2\nX-Correlation-ID: mine\n\n")
	if got.Get("X-Forwarded-For") != "10.1.1.1, 10.2.2.2, 127.0.0.1" || got.Get("X-Request-ID") != "" || resp.Header.Get("X-Correlation-ID") != "mine" {
		t.Errorf("the app got %v, the client %v", got, resp.Header)
	}
	trace := strings.Split(got.Get("Traceparent"), "-")
	if len(trace) != 4 || !slices.Contains(o.last().IDs, trace[1]) {
		t.Errorf("the app got traceparent %q, and %v was reported", trace, o.last().IDs)
	}
}

func TestNothingElseIsAddedWhereNotAsked(t *testing.T) {
	var got http.Header
	url := serveApp(t, func(w http.ResponseWriter, r *http.Request) { got = r.Header.Clone() })
	_, addr := start(t, Config{App: url}, newSeen())
	resp, _ := talk(t, addr, "GET / HTTP/1.1\nHost: a\n\n")
	if len(got) != 1 || got.Get("X-Request-ID") == "" || resp.Header.Get("X-Request-ID") != "" {
		t.Errorf("the app got %v, the client %v", got, resp.Header)
	}
}

// failing is an observer that nothing works in.
type failing struct{}

func (failing) Begin(*enrich.Exchange)  { panic("begin") }
func (failing) Update(*enrich.Exchange) { panic("update") }
func (failing) End(*enrich.Exchange)    { panic("end") }

func TestAnObserverThatPanicsHarmsNoRequest(t *testing.T) {
	url := serveApp(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "fine") })
	_, addr := start(t, Config{App: url, Log: zap.NewNop()}, failing{})
	if resp, body := talk(t, addr, "GET / HTTP/1.1\nHost: a\n\n"); resp.StatusCode != 200 || body != "fine" {
		t.Errorf("the client got %d %q", resp.StatusCode, body)
	}
}

func TestConfigIsRefusedWithTheWayOut(t *testing.T) {
	for app, want := range map[string]string{
		"":                       "neither http nor https nor unix",
		"127.0.0.1:8081":         "not a URL",
		"ftp://a":                "neither http nor https nor unix",
		"http://":                "no host",
		"http://a/shop":          "paths are handed on as they come",
		"unix:app.sock":          "not absolute",
		"http://a:99999999\x7f/": "not a URL",
	} {
		_, err := New(Config{App: app}, newSeen(), prometheus.NewRegistry())
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "write http://") {
			t.Errorf("%q: %v", app, err)
		}
	}
	for _, c := range []Config{{App: "https://a", AppCA: "/nowhere/ca.pem"}, {App: "http://a", TLSCert: "/nowhere/tls.crt", TLSKey: "/nowhere/tls.key"}} {
		if _, err := New(c, newSeen(), prometheus.NewRegistry()); err == nil || !strings.Contains(err.Error(), "/nowhere/") {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// The environment's proxies are for others: the app is the only place to go.
func TestTheEnvironmentsProxyIsNotUsed(t *testing.T) {
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "ALL_PROXY"} {
		t.Setenv(name, "http://127.0.0.1:1")
	}
	url := serveApp(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "direct") })
	_, addr := start(t, Config{App: url}, newSeen())
	if _, body := talk(t, addr, "GET / HTTP/1.1\nHost: shop.example\n\n"); body != "direct" {
		t.Errorf("the client got %q", body)
	}
}
