package conformance

import (
	"slices"
	"strings"
)

var requestCases = []behaviour{
	{"request: Host goes on byte for byte", func(s *stage) {
		s.forward("GET / HTTP/1.1\nHost: ShOp.Example:8443\n\n").want("Host", "ShOp.Example:8443")
	}},
	{"request: Accept-Encoding goes on", func(s *stage) {
		s.forward("GET / HTTP/1.1\nHost: a\nAccept-Encoding: br;q=0.1, zstd\n\n").want("Accept-Encoding", "br;q=0.1, zstd")
	}},
	{"request: absent headers stay absent", func(s *stage) {
		got := s.forward("GET / HTTP/1.1\nHost: a\n\n")
		for _, f := range got.fields {
			if !slices.ContainsFunc(s.subject.adds, func(n string) bool { return strings.EqualFold(n, f.name) }) && !strings.EqualFold(f.name, "Host") {
				failf("%s: %s was added", f.name, f.value)
			}
		}
	}},
	{"request: User-Agent goes on, also an empty one", func(s *stage) {
		s.forward("GET / HTTP/1.1\nHost: a\nUser-Agent: old/1.0 (x; y)\n\n").want("User-Agent", "old/1.0 (x; y)")
		if got := s.forward("GET / HTTP/1.1\nHost: a\nUser-Agent:\n\n"); got.get("User-Agent") != "" {
			failf("the empty User-Agent became %q", got.get("User-Agent"))
		}
	}},
	{"request: X-Forwarded-*, Forwarded, X-Real-IP and Via go on as they came", func(s *stage) {
		got := s.forward("GET / HTTP/1.1\nHost: a\nX-Forwarded-For: 10.0.0.1, 10.0.0.2\nX-Forwarded-Proto: https\nX-Forwarded-Host: b\n" +
			"Forwarded: for=10.0.0.1\nX-Real-IP: 10.0.0.1\nVia: 1.1 edge\n\n")
		got.want("X-Forwarded-For", "10.0.0.1, 10.0.0.2")
		got.want("X-Forwarded-Proto", "https")
		got.want("X-Forwarded-Host", "b")
		got.want("Forwarded", "for=10.0.0.1")
		got.want("X-Real-IP", "10.0.0.1")
		got.want("Via", "1.1 edge")
	}},
	{"request: what is meant for one hop ends there", func(s *stage) {
		got := s.forward("GET / HTTP/1.1\nHost: a\nConnection: keep-alive, X-Hop\nKeep-Alive: timeout=9\nX-Hop: 1\nProxy-Connection: keep-alive\n" +
			"TE: gzip, trailers\n\n")
		for _, name := range []string{"X-Hop", "Keep-Alive", "Proxy-Connection"} {
			got.want(name)
		}
		got.want("TE", "trailers")
	}},
	{"request: several lines of one name stay in order", func(s *stage) {
		got := s.forward("GET / HTTP/1.1\nHost: a\nX-Many: 1\nX-Many: 2, 3\nCookie: a=1\nCookie: b=2\nX-Many: 1\n\n")
		got.want("X-Many", "1", "2, 3", "1")
		got.want("Cookie", "a=1", "b=2")
	}},
	{"request: odd names and values go on", func(s *stage) {
		got := s.forward("GET / HTTP/1.1\nHost: a\nunder_score: 1\ndot.ted: 2\nX-Latin: caf\xe9\nX-Utf: \u00e9\u4e16\nX-Empty:\nX-Quote: \"a, b\"; c='d'\n\n")
		got.want("under_score", "1")
		got.want("dot.ted", "2")
		got.want("X-Latin", "caf\xe9")
		got.want("X-Utf", "\u00e9\u4e16")
		got.want("X-Empty", "")
		got.want("X-Quote", `"a, b"; c='d'`)
	}},
	{"request: credentials and cookies go on", func(s *stage) {
		got := s.forward("GET / HTTP/1.1\nHost: a\nAuthorization: Basic YTpi\nCookie: $Version=1; a=\"b c\"; d\n\n")
		got.want("Authorization", "Basic YTpi")
		got.want("Cookie", `$Version=1; a="b c"; d`)
	}},
	{"request: the request ID that came is kept", func(s *stage) {
		s.forward("GET / HTTP/1.1\nHost: a\nX-Request-ID: My/Odd:Id_1=\n\n").want("X-Request-ID", "My/Odd:Id_1=")
	}},
	{"request: any method goes on", func(s *stage) {
		for _, method := range []string{"PROPFIND", "M-SEARCH", "get", "PATCH", "TRACE"} {
			if got := s.forward(method + " / HTTP/1.1\nHost: a\n\n"); !strings.HasPrefix(got.start, method+" ") {
				failf("%s became %q", method, got.start)
			}
		}
	}},
	{"request: a GET with a body has it", func(s *stage) {
		client := s.client()
		client.say("GET / HTTP/1.1\nHost: a\nContent-Length: 4\n\nbody")
		app := s.app()
		app.head().want("Content-Length", "4")
		app.hear("body")
	}},
	{"request: Content-Length: 0 goes on", func(s *stage) {
		for _, method := range []string{"GET", "DELETE", "POST"} {
			s.forward(method+" / HTTP/1.1\nHost: a\nContent-Length: 0\n\n").want("Content-Length", "0")
		}
	}},
	{"request: no length is made up", func(s *stage) {
		for _, method := range []string{"GET", "DELETE", "POST", "OPTIONS"} {
			got := s.forward(method + " / HTTP/1.1\nHost: a\n\n")
			got.want("Content-Length")
			got.want("Transfer-Encoding")
		}
	}},
	{"request: a head of 60 KiB goes on", func(s *stage) {
		big := strings.Repeat("x", 60<<10)
		s.forward("GET / HTTP/1.1\nHost: a\nX-Big: "+big+"\n\n").want("X-Big", big)
	}},
	{"request: a target of 16 KiB goes on", func(s *stage) {
		target := "/" + strings.Repeat("y", 16<<10)
		if got := s.forward("GET " + target + " HTTP/1.1\nHost: a\n\n").target(); got != target {
			failf("it came as %q", clip(got))
		}
	}},
	{"request: names keep their case", func(s *stage) {
		got := s.forward("GET / HTTP/1.1\nHost: a\nx-lower: 1\nX-UPPER: 2\nsoapACTION: 3\n\n")
		for _, name := range []string{"x-lower", "X-UPPER", "soapACTION"} {
			if !slices.ContainsFunc(got.fields, func(f field) bool { return f.name == name }) {
				failf("%s changed its case", name)
			}
		}
	}},
	{"request: headers keep their order", func(s *stage) {
		got := s.forward("GET / HTTP/1.1\nHost: a\nX-B: 1\nX-A: 2\nX-C: 3\n\n")
		got.wantOrder("X-B", "X-A", "X-C")
	}},
	{"request: HTTP/1.0 without a Host is answered and closed", func(s *stage) {
		client := s.client()
		client.say("GET /old HTTP/1.0\n\n")
		app := s.app()
		if got := app.head().target(); got != "/old" {
			failf("the target is %q", got)
		}
		app.say("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n3\nold\n0\n\n")
		h := client.head()
		h.want("Transfer-Encoding")
		if got := client.rest(); got != "old" {
			failf("the body is %q", got)
		}
	}},
	{"request: HTTP/1.0 with keep-alive stays connected", func(s *stage) {
		client := s.client()
		client.say("GET / HTTP/1.0\nHost: a\nConnection: keep-alive\n\n")
		app := s.app()
		app.head()
		app.say("HTTP/1.1 200 OK\nContent-Length: 2\n\nok")
		h := client.head()
		client.body(h)
		if !strings.EqualFold(h.get("Connection"), "keep-alive") {
			failf("Connection is %q", h.get("Connection"))
		}
	}},
}

