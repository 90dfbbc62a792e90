package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// at is a connection whose client is somewhere else.
type at struct {
	net.Conn
	addr net.Addr
}

func (c at) RemoteAddr() net.Addr { return c.addr }

// visit sends one request from the address, on a connection of its own, and gives the status and the body.
func visit(t *testing.T, front *pipes, from, text string) string {
	t.Helper()
	ours, theirs := net.Pipe()
	defer ours.Close()
	front.conns <- at{theirs, net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 5000))}
	go io.WriteString(ours, strings.ReplaceAll(text, "\n", "\r\n"))
	resp, err := http.ReadResponse(bufio.NewReader(ours), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	return fmt.Sprint(resp.StatusCode, " ", string(body))
}

const plainGet = "GET / HTTP/1.1\nHost: shop\n\n"

// sides records from where the app was called, and refuses as it is told.
type sides struct {
	mu     sync.Mutex
	calls  []string
	refuse error
	app    *pipes
}

func (s *sides) own(ctx context.Context, network, addr string) (net.Conn, error) {
	return s.call(ctx, "own")
}

func (s *sides) client(ctx context.Context, client netip.Addr, network, addr string) (net.Conn, error) {
	if s.refuse != nil {
		s.note("refused " + client.String())
		return nil, s.refuse
	}
	return s.call(ctx, client.String())
}

func (s *sides) call(ctx context.Context, from string) (net.Conn, error) {
	s.note(from)
	return s.app.dial(ctx, "", "")
}

func (s *sides) note(call string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, call)
}

// taken are the calls since it was asked last.
func (s *sides) taken() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := s.calls
	s.calls = nil
	return calls
}

func (s *town) keeping(log *zap.Logger) (*Proxy, *pipes, *sides) {
	if runtime.GOOS != "linux" {
		s.t.Skip("the client's address is kept on Linux alone")
	}
	p, front := s.proxy(Config{App: "http://127.0.0.1:8081", KeepClientAddress: true, Log: log})
	calls := &sides{app: s.app}
	p.app.connect, p.app.clients.connect = calls.own, calls.client
	return p, front, calls
}

func TestEachClientHasItsOwnWayToTheApp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, front, calls := newTown(t, time.Minute, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Host) }).keeping(nil)
		for _, c := range []struct{ from, want string }{
			{"10.0.0.1", "10.0.0.1"},
			{"10.0.0.2", "10.0.0.2"},
			{"10.0.0.1", ""}, // by the connection that is there
			{"fd00::7", "fd00::7"},
			{"::ffff:10.0.0.2", ""},
			{"fe80::1%eth0", "fe80::1%eth0"},
			{"127.0.0.1", "own"},
			{"::1", ""},
		} {
			if got := visit(t, front, c.from, plainGet); got != "200 shop" {
				t.Errorf("%s got %s", c.from, got)
			}
			if got := strings.Join(calls.taken(), ", "); got != c.want {
				t.Errorf("for %s the app was called by %q, not %q", c.from, got, c.want)
			}
		}
		if got := visit(t, front, "10.0.0.1", "GET // HTTP/1.0\n\n"); got != "200 127.0.0.1:8081" {
			t.Errorf("without a Host header: %s", got)
		}
	})
}

func TestWhereTheClientsAddressCannotBeKeptRequestsGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, said := observer.New(zap.WarnLevel)
		p, front, calls := newTown(t, time.Minute, func(w http.ResponseWriter, r *http.Request) {}).keeping(zap.New(core))
		calls.refuse = &net.OpError{Op: "dial", Err: syscall.EPERM}
		for _, from := range []string{"10.0.0.1", "10.0.0.2"} {
			if got := visit(t, front, from, plainGet); got != "200 " {
				t.Errorf("%s got %s", from, got)
			}
		}
		time.Sleep(clientSideRest)
		visit(t, front, "10.0.0.3", plainGet)
		time.Sleep(clientSideRest)
		calls.refuse = nil
		visit(t, front, "10.0.0.4", plainGet)
		want := []string{"refused 10.0.0.1", "own", "own", "refused 10.0.0.3", "own", "10.0.0.4"}
		if diff := cmp.Diff(want, calls.taken()); diff != "" {
			t.Error(diff)
		}
		for reason, want := range map[string]float64{"not_permitted": 2, "resting": 1} {
			if got := testutil.ToFloat64(p.metrics.clientLost.WithLabelValues(reason)); got != want {
				t.Errorf("%s is counted %v times, not %v", reason, got, want)
			}
		}
		if said.Len() != 1 || !strings.Contains(said.All()[0].Message, "NET_ADMIN") {
			t.Errorf("said: %v", said.All())
		}
	})
}

