package proxy

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// pipes is a network in memory, so that time can be the test's.
type pipes struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case p.conns <- there:
		return here, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// town is an app and the proxies in front of it, all in memory.
type town struct {
	t   *testing.T
	app *pipes
}

// newTown serves the app; idle is how long it keeps connections.
func newTown(t *testing.T, idle time.Duration, h http.HandlerFunc) *town {
	town := &town{t, newPipes()}
	server := &http.Server{Handler: h, IdleTimeout: idle}
	served := make(chan error, 1)
	go func() { served <- server.Serve(town.app) }()
	t.Cleanup(func() { server.Close(); <-served })
	return town
}

func (s *town) proxy(c Config) (*Proxy, *pipes) {
	if c.App == "" {
		c.App = "http://app"
	}
	p, err := New(c, newSeen(), prometheus.NewRegistry())
	if err != nil {
		s.t.Fatal(err)
	}
	p.app.connect = s.app.dial
	front := newPipes()
	served := make(chan error, 1)
	go func() { served <- p.Serve(front) }()
	s.t.Cleanup(func() {
		p.Shutdown(context.Background())
		if err := <-served; err != nil {
			s.t.Errorf("Serve: %v", err)
		}
	})
	synctest.Wait()
	return p, front
}

// post sends one POST on the connection; why is "" where it was answered.
func post(conn net.Conn, r *bufio.Reader) (closes bool, why string) {
	go io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok")
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return true, err.Error()
	}
	io.Copy(io.Discard, resp.Body)
	if resp.StatusCode != 200 {
		return true, resp.Status
	}
	return resp.Close, ""
}

// An app that says how long it keeps connections never has to close one, whatever the pace: a POST that comes by a
// connection just then would be lost.
func TestIdleConnectionsAreGivenUpBeforeTheAppDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town := newTown(t, time.Second, func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Keep-Alive", "timeout=1") })
		p, front := town.proxy(Config{})
		var closedByApp atomic.Int32
		p.app.connect = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := town.app.dial(ctx, network, addr)
			return noted{conn, &closedByApp}, err
		}
		conn, _ := front.dial(t.Context(), "", "")
		defer conn.Close()
		r := bufio.NewReader(conn)
		for pause := 400 * time.Millisecond; pause < 1500*time.Millisecond; pause += 10 * time.Millisecond {
			if _, why := post(conn, r); why != "" {
				t.Fatalf("after %v: %s", pause, why)
			}
			time.Sleep(pause)
		}
		if n := closedByApp.Load(); n > 0 {
			t.Errorf("the app closed %d connections", n)
		}
	})
}

// A request is sent again where not one byte of it was written, with its body, and only there.
func TestWhatWasNotWrittenIsSentAgain(t *testing.T) {
	for written, want := range map[int]string{0: "", 1: "502 Bad Gateway"} {
		synctest.Test(t, func(t *testing.T) {
			var bodies atomic.Int32
			town := newTown(t, time.Minute, func(w http.ResponseWriter, r *http.Request) {
				if body, _ := io.ReadAll(r.Body); string(body) == "ok" {
					bodies.Add(1)
				}
			})
			p, front := town.proxy(Config{})
			broken := &atomic.Bool{}
			p.app.connect = func(ctx context.Context, network, addr string) (net.Conn, error) {
				conn, err := town.app.dial(ctx, network, addr)
				return mean{conn, broken, written}, err
			}
			conn, _ := front.dial(t.Context(), "", "")
			defer conn.Close()
			r := bufio.NewReader(conn)
			post(conn, r)
			broken.Store(true) // the next write on the connection fails
			if _, why := post(conn, r); why != want {
				t.Errorf("after %d bytes: %q", written, why)
			}
			if n := bodies.Load(); n != int32(2-written) {
				t.Errorf("after %d bytes: the app had %d", written, n)
			}
		})
	}
}

// mean is a connection that breaks once, after some bytes.
type mean struct {
	net.Conn
	broken *atomic.Bool
	after  int
}

func (m mean) Write(b []byte) (int, error) {
	if m.broken.CompareAndSwap(true, false) {
		return m.after, io.ErrClosedPipe
	}
	return m.Conn.Write(b)
}

// noted counts how often the other side has closed.
type noted struct {
	net.Conn
	ends *atomic.Int32
}

func (n noted) Read(b []byte) (int, error) {
	size, err := n.Conn.Read(b)
	if err == io.EOF {
		n.ends.Add(1)
	}
	return size, err
}

// The app's servers are replaced one after the other while a client goes on and on, on connections that it keeps.
func TestNoRequestFailsInARollingRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town := newTown(t, time.Minute, func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			time.Sleep(30 * time.Millisecond)
			io.WriteString(w, "done")
		})
		street := &street{}
		var old []*Proxy
		for range 2 {
			p, front := town.proxy(Config{Grace: 5 * time.Second})
			street.open(p, front)
			old = append(old, p)
		}
		ctx, stop := context.WithCancel(t.Context())
		var clients sync.WaitGroup
		var answered, failed sync.Map
		for i := range 8 {
			clients.Go(func() {
				n, why := street.visit(ctx, i)
				answered.Store(i, n)
				if why != "" {
					failed.Store(i, why)
				}
			})
		}
		for _, p := range old {
			time.Sleep(time.Second)
			next, front := town.proxy(Config{})
			street.open(next, front)
			leaving, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			if err := p.Shutdown(leaving); err != nil {
				t.Error(err)
			}
			cancel()
		}
		time.Sleep(time.Second)
		stop()
		clients.Wait()
		failed.Range(func(i, why any) bool { t.Errorf("client %v: %v", i, why); return true })
		answered.Range(func(i, n any) bool {
			if n.(int) < 100 {
				t.Errorf("client %v had %v answers only", i, n)
			}
			return true
		})
	})
}

func TestRequestsUnderWayFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		goOn := make(chan struct{})
		town := newTown(t, time.Minute, func(w http.ResponseWriter, r *http.Request) { <-goOn })
		p, front := town.proxy(Config{})
		conn, _ := front.dial(t.Context(), "", "")
		defer conn.Close()
		left, answered := make(chan error, 1), make(chan string, 1)
		go func() {
			closes, why := post(conn, bufio.NewReader(conn))
			if !closes {
				why += "the client may stay"
			}
			answered <- why
		}()
		synctest.Wait()
		go func() { left <- p.Shutdown(t.Context()) }()
		synctest.Wait()
		if len(left) > 0 || p.Ready() == nil {
			t.Error("it does not wait for the request")
		}
		close(goOn)
		if why := <-answered; why != "" {
			t.Error(why)
		}
		if err := <-left; err != nil {
			t.Error(err)
		}
	})
}

// street is where clients find the proxies that are ready, as a Service does for pods.
type street struct {
	mu     sync.Mutex
	houses []house
}

type house struct {
	p     *Proxy
	front *pipes
}

func (s *street) open(p *Proxy, front *pipes) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.houses = append(s.houses, house{p, front})
}

func (s *street) connect(n int) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ready []*pipes
	for _, h := range s.houses {
		if h.p.Ready() == nil {
			ready = append(ready, h.front)
		}
	}
	return ready[n%len(ready)].dial(context.Background(), "", "")
}

// visit posts without an end, and connects anew where an answer says so.
func (s *street) visit(ctx context.Context, n int) (answers int, why string) {
	for ctx.Err() == nil {
		conn, err := s.connect(n + answers)
		if err != nil {
			return answers, err.Error()
		}
		r := bufio.NewReader(conn)
		for closes := false; !closes && ctx.Err() == nil; answers++ {
			if closes, why = post(conn, r); why != "" {
				conn.Close()
				return answers, why
			}
		}
		conn.Close()
	}
	return answers, ""
}

func TestAClientThatDribblesItsHeadIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town := newTown(t, time.Minute, func(http.ResponseWriter, *http.Request) {})
		_, front := town.proxy(Config{})
		conn, _ := front.dial(t.Context(), "", "")
		defer conn.Close()
		begin := time.Now()
		var dribbling sync.WaitGroup
		defer dribbling.Wait()
		dribbling.Go(func() {
			for _, b := range []byte("GET / HTTP/1.1\r\nX: " + strings.Repeat("slow", 100)) {
				if _, err := conn.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		})
		io.Copy(io.Discard, conn)
		if took := time.Since(begin); took > 31*time.Second {
			t.Errorf("it was listened to for %v", took)
		}
	})
}

// Load balancers keep idle connections for 600 s and take it for an error if they are closed before.
func TestIdleClientsAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town := newTown(t, time.Minute, func(http.ResponseWriter, *http.Request) {})
		_, front := town.proxy(Config{})
		conn, _ := front.dial(t.Context(), "", "")
		defer conn.Close()
		r := bufio.NewReader(conn)
		for range 2 {
			if _, why := post(conn, r); why != "" {
				t.Fatal(why)
			}
			time.Sleep(610 * time.Second)
		}
	})
}

// Bodies have no time limit, in either direction.
func TestSlowBodiesArePatientlyPassed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town := newTown(t, time.Minute, func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			io.WriteString(w, "first")
			w.(http.Flusher).Flush()
			time.Sleep(time.Hour)
			io.WriteString(w, "second")
		})
		_, front := town.proxy(Config{})
		conn, _ := front.dial(t.Context(), "", "")
		defer conn.Close()
		go func() {
			io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\no")
			time.Sleep(time.Hour)
			io.WriteString(conn, "k")
		}()
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(resp.Body); string(body) != "firstsecond" {
			t.Errorf("%q, %v", body, err)
		}
	})
}

func TestAnAnswerTimeoutIsA504(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town := newTown(t, time.Minute, func(_ http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		})
		_, front := town.proxy(Config{AnswerTimeout: time.Minute})
		conn, _ := front.dial(t.Context(), "", "")
		defer conn.Close()
		if _, why := post(conn, bufio.NewReader(conn)); why != "504 Gateway Timeout" {
			t.Errorf("the client got %q", why)
		}
	})
}

func TestClientsBeyondTheLimitWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town := newTown(t, time.Minute, func(http.ResponseWriter, *http.Request) {})
		_, front := town.proxy(Config{MaxConnections: 2})
		var conns []net.Conn
		for i := range 2 {
			conn, err := front.dial(t.Context(), "", "")
			if err != nil {
				t.Fatal(i, err)
			}
			conns = append(conns, conn)
		}
		waits, cancel := context.WithTimeout(t.Context(), 10*time.Second) // less than the head's timeout
		defer cancel()
		if _, err := front.dial(waits, "", ""); err == nil {
			t.Error("a third was let in")
		}
		conns[0].Close()
		conn, err := front.dial(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		defer conns[1].Close()
		if _, why := post(conn, bufio.NewReader(conn)); why != "" {
			t.Error(why)
		}
	})
}
