package proxy

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/openreplay/log-sidecar/enrich"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// seen keeps every exchange as its end found it.
type seen struct {
	mu   sync.Mutex
	ends []enrich.Exchange
}

func (s *seen) Begin(x *enrich.Exchange)  { x.Ref = 7 }
func (s *seen) Update(x *enrich.Exchange) {}
func (s *seen) End(x *enrich.Exchange) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ends = append(s.ends, *x)
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
	o := &seen{}
	_, addr := start(t, Config{App: url}, o)
	resp, body := talk(t, addr, "GET /a%2Fb?q=1;2 HTTP/1.1\nHost: shop\nX-OpenReplay-SessionToken: abc.d.e.f\nCookie: JSESSIONID=0123456789\n\n")
	if resp.StatusCode != 500 || body != "sorry, error 4f3a2b1c9d is logged" {
		t.Errorf("the client got %d %q", resp.StatusCode, body)
	}
	if got.Get("X-Request-Id") == "" || got.Get("X-OpenReplay-SessionToken") != "abc.d.e.f" {
		t.Errorf("the app got %v", got)
	}
	x := o.all()[0]
	if x.ID != got.Get("X-Request-Id") || x.Session != "abc.d.e.f" || x.SessionBy != "header" || x.Status != 500 ||
		x.Target != "/a%2Fb?q=1;2" || x.Ref != 7 || x.AppSession == 0 || !x.Upstream.IsValid() || x.Client != "127.0.0.1" {
		t.Errorf("reported %+v", x)
	}
	if ids := strings.Join(x.IDs, " "); ids != "answer-42 4f3a2b1c9d" {
		t.Errorf("IDs %q", ids)
	}
}
