package conformance

import (
	"context"
	"net"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/openreplay/log-sidecar/enrich"
	"github.com/openreplay/log-sidecar/proxy"
	"github.com/openreplay/log-sidecar/session"
	"github.com/openreplay/log-sidecar/tracker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ours is the sidecar's proxy.
var ours = subject{
	name: "sidecar",
	adds: []string{"X-Request-ID"},
	start: func(t testing.TB, app string) string {
		return startProxy(t, proxy.Config{App: "http://" + app})
	},
}

// withAll is the same with all that knows sessions switched on: it may change pages that are navigations, and nothing else.
var withAll = subject{
	name: "sidecar with the tracker",
	adds: []string{"X-Request-ID"},
	start: func(t testing.TB, app string) string {
		memory, err := session.Open(session.Config{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { memory.Close() })
		inPages, err := tracker.New(tracker.Config{ProjectKey: "key", Ingest: tracker.IngestPath})
		if err != nil {
			t.Fatal(err)
		}
		return startProxy(t, proxy.Config{App: "http://" + app, Sessions: memory, SessionCookie: true, Tracker: inPages, Ingest: "https://openreplay.invalid/ingest"})
	},
}

// expected are the behaviours that cannot be had on net/http, each with its cause. docs/TRANSPARENCY.md has the rest of it.
var expected = map[string]string{
	"request: names keep their case":    "net/http keeps headers in a map under canonical names",
	"request: headers keep their order": "net/http keeps headers in a map and writes them sorted",
	"answer: names keep their case":     "net/http keeps headers in a map under canonical names",
	"answer: headers keep their order":  "net/http keeps headers in a map and writes them sorted",
	"answer: the reason phrase goes on": "net/http's server writes its own",
	"target: invalid escapes":           "net/http's server refuses them with 400",
}

func TestNobodyNotices(t *testing.T) { noticed(t, ours) }

func TestNobodyNoticesTheTracker(t *testing.T) { noticed(t, withAll) }

func noticed(t *testing.T, by subject) {
	for _, b := range behaviours() {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			remark := b.try(t, by)
			switch cause, left := expected[b.name]; {
			case left && remark == "":
				t.Errorf("it holds now, although %s: take it off the list", cause)
			case !left && remark != "":
				t.Error(remark)
			}
		})
	}
}

// mute is an observer that does not listen.
type mute struct{}

func (mute) Begin(*enrich.Exchange)  {}
func (mute) Update(*enrich.Exchange) {}
func (mute) End(*enrich.Exchange)    {}

// startProxy lets a proxy listen on a free port.
func startProxy(t testing.TB, c proxy.Config) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveProxy(t, c, l)
	return l.Addr().String()
}

func serveProxy(t testing.TB, c proxy.Config, l net.Listener) *proxy.Proxy {
	t.Helper()
	p, err := proxy.New(c, mute{}, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- p.Serve(l) }()
	t.Cleanup(func() {
		now, cancel := context.WithCancel(context.Background())
		cancel()
		p.Shutdown(now)
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return p
}
