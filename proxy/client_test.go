package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestTheAppHearsThatAClientHasGone, whatever the client sent before, and on which request of its connection.
func TestTheAppHearsThatAClientHasGone(t *testing.T) {
	waits, left := make(chan struct{}), make(chan struct{})
	app := serveApp(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if r.URL.Path != "/slow" {
			return
		}
		waits <- struct{}{}
		<-r.Context().Done()
		left <- struct{}{}
	})
	_, front := start(t, Config{App: app}, mute{})
	const get, quick = "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n", "GET /quick HTTP/1.1\r\nHost: a\r\n\r\n"
	for name, requests := range map[string][]string{
		"at once":               {get},
		"after another request": {quick, get},
		"with a body":           {"POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"},
		"with a body in pieces": {quick, "POST /slow HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", front)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			answers := bufio.NewReader(conn)
			for _, request := range requests {
				io.WriteString(conn, request)
				if strings.Contains(request, "/quick") {
					if _, err := http.ReadResponse(answers, nil); err != nil {
						t.Fatal(err)
					}
				}
			}
			<-waits
			conn.Close()
			<-left
		})
	}
}

// TestARequestThatComesBeforeTheAnswer is not lost, though the proxy has looked at it while the first one waited.
func TestARequestThatComesBeforeTheAnswer(t *testing.T) {
	waits, answer := make(chan struct{}), make(chan struct{})
	app := serveApp(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/1" {
			close(waits)
			<-answer
		}
		io.WriteString(w, r.URL.Path)
	})
	_, front := start(t, Config{App: app}, mute{})
	conn, err := net.Dial("tcp", front)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n")
	<-waits
	io.WriteString(conn, "GET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
	time.AfterFunc(2*lookAfter, func() { close(answer) })
	answers := bufio.NewReader(conn)
	for _, want := range []string{"/1", "/2"} {
		resp, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, _ := io.ReadAll(resp.Body); string(body) != want {
			t.Errorf("got %q, want %q", body, want)
		}
	}
}

// counted counts how often the HTTP server reads a single byte.
type counted struct {
	*client
	looks atomic.Int32
}

func (c *counted) Read(b []byte) (int, error) {
	if len(b) == 1 {
		c.looks.Add(1)
	}
	return c.client.Read(b)
}

// TestTheServersLookEnds holds net/http to what the lookout builds on: it reads one byte to see a client go, once for each
// request, and does not read on when it gets nothing.
func TestTheServersLookEnds(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &counted{}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.Listener = listening{l, func(conn net.Conn) net.Conn { c.client = newClient(conn, func() {}); return c }}
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) { c.lookout.hear(s) }
	server.Start()
	defer server.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	answers := bufio.NewReader(conn)
	for n := range int32(3) {
		io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		if _, err := http.ReadResponse(answers, nil); err != nil {
			t.Fatal(err)
		}
		if looks := c.looks.Load(); looks != n+1 {
			t.Errorf("after %d requests the server has looked %d times", n+1, looks)
		}
	}
}

type listening struct {
	net.Listener
	wrap func(net.Conn) net.Conn
}

func (l listening) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.wrap(conn), nil
}

// TestADeadlineThatIsPutOffIsKept: one that stands earlier does not end what may last longer, and the later one counts.
func TestADeadlineThatIsPutOffIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		c := newClient(near, func() {})
		defer c.Close()
		c.SetReadDeadline(time.Now().Add(time.Second))
		c.SetReadDeadline(time.Time{})
		time.AfterFunc(time.Minute, func() { far.Write([]byte("late")) })
		var b [8]byte
		if n, err := c.Read(b[:]); err != nil || string(b[:n]) != "late" {
			t.Fatalf("got %q, %v", b[:n], err)
		}
		c.SetReadDeadline(time.Now().Add(time.Hour))
		c.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := c.Read(b[:]); err == nil || c.ended.Load() {
			t.Errorf("a deadline that has passed: %v, ended %t", err, c.ended.Load())
		}
	})
}
