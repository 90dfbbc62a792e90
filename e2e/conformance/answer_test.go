package conformance

import (
	"fmt"
	"slices"
	"strings"
)

var answerCases = []behaviour{
	{"answer: odd status codes go on", func(s *stage) {
		for _, code := range []int{203, 299, 418, 451, 599, 799} {
			_, h := s.answer(fmt.Sprintf("HTTP/1.1 %d Odd\nConnection: close\nContent-Length: 0\n\n", code))
			h.wantStatus(code)
		}
	}},
	{"answer: the reason phrase goes on", func(s *stage) {
		_, h := s.answer("HTTP/1.1 200 Alles Gut\nContent-Length: 0\n\n")
		if h.start != "HTTP/1.1 200 Alles Gut" {
			failf("it came as %q", h.start)
		}
	}},
	{"answer: absent headers stay absent", func(s *stage) {
		_, h := s.answer("HTTP/1.1 200 OK\nContent-Length: 6\n\n<html>")
		for _, f := range h.fields {
			if !strings.EqualFold(f.name, "Content-Length") {
				failf("%s: %s was added", f.name, f.value)
			}
		}
	}},
	{"answer: Server, Date and Via go on as they came", func(s *stage) {
		_, h := s.answer("HTTP/1.1 200 OK\nServer: legacy/0.9\nDate: Thu, 01 Jan 1970 00:00:00 GMT\nVia: 1.0 x\nContent-Length: 0\n\n")
		h.want("Server", "legacy/0.9")
		h.want("Date", "Thu, 01 Jan 1970 00:00:00 GMT")
		h.want("Via", "1.0 x")
	}},
	{"answer: names keep their case", func(s *stage) {
		_, h := s.answer("HTTP/1.1 200 OK\nETag: \"1\"\nx-lower: 1\nX-UPPER: 2\nContent-Length: 0\n\n")
		for _, name := range []string{"ETag", "x-lower", "X-UPPER"} {
			if !slices.ContainsFunc(h.fields, func(f field) bool { return f.name == name }) {
				failf("%s changed its case", name)
			}
		}
	}},
	{"answer: headers keep their order", func(s *stage) {
		_, h := s.answer("HTTP/1.1 200 OK\nX-B: 1\nX-A: 2\nX-C: 3\nContent-Length: 0\n\n")
		h.wantOrder("X-B", "X-A", "X-C")
	}},
	{"answer: several lines of one name stay in order", func(s *stage) {
		_, h := s.answer("HTTP/1.1 200 OK\nSet-Cookie: a=1; Path=/\nSet-Cookie: b=2, c\nSet-Cookie: a=3\nWWW-Authenticate: Basic\nWWW-Authenticate: Digest x=y\nContent-Length: 0\n\n")
		h.want("Set-Cookie", "a=1; Path=/", "b=2, c", "a=3")
		h.want("WWW-Authenticate", "Basic", "Digest x=y")
	}},
	{"answer: what is meant for one hop ends there", func(s *stage) {
		_, h := s.answer("HTTP/1.1 200 OK\nConnection: X-Hop, Upgrade\nUpgrade: h2,h2c\nX-Hop: 1\nKeep-Alive: timeout=5, max=9\nProxy-Authenticate: Basic\nContent-Length: 0\n\n")
		for _, name := range []string{"X-Hop", "Keep-Alive", "Upgrade", "Proxy-Authenticate"} {
			h.want(name)
		}
	}},
	{"answer: compressed bodies are untouched", func(s *stage) {
		body := "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x4b\x04\x00\x43\xbe\xb7\xe8\x01\x00\x00\x00"
		client, h := s.answer(fmt.Sprintf("HTTP/1.1 200 OK\nContent-Encoding: gzip\nContent-Length: %d\n\n%s", len(body), body))
		h.want("Content-Encoding", "gzip")
		client.hear(body)
	}},
	{"answer: Content-Length is kept", func(s *stage) {
		client, h := s.answer("HTTP/1.1 200 OK\nContent-Length: 5\n\nhello")
		h.want("Content-Length", "5")
		h.want("Transfer-Encoding")
		client.hear("hello")
	}},
	{"answer: an empty body keeps its length", func(s *stage) {
		_, h := s.answer("HTTP/1.1 200 OK\nContent-Length: 0\n\n")
		h.want("Content-Length", "0")
	}},
	{"answer: chunked stays chunked", func(s *stage) {
		client, h := s.answer("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n5\nhello\n0\n\n")
		h.want("Transfer-Encoding", "chunked")
		h.want("Content-Length")
		if body, _ := client.body(h); body != "hello" {
			failf("the body is %q", body)
		}
	}},
	{"answer: a body that ends with the connection arrives whole", func(s *stage) {
		client, h := s.answerAndClose("HTTP/1.1 200 OK\n\nto the end")
		if body, _ := client.body(h); body != "to the end" {
			failf("the body is %q", body)
		}
	}},
	{"answer: HEAD keeps the length that GET would have", func(s *stage) {
		client := s.client()
		client.say("HEAD / HTTP/1.1\nHost: a\n\n")
		app := s.app()
		app.head()
		app.say("HTTP/1.1 200 OK\nContent-Length: 1234\nContent-Type: text/x\n\n")
		h := client.head()
		h.want("Content-Length", "1234")
		h.want("Content-Type", "text/x")
	}},
	{"answer: 204 has no body and no framing", func(s *stage) {
		_, h := s.answer("HTTP/1.1 204 No Content\nX-A: 1\n\n")
		h.wantStatus(204)
		h.want("Content-Length")
		h.want("Transfer-Encoding")
	}},
	{"answer: 304 keeps its headers", func(s *stage) {
		_, h := s.answer("HTTP/1.1 304 Not Modified\nETag: \"7\"\nContent-Type: text/x\nContent-Length: 99\nLast-Modified: x\n\n")
		h.want("ETag", `"7"`)
		h.want("Content-Type", "text/x")
		h.want("Content-Length", "99")
	}},
	{"answer: trailers that were announced go on", func(s *stage) {
		client, h := s.answer("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\nTrailer: X-Sum\n\n1\na\n0\nX-Sum: 9\n\n")
		h.want("Trailer", "X-Sum")
		_, trailers := client.body(h)
		trailers.want("X-Sum", "9")
	}},
	{"answer: trailers that were not announced go on", func(s *stage) {
		client, h := s.answer("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n1\na\n0\nX-Sum: 9\n\n")
		_, trailers := client.body(h)
		trailers.want("X-Sum", "9")
	}},
	{"answer: 103 early hints come at once", func(s *stage) {
		client, app := s.both()
		app.say("HTTP/1.1 103 Early Hints\nLink: </a.css>; rel=preload\n\n")
		h := client.head()
		h.wantStatus(103)
		h.want("Link", "</a.css>; rel=preload")
		app.say("HTTP/1.1 200 OK\nContent-Length: 0\n\n")
		h = client.head()
		h.wantStatus(200)
		h.want("Link")
	}},
	{"answer: 426 says what to change to", func(s *stage) {
		_, h := s.answer("HTTP/1.1 426 Upgrade Required\nConnection: Upgrade\nUpgrade: websocket\nContent-Length: 0\n\n")
		h.wantStatus(426)
		h.want("Upgrade", "websocket")
	}},
	{"answer: a head of 60 KiB goes on", func(s *stage) {
		big := strings.Repeat("x", 60<<10)
		_, h := s.answer("HTTP/1.1 200 OK\nX-Big: " + big + "\nContent-Length: 0\n\n")
		h.want("X-Big", big)
	}},
	{"answer: 1 MiB arrives whole", func(s *stage) {
		big := strings.Repeat("0123456789abcdef", 1<<16)
		client, app := s.both()
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			app.attempt(crlf("HTTP/1.1 200 OK\nContent-Length: 1048576\n\n") + big)
		}()
		if body, _ := client.body(client.head()); body != big {
			failf("it came changed")
		}
		<-sent
	}},
}