func (h head) wantOrder(names ...string) {
	var got []string
	for _, f := range h.fields {
		if slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, f.name) }) {
			got = append(got, f.name)
		}
	}
	if !slices.EqualFunc(got, names, strings.EqualFold) {
		failf("the order is %v, not %v", got, names)
	}
}

// targetCases ask for the target byte for byte.
func targetCases() (cases []behaviour) {
	for _, t := range []struct{ name, target string }{
		{"%2F and %2f", "/a%2Fb%2fc%7E"},
		{"empty segments", "/a//b///c//"},
		{"leading slashes", "//a/b"},
		{"dot segments", "/a/./b/../c"},
		{"encoded dots", "/a/%2e%2E/b"},
		{"reserved characters", "/a;v=1,2/b+c@d:e=f&g!$'()*"},
		{"brackets and bars", "/a[0]/{b}|c^d`e"},
		{"backslash and quote", `/a\b"c`},
		{"raw UTF-8", "/caf\u00e9/\u4e16"},
		{"raw bytes above 127", "/\xff\xfe"},
		{"encoded NUL and line end", "/a%00b%0d%0ac"},
		{"a hash", "/a#b"},
		{"an empty query", "/a?"},
		{"odd query", "/a?b;c=d&&e=%zz&=f??g=h#i"},
		{"query with brackets and quotes", `/a?q[]=1&r={"s":"t"}&u=|`},
		{"query with a URL", "/a?next=http://b/c?d=e"},
		{"invalid escapes", "/100%/a%zz/%u0041"},
	} {
		cases = append(cases, behaviour{"target: " + t.name, func(s *stage) {
			if got := s.forward("GET " + t.target + " HTTP/1.1\nHost: a\n\n").target(); got != t.target {
				failf("%q became %q", t.target, got)
			}
		}})
	}
	return append(cases,
		behaviour{"target: OPTIONS *", func(s *stage) {
			if got := s.forward("OPTIONS * HTTP/1.1\nHost: a\n\n").start; got != "OPTIONS * HTTP/1.1" {
				failf("it came as %q", got)
			}
		}},
		behaviour{"target: the absolute form goes to the app alone", func(s *stage) {
			third := newThird(s.t)
			got := s.forward("GET http://" + third.addr() + "/p?q HTTP/1.1\nHost: " + third.addr() + "\n\n")
			if got.target() != "/p?q" {
				failf("it came as %q", got.start)
			}
			third.wantNobody()
		}},
		behaviour{"target: CONNECT is refused", func(s *stage) {
			third := newThird(s.t)
			client := s.client()
			client.say("CONNECT " + third.addr() + " HTTP/1.1\nHost: " + third.addr() + "\n\n")
			if got := client.head().status(); got < 400 {
				failf("it was answered with %d", got)
			}
			third.wantNobody()
		}},
	)
}
