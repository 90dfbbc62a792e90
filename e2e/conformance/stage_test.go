package conformance

import (
	"net"
	"slices"
	"testing"
	"time"
)

// subject is a reverse proxy to put to the test.
type subject struct {
	name  string
	adds  []string // the header names that it may add to a request
	start func(t testing.TB, app string) (addr string)
}

// behaviour is one thing that nobody must notice.
type behaviour struct {
	name string
	play func(*stage)
}

// stage has the proxy in the middle, the client on one side and the app on the other.
type stage struct {
	t        testing.TB
	subject  subject
	addr     string
	listener net.Listener
}

// try plays the behaviour; remark is "" where it holds.
func (b behaviour) try(t testing.TB, s subject) (remark string) {
	defer func() {
		switch v := recover().(type) {
		case nil:
		case failure:
			remark = clip(string(v))
		default:
			panic(v)
		}
	}()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	b.play(&stage{t, s, s.start(t, listener.Addr().String()), listener})
	return ""
}

// client connects to the proxy.
func (s *stage) client() *wire {
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		failf("connect to the proxy: %v", err)
	}
	s.t.Cleanup(func() { conn.Close() })
	return newWire(conn, "client")
}

// app is the next connection that comes to the app.
func (s *stage) app() *wire {
	s.listener.(*net.TCPListener).SetDeadline(time.Now().Add(patience))
	conn, err := s.listener.Accept()
	if err != nil {
		failf("nothing comes to the app: %v", err)
	}
	s.t.Cleanup(func() { conn.Close() })
	return newWire(conn, "app")
}

// forward sends a request and gives the head that the app gets.
func (s *stage) forward(request string) head {
	client := s.client()
	client.say(request)
	app := s.app()
	h := app.head()
	app.say("HTTP/1.1 200 OK\nConnection: close\nContent-Length: 0\n\n") // else the next one would come by it too
	client.head().wantStatus(200)
	return h
}

// both sends a plain GET, and gives the two ends when the app has its head.
func (s *stage) both() (client, app *wire) {
	client = s.client()
	client.say("GET /x HTTP/1.1\nHost: shop\n\n")
	app = s.app()
	app.head()
	return client, app
}

// answer lets the app answer a plain GET with text, and gives the client with what it got of the head.
func (s *stage) answer(text string) (*wire, head) {
	client, app := s.both()
	app.say(text)
	return client, client.head()
}

// answerAndClose is answer from an app that closes behind it.
func (s *stage) answerAndClose(text string) (*wire, head) {
	client, app := s.both()
	app.say(text)
	app.Close()
	return client, client.head()
}

// behaviours are all cases, by topic.
func behaviours() []behaviour {
	return slices.Concat(requestCases, targetCases(), uploadCases, answerCases, streamCases, failureCases, connectionCases,
		upgradeCases, smugglingCases())
}