// Each of these hangs where the proxy waits for more before it passes on what there is.
var streamCases = []behaviour{
	{"stream: the head comes before the first chunk", func(s *stage) {
		client, app := s.both()
		app.say("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n")
		client.head().wantStatus(200)
	}},
	{"stream: server-sent events come one by one", func(s *stage) { streamed(s, "text/event-stream", "data: 1\n\n", "data: 2\n\n") }},
	{"stream: lines of JSON come one by one", func(s *stage) { streamed(s, "application/x-ndjson", "{}\n", "[]\n") }},
	{"stream: a long poll comes byte by byte", func(s *stage) { streamed(s, "text/html", " ", " ") }},
	{"stream: the head comes before a slow body with a length", func(s *stage) {
		client, app := s.both()
		app.say("HTTP/1.1 200 OK\nContent-Length: 4\n\n")
		client.head().wantStatus(200)
		app.say("ab")
		client.hear("ab")
		app.say("cd")
		client.hear("cd")
	}},
	{"stream: a long body comes as it is sent, and its connections go on", func(s *stage) {
		client, app := s.both()
		rest := strings.Repeat("0123456789abcdef", 1<<16)
		app.say("HTTP/1.1 200 OK\nContent-Length: 1048580\n\n")
		client.head().wantStatus(200)
		app.say("ab")
		client.hear("ab")
		app.say("cd")
		client.hear("cd")
		go app.attempt(rest)
		if client.bytes(len(rest)) != rest {
			failf("it came changed")
		}
		client.say("GET /again HTTP/1.1\nHost: a\n\n")
		if got := app.head().target(); got != "/again" {
			failf("the target is %q", got)
		}
	}},
	{"stream: a body that ends with the connection comes as it is sent", func(s *stage) {
		client, app := s.both()
		app.say("HTTP/1.1 200 OK\nContent-Type: text/plain\n\n")
		h := client.head()
		app.say("one")
		if h.has("Transfer-Encoding") {
			client.hearChunked("one")
		} else {
			client.hear("one")
		}
	}},
	{"stream: both ways at the same time", func(s *stage) {
		client := s.client()
		client.say("POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n")
		app := s.app()
		app.head()
		app.say("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n")
		client.head().wantStatus(200)
		for range 3 {
			client.say("4\nping\n")
			app.hearChunked("ping")
			app.say("4\npong\n")
			client.hearChunked("pong")
		}
	}},
}

func streamed(s *stage, kind string, pieces ...string) {
	client, app := s.both()
	app.say("HTTP/1.1 200 OK\nContent-Type: " + kind + "\nTransfer-Encoding: chunked\n\n")
	client.head().want("Content-Type", kind)
	for _, piece := range pieces {
		app.raw(fmt.Sprintf("%x\r\n%s\r\n", len(piece), piece))
		client.hearChunked(piece)
	}
	app.say("0\n\n")
	if rest, _ := client.chunks(); rest != "" {
		failf("%q was added", rest)
	}
}
