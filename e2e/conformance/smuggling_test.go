package conformance

import "strings"

// smugglingCases are messages whose end two servers may see at different places. Each is refused, or forwarded with one
// framing that leaves no doubt; what hides behind it never becomes a request.
func smugglingCases() (cases []behaviour) {
	const hidden = "GET /smuggled HTTP/1.1\nHost: a\n\n"
	for _, c := range []struct{ name, request string }{
		{"Content-Length and chunked", "POST / HTTP/1.1\nHost: a\nContent-Length: 6\nTransfer-Encoding: chunked\n\n0\n\n" + "X"},
		{"Content-Length before chunked, rest hidden", "POST / HTTP/1.1\nHost: a\nContent-Length: 37\nTransfer-Encoding: chunked\n\n0\n\n" + hidden},
		{"chunked after an odd coding", "POST / HTTP/1.1\nHost: a\nContent-Length: 4\nTransfer-Encoding: xchunked\n\n" + hidden},
		{"a space before the colon", "POST / HTTP/1.1\nHost: a\nContent-Length: 37\nTransfer-Encoding : chunked\n\n0\n\n" + hidden},
		{"a tab before the value", "POST / HTTP/1.1\nHost: a\nContent-Length: 37\nTransfer-Encoding:\tchunked\n\n0\n\n" + hidden},
		{"a vertical tab before the value", "POST / HTTP/1.1\nHost: a\nContent-Length: 37\nTransfer-Encoding: \vchunked\n\n0\n\n" + hidden},
		{"chunked twice", "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\nTransfer-Encoding: chunked\n\n0\n\n" + hidden},
		{"chunked, then identity", "POST / HTTP/1.1\nHost: a\nContent-Length: 37\nTransfer-Encoding: chunked\nTransfer-Encoding: identity\n\n0\n\n" + hidden},
		{"chunked, identity in one line", "POST / HTTP/1.1\nHost: a\nContent-Length: 37\nTransfer-Encoding: chunked, identity\n\n0\n\n" + hidden},
		{"quoted chunked", "POST / HTTP/1.1\nHost: a\nContent-Length: 37\nTransfer-Encoding: \"chunked\"\n\n0\n\n" + hidden},
		{"chunked in HTTP/1.0", "POST / HTTP/1.0\nHost: a\nContent-Length: 37\nTransfer-Encoding: chunked\n\n0\n\n" + hidden},
		{"chunked in a folded line", "POST / HTTP/1.1\nHost: a\nContent-Length: 37\nTransfer-Encoding:\n chunked\n\n0\n\n" + hidden},
		{"chunked behind a folded line", "POST / HTTP/1.1\nHost: a\nX-A: b\n Transfer-Encoding: chunked\nContent-Length: 37\n\n0\n\n" + hidden},
		{"chunked behind a bare CR", "POST / HTTP/1.1\nHost: a\nX-A: b\rTransfer-Encoding: chunked\nContent-Length: 37\n\n0\n\n" + hidden},
		{"chunked with a NUL", "POST / HTTP/1.1\nHost: a\nContent-Length: 37\nTransfer-Encoding: chunked\x00\n\n0\n\n" + hidden},
		{"two lengths that differ", "POST / HTTP/1.1\nHost: a\nContent-Length: 0\nContent-Length: 32\n\n" + hidden},
		{"two lengths in one line", "POST / HTTP/1.1\nHost: a\nContent-Length: 0, 32\n\n" + hidden},
		{"a signed length", "POST / HTTP/1.1\nHost: a\nContent-Length: +0\n\n" + hidden},
		{"a negative length", "POST / HTTP/1.1\nHost: a\nContent-Length: -1\n\n" + hidden},
		{"a hexadecimal length", "POST / HTTP/1.1\nHost: a\nContent-Length: 0x0\n\n" + hidden},
		{"a length with a space in it", "POST / HTTP/1.1\nHost: a\nContent-Length: 0 0\n\n" + hidden},
		{"a length behind a space in the name", "POST / HTTP/1.1\nHost: a\nContent-Length : 32\n\n" + hidden},
		{"a length with a space before its name", "POST / HTTP/1.1\nHost: a\n Content-Length: 32\n\n" + hidden},
		{"a chunk size with a sign", "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n+0\n\n" + hidden},
		{"a chunk size in 0x", "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n0x0\n\n" + hidden},
		{"a chunk size that overflows", "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n10000000000000000\n\n" + hidden},
		{"a chunk longer than its size", "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n1\nabc\n0\n\n" + hidden},
		{"a chunk extension with a bare LF", "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n2;x\x01\nab\n0\n\n" + hidden},
		{"a NUL in a value", "GET / HTTP/1.1\nHost: a\nX-A: b\x00c\n\n" + hidden},
		{"a NUL in a name", "GET / HTTP/1.1\nHost: a\nX\x00A: b\n\n" + hidden},
		{"a bare CR as line end", "GET / HTTP/1.1\nHost: a\nX-A: b\r\r\n" + hidden},
		{"two Hosts", "GET / HTTP/1.1\nHost: a\nHost: b\n\n" + hidden},
		{"a Host with a comma and a space", "GET / HTTP/1.1\nHost: a, b\n\n" + hidden},
		{"a space in a name", "GET / HTTP/1.1\nHost: a\nX A: b\n\n" + hidden},
		{"an unknown version", "GET / HTTP/1.9x\nHost: a\n\n" + hidden},
		{"no version", "GET /\n" + hidden},
	} {
		cases = append(cases, behaviour{"smuggling: " + c.name, func(s *stage) { smuggle(s, c.request) }})
	}
	return append(cases, behaviour{"smuggling: equal lengths are one", func(s *stage) {
		client := s.client()
		client.say("POST / HTTP/1.1\nHost: a\nContent-Length: 2\nContent-Length: 2\n\nok")
		if h := client.maybe(s); h != nil {
			h.want("Content-Length", "2")
		}
	}})
}

