package conformance

import (
	"fmt"
	"io"
	"strings"
	"sync"
)

var connectionCases = []behaviour{
	{"connection: requests follow each other", func(s *stage) {
		s.serve(echo, 0)
		client := s.client()
		for i := range 5 {
			client.say(fmt.Sprintf("POST /%d HTTP/1.1\nHost: a\nContent-Length: 2\n\nok", i))
			if body, _ := client.body(client.head()); body != fmt.Sprintf("/%d ok", i) {
				failf("the answer is %q", body)
			}
		}
	}},
	{"connection: pipelined requests are answered in order", func(s *stage) {
		s.serve(echo, 0)
		client := s.client()
		client.say("GET /1 HTTP/1.1\nHost: a\n\nPOST /2 HTTP/1.1\nHost: a\nContent-Length: 2\n\nokGET /3 HTTP/1.1\nHost: a\n\n")
		for _, want := range []string{"/1 ", "/2 ok", "/3 "} {
			if body, _ := client.body(client.head()); body != want {
				failf("the answer is %q, not %q", body, want)
			}
		}
	}},
	{"connection: Connection: close is obeyed", func(s *stage) {
		s.serve(echo, 0)
		client := s.client()
		client.say("GET / HTTP/1.1\nHost: a\nConnection: close\n\n")
		client.body(client.head())
		client.end()
	}},
	{"connection: the app learns that the client went before the answer", func(s *stage) {
		client, app := s.both()
		client.Close()
		app.end()
	}},
	{"connection: the app learns that the client went after an upload", func(s *stage) {
		for _, body := range []string{"Content-Length: 2\n\nok", "Transfer-Encoding: chunked\n\n2\nok\n0\n\n"} {
			client := s.client()
			client.say("POST / HTTP/1.1\nHost: a\n" + body)
			app := s.app()
			app.body(app.head())
			client.Close()
			app.end()
		}
	}},
	{"connection: the app learns that the client went during the answer", func(s *stage) {
		client, app := s.both()
		app.say("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n5\nhello\n")
		client.head()
		client.hearChunked("hello")
		client.Close()
		app.end()
	}},
	{"connection: the app learns that the client went during a long answer", func(s *stage) {
		client, app := s.both()
		app.say("HTTP/1.1 200 OK\nContent-Length: 1048576\n\nhello")
		client.head()
		client.hear("hello")
		client.Close()
		app.end()
	}},
	{"connection: a client that has closed its side gets its answer", func(s *stage) {
		for _, request := range []string{"GET / HTTP/1.1\nHost: a\n\n", "POST / HTTP/1.1\nHost: a\nContent-Length: 2\n\nok",
			"GET / HTTP/1.0\n\n"} {
			client := s.client()
			client.say(request)
			client.closeWrite()
			app := s.app()
			app.body(app.head())
			app.end() // the app learns it too
			app.say("HTTP/1.1 200 OK\nContent-Length: 4\n\nlate")
			client.body(client.head())
		}
	}},
	{"connection: whoever logs in on a connection keeps it", func(s *stage) {
		alice, bob := s.client(), s.client()
		var hers *wire
		for _, leg := range []string{"NTLM TlRMTVNTUAAB", "NTLM TlRMTVNTUAAD", ""} {
			if alice.say("GET /alice HTTP/1.1\nHost: a\n"); leg != "" {
				alice.say("Authorization: " + leg + "\n")
			}
			alice.say("\n")
			if hers == nil {
				hers = s.app()
			}
			hers.head()
			hers.say("HTTP/1.1 200 OK\nContent-Length: 0\n\n")
			alice.head().wantStatus(200)
		}
		bob.say("GET /bob HTTP/1.1\nHost: a\n\n")
		if got := s.app().head().target(); got != "/bob" { // on another connection than hers
			failf("the target is %q", got)
		}
	}},
	{"connection: an answer that says close leaves the client connected", func(s *stage) {
		client, h := s.answerAndClose("HTTP/1.1 200 OK\nConnection: close\nContent-Length: 2\n\nok")
		client.body(h)
		client.say("GET /again HTTP/1.1\nHost: a\n\n")
		if got := s.app().head().target(); got != "/again" {
			failf("the target is %q", got)
		}
	}},
}

// request is what the app got: the head and the body behind it.
type request struct {
	head
	body string
}

func echo(r request) string {
	body := r.target() + " " + r.body
	return fmt.Sprintf("HTTP/1.1 200 OK\nContent-Length: %d\n\n%s", len(body), body)
}

// requests are those that came to a serving app.
type requests struct {
	answer func(request) string

	mu   sync.Mutex
	came []request
}

func (r *requests) add(q request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.came = append(r.came, q)
}

func (r *requests) all() []request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]request(nil), r.came...)
}

func (r *requests) wantTargets(targets ...string) {
	var got []string
	for _, q := range r.all() {
		got = append(got, q.target())
	}
	if strings.Join(got, " ") != strings.Join(targets, " ") {
		failf("the app was asked for %q, not %q", got, targets)
	}
}

const answerAtHead = 1 // answer before the body is read

// serve makes the app answer whatever comes; "" closes the connection instead.
func (s *stage) serve(answer func(request) string, how int) *requests {
	came := &requests{answer: answer}
	go func() {
		for {
			conn, err := s.listener.Accept()
			if err != nil {
				return
			}
			s.t.Cleanup(func() { conn.Close() })
			go came.serve(newWire(conn, "app"), how)
		}
	}()
	return came
}

func (r *requests) serve(w *wire, how int) {
	defer w.Close()
	defer func() {
		if v := recover(); v != nil {
			if _, ok := v.(failure); !ok {
				panic(v)
			}
		}
	}()
	for {
		q := request{head: w.head()}
		r.add(q)
		if how != answerAtHead {
			q.body, _ = w.body(q.head)
		}
		text := r.answer(q)
		if text == "" {
			return
		}
		if w.say(text); how == answerAtHead {
			io.Copy(io.Discard, w.r) // the upload goes on, and is no request
			return
		}
	}
}
