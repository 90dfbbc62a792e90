package proxy

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func TestReadiness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town := newTown(t, time.Minute, nil)
		p, _ := town.proxy(Config{})
		town.app.Close() // that the app is down does not matter
		if err := p.Ready(); err != nil {
			t.Error(err)
		}
		p.Shutdown(t.Context())
		if err := p.Ready(); err == nil || !strings.Contains(err.Error(), "leaving") {
			t.Errorf("after the end: %v", err)
		}
		unused, err := New(Config{App: "http://a"}, newSeen(), prometheus.NewRegistry())
		if err != nil || unused.Ready() == nil || unused.Shutdown(t.Context()) != nil {
			t.Errorf("before Serve: %v, %v", unused.Ready(), err)
		}
	})
}

// ask sends text on a new connection.
func ask(t *testing.T, addr, text string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	io.WriteString(conn, strings.ReplaceAll(text, "\n", "\r\n"))
	return conn, bufio.NewReader(conn)
}

func TestWhatOutstaysTheDrainIsCutOffAndReported(t *testing.T) {
	came := make(chan struct{})
	url := serveApp(t, func(w http.ResponseWriter, r *http.Request) {
		close(came)
		<-r.Context().Done() // the app learns of it
	})
	o := newSeen()
	p, addr := start(t, Config{App: url}, o)
	_, r := ask(t, addr, "GET / HTTP/1.1\nHost: a\n\n")
	<-came
	now, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Shutdown(now); err == nil {
		t.Error("nothing is said of it")
	}
	if n := len(o.all()); n != 1 { // no call comes after Shutdown
		t.Errorf("%d exchanges had ended when it returned", n)
	}
	if _, err := http.ReadResponse(r, nil); err == nil {
		t.Error("the client was told an answer")
	}
}

// A WebSocket's client is told between two frames, hears nothing behind it, and its own close frame ends the app's side.
func TestWebSocketsAreToldToGoAway(t *testing.T) {
	leaving := make(chan struct{})
	url := serveApp(t, func(w http.ResponseWriter, r *http.Request) {
		conn, rw, _ := w.(http.Hijacker).Hijack()
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x02hi\x81\x05hal")
		<-leaving
		io.WriteString(conn, "lo")
		hear(t, rw, "\x88\x82mask\x6e\x88")
		io.WriteString(conn, "\x88\x02\x03\xe9")
	})
	p, addr := start(t, Config{App: url}, newSeen())
	conn, r := ask(t, addr, "GET /ws HTTP/1.1\nHost: a\nConnection: Upgrade\nUpgrade: websocket\n\n")
	if resp, err := http.ReadResponse(r, nil); err != nil || resp.StatusCode != 101 {
		t.Fatal(resp, err)
	}
	hear(t, r, "\x81\x02hi\x81\x05hal") // the app is in the middle of a frame
	left := make(chan error, 1)
	go func() { left <- p.Shutdown(context.Background()) }()
	for p.Ready() == nil {
		runtime.Gosched()
	}
	close(leaving)
	hear(t, r, "lo\x88\x02\x03\xe9")
	io.WriteString(conn, "\x88\x82mask\x6e\x88")
	if rest, err := io.ReadAll(r); len(rest) > 0 || err != nil {
		t.Errorf("after the end came %q, %v", rest, err)
	}
	if err := <-left; err != nil {
		t.Error(err)
	}
}

func hear(t *testing.T, r io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(r, got); string(got) != want {
		t.Errorf("heard %q (%v), not %q", got[:n], err, want)
	}
}