// smuggle sends the message and closes. Whatever may rightly follow it as a request of its own, such as what comes behind
// a message that is complete beyond doubt, comes with its own head; so the app must have seen unambiguous heads only, and
// nothing hidden in a body that it would have read as a request.
func smuggle(s *stage, text string) {
	requests := s.serve(func(r request) string { return "HTTP/1.1 200 OK\nContent-Length: 0\n\n" }, 0)
	client := s.client()
	client.attempt(crlf(text))
	client.closeWrite()
	client.rest()
	for i, r := range requests.all() {
		lengths, codings := r.all("Content-Length"), r.all("Transfer-Encoding")
		switch {
		case len(lengths)+len(codings) > 1:
			failf("the app got lengths %q and codings %q", lengths, codings)
		case len(codings) == 1 && codings[0] != "chunked":
			failf("the app got the coding %q", codings[0])
		case len(r.all("Host")) != 1:
			failf("the app got the hosts %q", r.all("Host"))
		case strings.ContainsAny(r.start, "\x00\r"):
			failf("the app got %q", r.start)
		case i == 0 && r.target() == "/smuggled":
			failf("the app got the hidden request first")
		}
		for _, f := range r.fields {
			if f.name == "" || strings.ContainsAny(f.name, " \t\x00") || strings.ContainsAny(f.value, "\x00\r\v") {
				failf("the app got the line %q", f.name+": "+f.value)
			}
		}
	}
}

// maybe is the head that the app gets, or nil where the proxy refused.
func (w *wire) maybe(s *stage) *head {
	came := make(chan head, 1)
	go func() {
		defer func() { recover() }()
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		app := newWire(conn, "app")
		came <- app.head()
		app.say("HTTP/1.1 200 OK\nContent-Length: 0\n\n")
	}()
	if h := w.head(); h.status() == 200 {
		got := <-came
		return &got
	}
	return nil
}
