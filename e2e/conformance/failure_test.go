package conformance

import (
	"net"
	"strings"
	"testing"
)

var failureCases = []behaviour{
	{"failure: a chunked answer that breaks off never looks complete", func(s *stage) {
		client, h := s.answerAndClose("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n5\nhello\n")
		h.wantStatus(200)
		if got := client.rest(); !strings.Contains(got, "hello") || strings.Contains(got, "\n0\r\n") {
			failf("the client got %q", got)
		}
	}},
	{"failure: an answer shorter than its length never looks complete", func(s *stage) {
		client, h := s.answerAndClose("HTTP/1.1 200 OK\nContent-Length: 10\n\nhello")
		h.want("Content-Length", "10")
		if got := client.rest(); got != "hello" {
			failf("the client got %q", got)
		}
	}},
	{"failure: a long answer that breaks off never looks complete", func(s *stage) {
		half := strings.Repeat("0123456789abcdef", 1<<12)
		client, h := s.answerAndClose("HTTP/1.1 200 OK\nContent-Length: 131072\n\n" + half)
		h.want("Content-Length", "131072")
		if got := client.rest(); got != half {
			failf("the client got %d bytes", len(got))
		}
	}},
	{"failure: an event stream that breaks off never looks complete", func(s *stage) {
		client, _ := s.answerAndClose("HTTP/1.1 200 OK\nContent-Type: text/event-stream\nTransfer-Encoding: chunked\n\n6\ndata: \n")
		if got := client.rest(); strings.Contains(got, "\n0\r\n") {
			failf("the client got %q", got)
		}
	}},
	{"failure: the app is down", func(s *stage) {
		s.listener.Close()
		client := s.client()
		client.say("GET / HTTP/1.1\nHost: a\n\n")
		s.wantGatewayError(client)
	}},
	{"failure: the app closes without an answer", func(s *stage) {
		client, app := s.both()
		app.Close()
		s.wantGatewayError(client)
	}},
	{"failure: the app closes in the middle of the head", func(s *stage) {
		client, app := s.both()
		app.say("HTTP/1.1 200 OK\nX-A: ")
		app.Close()
		s.wantGatewayError(client)
	}},
	{"failure: the app answers garbage", func(s *stage) {
		client, app := s.both()
		app.say("what?\n\n\n")
		app.Close()
		s.wantGatewayError(client)
	}},
	{"failure: the app changes the protocol unasked", func(s *stage) {
		client, app := s.both()
		app.say("HTTP/1.1 101 Switching Protocols\nConnection: Upgrade\nUpgrade: websocket\n\n")
		app.Close()
		if got := client.head().status(); got < 500 {
			failf("the client got %d", got)
		}
	}},
	{"failure: a POST is never sent twice", func(s *stage) { once(s, "POST / HTTP/1.1\nHost: a\nContent-Length: 2\n\nok") }},
	{"failure: a POST with an idempotency key is never sent twice", func(s *stage) {
		once(s, "POST / HTTP/1.1\nHost: a\nIdempotency-Key: 1\nContent-Length: 0\n\n")
	}},
	{"failure: a GET is never sent twice", func(s *stage) { once(s, "GET /last HTTP/1.1\nHost: a\n\n") }},
	{"failure: a GET is never sent on each idle connection", func(s *stage) {
		const n = 5
		var clients [n]*wire
		var apps [n]*wire
		for i := range n { // they are open at the same time, so that n connections to the app are idle afterwards
			clients[i], apps[i] = s.both()
		}
		for i := range n {
			apps[i].say("HTTP/1.1 200 OK\nContent-Length: 0\n\n")
			clients[i].head().wantStatus(200)
		}
		requests := s.serve(func(request) string { return "" }, 0)
		for _, app := range apps {
			go requests.serve(app, 0)
		}
		clients[0].say("GET /last HTTP/1.1\nHost: a\n\n")
		clients[0].closeWrite()
		clients[0].rest()
		requests.wantTargets("/last")
	}},
	{"failure: an idle connection that the app closed is noticed", func(s *stage) {
		client, app := s.both()
		app.say("HTTP/1.1 200 OK\nContent-Length: 0\n\n")
		client.head().wantStatus(200)
		for range 3 {
			app.closeWrite()
			app.end() // the proxy has noticed
			client.say("POST / HTTP/1.1\nHost: a\nContent-Length: 2\n\nok")
			app = s.app()
			app.body(app.head())
			app.say("HTTP/1.1 201 Created\nContent-Length: 0\n\n")
			client.head().wantStatus(201)
		}
	}},
}

// once lets the app read the request on a connection that served before, and close without an answer.
func once(s *stage, last string) {
	requests := s.serve(func(r request) string {
		if r.target() == "/warm" {
			return "HTTP/1.1 200 OK\nContent-Length: 0\n\n"
		}
		return ""
	}, 0)
	client := s.client()
	client.say("GET /warm HTTP/1.1\nHost: a\n\n")
	client.head().wantStatus(200)
	client.say(last)
	client.closeWrite()
	client.rest() // an error of the proxy's own, or nothing but the end
	if n := len(requests.all()); n != 2 {
		failf("the app was sent it %d times", n-1)
	}
}

// wantGatewayError wants 502 or its like without a word on the inside.
func (s *stage) wantGatewayError(client *wire) {
	h := client.head()
	h.wantStatus(502, 503, 504)
	body, _ := client.body(h)
	_, port, _ := net.SplitHostPort(s.listener.Addr().String())
	for _, inner := range []string{port, "127.0.0.1", "EOF", "malformed", "dial", "refused"} {
		if strings.Contains(body, inner) {
			failf("the answer tells %q", inner)
		}
	}
}

// third is somebody else's server, which nobody may reach through the proxy.
type third struct {
	net.Listener
	came chan struct{}
}

func newThird(t testing.TB) third {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	x := third{l, make(chan struct{}, 1)}
	go func() {
		if _, err := l.Accept(); err == nil {
			x.came <- struct{}{}
		}
	}()
	t.Cleanup(func() { l.Close() })
	return x
}

func (x third) addr() string { return x.Addr().String() }

// wantNobody is asked after the client has its answer, so that whoever was to come has come.
func (x third) wantNobody() {
	select {
	case <-x.came:
		failf("somebody else was reached through the proxy")
	default:
	}
}
