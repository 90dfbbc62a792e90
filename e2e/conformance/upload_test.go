package conformance

import "strings"

var uploadCases = []behaviour{
	{"upload: chunks arrive as they are sent", func(s *stage) {
		client := s.client()
		client.say("POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n3\nabc\n")
		app := s.app()
		app.head().want("Transfer-Encoding", "chunked")
		app.hearChunked("abc")
		client.say("4\ndefg\n")
		app.hearChunked("defg")
		client.say("0\n\n")
		if rest, _ := app.chunks(); rest != "" {
			failf("%q was added", rest)
		}
	}},
	{"upload: bytes with a length arrive as they are sent", func(s *stage) {
		client := s.client()
		client.say("POST / HTTP/1.1\nHost: a\nContent-Length: 6\n\nabc")
		app := s.app()
		app.head().want("Content-Length", "6")
		app.hear("abc")
		client.say("def")
		app.hear("def")
	}},
	{"upload: 1 MiB arrives whole", func(s *stage) {
		big := strings.Repeat("0123456789abcdef", 1<<16)
		client := s.client()
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			client.attempt(crlf("PUT / HTTP/1.1\nHost: a\nContent-Length: 1048576\n\n") + big)
		}()
		app := s.app()
		if body, _ := app.body(app.head()); body != big {
			failf("it came changed")
		}
		<-sent
	}},
	{"upload: trailers that were announced go on", func(s *stage) {
		client := s.client()
		client.say("POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\nTrailer: X-Sum\n\n1\na\n0\nX-Sum: 9\n\n")
		app := s.app()
		h := app.head()
		h.want("Trailer", "X-Sum")
		_, trailers := app.body(h)
		trailers.want("X-Sum", "9")
	}},
	{"upload: trailers that were not announced go on", func(s *stage) {
		client := s.client()
		client.say("POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n1\na\n0\nX-Sum: 9\n\n")
		app := s.app()
		_, trailers := app.body(app.head())
		trailers.want("X-Sum", "9")
	}},
	{"upload: 100 Continue comes from the app", func(s *stage) {
		client := s.client()
		client.say("POST / HTTP/1.1\nHost: a\nContent-Length: 2\nExpect: 100-continue\n\n")
		app := s.app()
		app.head().want("Expect", "100-continue")
		app.say("HTTP/1.1 100 Continue\n\n")
		client.head().wantStatus(100)
		client.say("ok")
		app.hear("ok")
		app.say("HTTP/1.1 201 Created\nContent-Length: 0\n\n")
		client.head().wantStatus(201)
	}},
	{"upload: 413 instead of 100 Continue", func(s *stage) { refuseExpect(s, "413 Payload Too Large", 413) }},
	{"upload: 417 instead of 100 Continue", func(s *stage) { refuseExpect(s, "417 Expectation Failed", 417) }},
	{"upload: a final answer during the upload comes at once", func(s *stage) {
		for _, framing := range []string{"Content-Length: 5000", "Transfer-Encoding: chunked"} {
			client := s.client()
			client.say("POST / HTTP/1.1\nHost: a\n" + framing + "\n\n")
			app := s.app()
			app.head()
			app.say("HTTP/1.1 401 Unauthorized\nContent-Length: 2\n\nno")
			h := client.head()
			h.wantStatus(401)
			client.hear("no")
		}
	}},
	{"upload: what follows such an answer is never taken for a request", func(s *stage) {
		requests := s.serve(func(r request) string {
			return "HTTP/1.1 401 Unauthorized\nContent-Length: 0\n\n"
		}, answerAtHead)
		hidden := strings.Repeat("GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n", 200)
		for range 20 {
			client := s.client()
			client.say("POST /first HTTP/1.1\nHost: a\nContent-Length: 5000\n\n" + strings.Repeat("y", 1000))
			client.head().wantStatus(401)
			client.attempt(hidden[:4000] + crlf("GET /second HTTP/1.1\nHost: a\n\n"))
			client.closeWrite()
			if rest := client.rest(); strings.Count(rest, "HTTP/1.1 ") > 1 || strings.Contains(rest, " 400 ") || strings.Contains(rest, " 502 ") {
				failf("the client got %q", rest)
			}
		}
		for _, r := range requests.all() {
			if r.target() != "/first" && r.target() != "/second" {
				failf("the app was asked for %q", r.start)
			}
		}
	}},
	{"upload: a body that breaks off is never complete for the app", func(s *stage) {
		for _, begin := range []string{"Content-Length: 10\n\nabc", "Transfer-Encoding: chunked\n\n3\nabc\n"} {
			client := s.client()
			client.say("POST / HTTP/1.1\nHost: a\n" + begin)
			app := s.app()
			app.head()
			client.Close()
			if got := app.rest(); strings.Contains(got, "\n0\r\n") || len(got) > 9 {
				failf("the app got %q", got)
			}
		}
	}},
}

func refuseExpect(s *stage, status string, code int) {
	client := s.client()
	client.say("POST / HTTP/1.1\nHost: a\nContent-Length: 2\nExpect: 100-continue\n\n")
	app := s.app()
	app.head()
	app.say("HTTP/1.1 " + status + "\nContent-Length: 0\n\n")
	client.head().wantStatus(code)
}