// A connection that the routing rules are missing for never comes about. Only the first one waits for
// it, of IPv4 and of IPv6, whose routes may be there without the other's.
func TestMissingRoutesHoldARequestUpBriefly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, front, calls := newTown(t, time.Minute, func(w http.ResponseWriter, r *http.Request) {}).keeping(nil)
		p.app.clients.connect = func(ctx context.Context, _ netip.Addr, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, &net.OpError{Op: "dial", Err: ctx.Err()}
		}
		for _, c := range []struct {
			from string
			wait time.Duration
		}{{"10.0.0.1", clientSideLimit}, {"10.0.0.2", 0}, {"10.0.0.3", 0}, {"fd00::7", clientSideLimit}, {"fd00::8", 0}} {
			begin := time.Now()
			visit(t, front, c.from, plainGet)
			if took := time.Since(begin); took < c.wait || took > c.wait+10*time.Millisecond {
				t.Errorf("the request from %s took %v, not %v", c.from, took, c.wait)
			}
		}
		if got := testutil.ToFloat64(p.metrics.clientLost.WithLabelValues("no_route")); got != 2 || len(calls.taken()) != 5 {
			t.Errorf("no_route is counted %v times", got)
		}
	})
}

// One client whom the app cannot be reached by says nothing of the others; an app that is down says nothing at all.
func TestAFailureOfOneClientIsNotTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, front, calls := newTown(t, time.Minute, func(w http.ResponseWriter, r *http.Request) {}).keeping(nil)
		calls.refuse = &net.AddrError{Err: "mismatched local address type"}
		visit(t, front, "fd00::7", plainGet)
		calls.refuse = nil
		visit(t, front, "10.0.0.1", plainGet)
		if diff := cmp.Diff([]string{"refused fd00::7", "own", "10.0.0.1"}, calls.taken()); diff != "" {
			t.Error(diff)
		}
		calls.refuse = syscall.ECONNREFUSED
		p.app.connect = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("down") }
		if got := visit(t, front, "10.0.0.2", plainGet); got != "502 Bad Gateway\n" {
			t.Errorf("the client got %s", got)
		}
		if got := testutil.ToFloat64(p.metrics.clientLost.WithLabelValues("unfit")); got != 1 {
			t.Errorf("unfit is counted %v times", got)
		}
	})
}

func TestIdleConnectionsOfManyClientsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town := newTown(t, time.Minute, func(w http.ResponseWriter, r *http.Request) {})
		_, front, calls := town.keeping(nil)
		clients := func(n int) {
			for i := range n {
				visit(t, front, fmt.Sprintf("10.0.%d.%d", i/250, i%250), plainGet)
			}
			synctest.Wait()
		}
		clients(clientSideIdle + 50)
		calls.taken()
		clients(50) // were idle for longest
		if n := len(calls.taken()); n != 50 {
			t.Errorf("%d of 50 were given up", n)
		}
	})
}

func TestKeepClientAddressIsRefusedWhereItCannotWork(t *testing.T) {
	for app, refused := range map[string]bool{
		"http://127.0.0.1:8081": false, "http://[::1]:8081": false, "https://localhost": false,
		"unix:/run/app.sock": true, "http://10.0.0.1:8081": true, "http://shop": true,
	} {
		_, err := New(Config{App: app, KeepClientAddress: true}, newSeen(), prometheus.NewRegistry())
		if refused != (err != nil) {
			t.Errorf("%s: %v", app, err)
		}
		if err != nil && !strings.Contains(err.Error(), "leave that option out") {
			t.Errorf("%v: no way out", err)
		}
	}
}
