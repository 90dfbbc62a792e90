//go:build e2e

package noharm

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/openreplay/log-sidecar/e2e/stage"
)

const (
	clients = 8
	pause   = 25 * time.Millisecond // between two requests of one client
	enough  = 400                   // requests make a phase worth comparing
)

// A load is clients that never stop asking, each for itself, and compare every answer with what the app sent.
type load struct {
	t      *testing.T
	front  string
	ready  string
	app    *app
	client *http.Client

	phase atomic.Pointer[phase]
	stop  context.CancelFunc
	group sync.WaitGroup

	mu       sync.Mutex
	problems []string
}

// A phase is a stretch of the load that is looked at by itself.
type phase struct {
	name string
	mu   sync.Mutex
	took []time.Duration
}

// startLoad sets clients on a sidecar, and someone who asks whether it is ready.
func startLoad(t *testing.T, s *stage.Stage, a *app) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{t: t, front: "http://" + s.Front, ready: "http://" + s.Health + "/readyz", app: a, stop: cancel,
		client: &http.Client{Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: clients + 1,
			DialContext: (&net.Dialer{}).DialContext}, Timeout: time.Minute}}
	l.phase.Store(&phase{name: "before"})
	for c := range clients {
		l.group.Go(func() { l.repeat(ctx, func() { l.request(c) }) })
	}
	l.group.Go(func() { l.repeat(ctx, l.askReady) })
	t.Cleanup(func() { l.end() })
	return l
}

func (l *load) repeat(ctx context.Context, do func()) {
	ticker := time.NewTicker(pause)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			do()
		}
	}
}

// end stops the clients and says what they complained of.
func (l *load) end() {
	l.t.Helper()
	l.stop()
	l.group.Wait()
	l.client.CloseIdleConnections()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.problems[:min(5, len(l.problems))] {
		l.t.Error(p)
	}
	if len(l.problems) > 5 {
		l.t.Errorf("... and %d more", len(l.problems)-5)
	}
	l.problems = nil
	l.app.mu.Lock()
	defer l.app.mu.Unlock()
	for n, times := range l.app.served {
		if times != 1 {
			l.t.Errorf("request %d came to the app %d times", n, times)
		}
	}
}

func (l *load) problem(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.problems = append(l.problems, fmt.Sprintf("%s: ", l.phase.Load().name)+fmt.Sprintf(format, args...))
}

// during begins a phase, runs do, and waits until there were enough requests since.
func (l *load) during(name string, do func()) *phase {
	l.t.Helper()
	p := &phase{name: name}
	l.phase.Store(p)
	do()
	from := p.count()
	stage.Await(l.t, fmt.Sprintf("%d requests %s", enough, name), func() bool { return p.count()-from >= enough })
	return p
}

func nothing() {}

func (p *phase) add(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.took = append(p.took, d)
}

func (p *phase) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.took)
}

// quantile gives the duration that the share q of the requests did not pass.
func (p *phase) quantile(q float64) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	sorted := slices.Sorted(slices.Values(p.took))
	return sorted[int(q*float64(len(sorted)-1))]
}

// slower holds a phase against the calm one of the same run. The floors are far above what a loaded machine adds and far
// below what waiting for a disk, a lock or a server costs.
func (calm *phase) slower(t *testing.T, rough *phase) {
	t.Helper()
	for _, bound := range []struct {
		q, times float64
		floor    time.Duration
	}{{.5, 5, 50 * time.Millisecond}, {1, 5, 2 * time.Second}} {
		was, is := calm.quantile(bound.q), rough.quantile(bound.q)
		if is > max(bound.floor, time.Duration(bound.times*float64(was))) {
			t.Errorf("%s, quantile %g of the requests took %v, %s %v", rough.name, bound.q, is, calm.name, was)
		}
	}
	t.Logf("%-9s %4d requests, median %8v, slowest %8v", calm.name, calm.count(), calm.quantile(.5), calm.quantile(1))
	t.Logf("%-9s %4d requests, median %8v, slowest %8v", rough.name, rough.count(), rough.quantile(.5), rough.quantile(1))
}

func (l *load) askReady() {
	answer, err := http.Get(l.ready)
	if err != nil {
		l.problem("readyz: %v", err)
		return
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		l.problem("readyz says %s", answer.Status)
	}
}

// paths are asked in turn.
var paths = []struct {
	method, path string
	body         int  // bytes sent
	streamed     bool // without Content-Length
}{
	{"GET", "/item", 0, false}, {"POST", "/form", 300, false}, {"GET", "/stream", 0, false}, {"GET", "/error", 0, false},
	{"GET", "/missing", 0, false}, {"POST", "/upload", 70_000, true}, {"PUT", "/error", 20, false}, {"DELETE", "/empty", 0, false},
}

// request sends the next request and judges its answer.
func (l *load) request(client int) {
	n := int(l.app.number.Add(1))
	kind := paths[n%len(paths)]
	sent := strings.Repeat("b", kind.body)
	var body io.Reader
	switch {
	case kind.streamed:
		body = struct{ io.Reader }{strings.NewReader(sent)}
	case kind.body > 0:
		body = strings.NewReader(sent)
	}
	connections := 0
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connections++ }})
	r, err := http.NewRequestWithContext(ctx, kind.method, fmt.Sprintf("%s%s?n=%d&q=a%%20b;c", l.front, kind.path, n), body)
	if err != nil {
		panic(err)
	}
	r.Header = http.Header{"User-Agent": {"browser"}, "Accept": {"*/*"}, "Accept-Encoding": {"gzip, br"}, "Cookie": {"s=1; t=2"},
		"X-Openreplay-Sessiontoken": {fmt.Sprintf("session-%d-%d", client, n)}}
	begin := time.Now()
	answer, err := l.client.Do(r)
	if err != nil {
		l.problem("%s %s: %v", kind.method, kind.path, err)
		return
	}
	defer answer.Body.Close()
	got, err := io.ReadAll(answer.Body)
	l.phase.Load().add(time.Since(begin))
	if err != nil {
		l.problem("%s %s: the body: %v", kind.method, kind.path, err)
		return
	}
	if connections != 1 {
		l.problem("%s %s: was sent on %d connections", kind.method, kind.path, connections)
	}
	l.judge(n, r, []byte(sent), answer, string(got))
}

// judge compares an answer with what the app sent, header by header.
func (l *load) judge(n int, r *http.Request, sent []byte, answer *http.Response, got string) {
	want := replyTo(r.URL.Path, n)
	header := want.header.Clone()
	length := r.ContentLength
	if r.Body != nil && length == 0 {
		length = -1 // chunked
	}
	header.Set("X-Seen", fingerprint(r.Method, r.URL.RequestURI(), r.URL.Host, r.Header, length, sent))
	if len(want.parts) == 1 {
		header.Set("Content-Length", fmt.Sprint(len(want.body())))
	}
	if answer.StatusCode != want.status {
		l.problem("%s: status %d, the app sent %d: %s", r.URL.Path, answer.StatusCode, want.status, got)
		return
	}
	if diff := cmp.Diff(header, answer.Header); diff != "" {
		l.problem("%s: headers (-app +client):\n%s", r.URL.Path, diff)
	}
	if got != want.body() {
		l.problem("%s: a body of %d bytes differs from the app's of %d", r.URL.Path, len(got), len(want.body()))
	}
	if sum := answer.Trailer.Get(sumTrailer); sum != want.trailer {
		l.problem("%s: trailer %q, the app sent %q", r.URL.Path, sum, want.trailer)
	}
}
