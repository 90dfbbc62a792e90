package tracker

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

const document = "<!doctype html><html><head><title>Cart</title></head><body>" // and more

func newTracker(t testing.TB) *Tracker {
	t.Helper()
	tr, err := New(Config{ProjectKey: "key", Ingest: IngestPath})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// navigation is what a browser asks a page with.
func navigation() *http.Request {
	r := httptest.NewRequest("GET", "https://shop.example/cart", nil)
	r.Header.Set("Sec-Fetch-Dest", "document")
	r.Header.Set("Accept-Encoding", "gzip, deflate, br, zstd")
	return r
}

func answer(body []byte, headers ...string) *http.Response {
	resp := &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"text/html; charset=utf-8"}},
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body))}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		resp.Header.Set(name, value)
	}
	return resp
}

func packed(t testing.TB, coding, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	switch coding {
	case "":
		return []byte(text)
	case "gzip", "x-gzip":
		w = gzip.NewWriter(&b)
	case "br":
		w = brotli.NewWriter(&b)
	case "zstd":
		var err error
		if w, err = zstd.NewWriter(&b); err != nil {
			t.Fatal(err)
		}
	}
	io.WriteString(w, text)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// read gives what a browser makes of the answer.
func read(t testing.TB, resp *http.Response) string {
	t.Helper()
	var body io.Reader = resp.Body
	if resp.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(body)
		if err != nil {
			t.Fatal(err)
		}
		body = z
	}
	text, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestAPageOfEachCoding(t *testing.T) {
	tr := newTracker(t)
	text := document + strings.Repeat("<p>a line of the page</p>\n", 20_000)
	want := strings.Replace(text, "<head>", "<head>"+string(tr.snippet), 1)
	for _, coding := range []string{"", "gzip", "x-gzip", "br", "zstd"} {
		for _, takes := range []string{"gzip, deflate, br, zstd", "br", "gzip;q=0, *"} {
			body := packed(t, coding, text)
			resp := answer(body, `Etag: "v1"`, "Accept-Ranges: bytes", "Content-Length: 1", "Content-Md5: x", "Cache-Control: private")
			if coding != "" {
				resp.Header.Set("Content-Encoding", coding)
			}
			r := navigation()
			r.Header.Set("Accept-Encoding", takes)
			found := false
			if what := tr.Page(resp, r, nil, "https://shop.example", func(f bool) { found = f }); what != Done {
				t.Fatalf("%q: %s", coding, what)
			}
			if got := read(t, resp); got != want {
				t.Errorf("%q: the page is another one: %.120q ... (%d bytes)", coding, got, len(got))
			}
			h := resp.Header
			if !found || resp.ContentLength != -1 || h.Get("Content-Length")+h.Get("Accept-Ranges")+h.Get("Content-Md5") != "" ||
				!strings.HasPrefix(h.Get("Etag"), `W/"v1-or`) || h.Get("Vary") != "Sec-Fetch-Dest" || h.Get("Cache-Control") != "private" {
				t.Errorf("%q: %v, %d", coding, h, resp.ContentLength)
			}
			if got := h.Get("Content-Encoding"); coding != "" && (got == "gzip") != strings.HasPrefix(takes, "gzip,") {
				t.Errorf("%q for a browser that takes %q: %q", coding, takes, got)
			}
		}
	}
	if used := tr.weight.used.Load(); used != 0 {
		t.Errorf("%d bytes are not given back", used)
	}
}

func TestWhatIsNoSuchPageStaysAsItIs(t *testing.T) {
	tr := newTracker(t)
	large := packed(t, "br", document)
	large[0] = 0x11 // a large window, which browsers refuse
	for _, c := range []struct {
		name string
		what string
		resp *http.Response
	}{
		{"JSON", "", answer([]byte("{}"), "Content-Type: application/json")},
		{"XHTML, whose parser is another", "", answer([]byte(document), "Content-Type: application/xhtml+xml")},
		{"a download", "", answer([]byte(document), "Content-Disposition: attachment; filename=a.html")},
		{"an empty page", "", answer(nil)},
		{"a part of one", "", answer([]byte(document), "Content-Range: bytes 0-3/10")},
		{"no-transform", Fixed, answer([]byte(document), "Cache-Control: max-age=1, No-Transform")},
		{"a policy without the worker", Policy, answer([]byte(document), "Content-Security-Policy: script-src 'self'")},
		{"a policy that only reports", Policy, answer([]byte(document), "Content-Security-Policy-Report-Only: default-src 'none'")},
		{"two codings", Coding, answer(packed(t, "gzip", document), "Content-Encoding: gzip, gzip")},
		{"a coding of nobody's", Coding, answer([]byte(document), "Content-Encoding: compress")},
		{"a window too large", Coding, answer(large, "Content-Encoding: br")},
		{"not zstd at all", Coding, answer([]byte(document), "Content-Encoding: zstd")},
	} {
		before := c.resp.Header.Clone()
		raw, _ := io.ReadAll(c.resp.Body)
		c.resp.Body = io.NopCloser(bytes.NewReader(raw))
		length := c.resp.ContentLength
		if what := tr.Page(c.resp, navigation(), nil, "https://shop.example", nil); what != c.what {
			t.Errorf("%s: %q", c.name, what)
		}
		after, err := io.ReadAll(c.resp.Body)
		if err != nil || !bytes.Equal(raw, after) || c.resp.ContentLength != length || len(before) != len(c.resp.Header) {
			t.Errorf("%s: it was changed: %v, %q", c.name, c.resp.Header, after)
		}
	}
	for _, status := range []int{101, 204, 206, 301, 304} {
		resp := answer([]byte(document))
		if resp.StatusCode = status; tr.Page(resp, navigation(), nil, "https://shop.example", nil) != "" {
			t.Errorf("%d was changed", status)
		}
	}
}

func TestMorePagesThanRoom(t *testing.T) {
	tr := newTracker(t)
	body := packed(t, "gzip", document)
	var under []*http.Response
	for {
		resp := answer(body, "Content-Encoding: gzip")
		if what := tr.Page(resp, navigation(), nil, "https://shop.example", nil); what == Busy {
			break
		}
		if under = append(under, resp); len(under) > 1000 {
			t.Fatal("no bound")
		}
	}
	for _, resp := range under {
		resp.Body.Close() // the client went away
		resp.Body.Close()
	}
	if used := tr.weight.used.Load(); used != 0 {
		t.Errorf("%d bytes are not given back", used)
	}
}

// A page that is made slowly is seen as it is made, whatever its coding.
func TestAPageIsReadAsItIsMade(t *testing.T) {
	for _, coding := range []string{"", "gzip", "br", "zstd"} {
		tr := newTracker(t)
		from, to := io.Pipe()
		var w interface {
			io.Writer
			Flush() error
		}
		switch coding {
		case "gzip":
			w = gzip.NewWriter(to)
		case "br":
			w = brotli.NewWriter(to)
		case "zstd":
			w, _ = zstd.NewWriter(to)
		default:
			w = plain{to}
		}
		step := make(chan string)
		go func() {
			for piece := range step {
				io.WriteString(w, piece)
				w.Flush()
			}
			to.Close()
		}()
		step <- "<html><head>" // a server sends its head with the first bytes
		resp := answer(nil)
		resp.Body, resp.ContentLength = from, -1
		if coding != "" {
			resp.Header.Set("Content-Encoding", coding)
		}
		if what := tr.Page(resp, navigation(), nil, "https://shop.example", nil); what != Done {
			t.Fatalf("%q: %s", coding, what)
		}
		var body io.Reader = resp.Body
		if coding != "" {
			z, err := gzip.NewReader(body)
			if err != nil {
				t.Fatal(err)
			}
			body = z
		}
		expect := func(want string) {
			t.Helper()
			got := make([]byte, len(want))
			if _, err := io.ReadFull(body, got); err != nil || string(got) != want {
				t.Errorf("%q: %q, %v", coding, got, err)
			}
		}
		expect("<html><head>" + string(tr.snippet))
		step <- "<title>slow"
		expect("<title>slow")
		close(step)
		resp.Body.Close()
	}
}

type plain struct{ io.Writer }

func (plain) Flush() error { return nil }

func TestABrokenPageBreaksOff(t *testing.T) {
	tr := newTracker(t)
	body := packed(t, "gzip", document+strings.Repeat("x", 100_000))
	resp := answer(body[:len(body)-20], "Content-Encoding: gzip")
	tr.Page(resp, navigation(), nil, "https://shop.example", nil)
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("it looks complete")
	}
}

func TestWantedAreNavigationsAlone(t *testing.T) {
	for _, c := range []struct {
		name, method, headers string
		want                  bool
	}{
		{"a link", "GET", "Sec-Fetch-Dest: document", true},
		{"a form", "POST", "Sec-Fetch-Dest: document", true},
		{"a frame in a page, which its tracker records", "GET", "Sec-Fetch-Dest: iframe", false},
		{"fetch", "GET", "Sec-Fetch-Dest: empty", false},
		{"an old browser", "GET", "Accept: text/html,*/*", true},
		{"an old page's call for HTML", "GET", "Accept: text/html, */*|X-Requested-With: XMLHttpRequest", false},
		{"curl", "GET", "Accept: */*", false},
		{"HEAD", "HEAD", "Sec-Fetch-Dest: document", false},
		{"a download that goes on", "GET", "Sec-Fetch-Dest: document|Range: bytes=5-", false},
	} {
		r := httptest.NewRequest(c.method, "/", nil)
		for line := range strings.SplitSeq(c.headers, "|") {
			name, value, _ := strings.Cut(line, ": ")
			r.Header.Set(name, value)
		}
		if Wanted(r) != c.want {
			t.Errorf("%s: %v", c.name, !c.want)
		}
	}
}

func TestTheBrowsersCopyIsFoundAgain(t *testing.T) {
	tr, other := newTracker(t), newTracker(t)
	other.tag = "-or00000000"
	for _, tag := range []string{`"v1"`, `W/"v1"`, `"a,b"`, `""`} {
		given := tr.retag(tag)
		h := http.Header{"If-None-Match": {`"x", ` + given, other.retag(tag)}}
		asked := tr.Ask(h)
		if got := h.Get("If-None-Match"); got != `"x", `+tag {
			t.Errorf("%s: the app is asked for %s", tag, got)
		}
		resp := answer(nil, "Etag: "+tag)
		resp.StatusCode = 304
		tr.Page(resp, navigation(), asked, "", nil)
		if got := resp.Header.Get("Etag"); got != given {
			t.Errorf("%s: 304 names %s, the browser has %s", tag, got, given)
		}
		resp = answer(nil, "Etag: "+tag)
		resp.StatusCode = 304
		if tr.Page(resp, navigation(), []string{tag}, "", nil); resp.Header.Get("Etag") != tag {
			t.Errorf("%s: a copy without the script became %s", tag, resp.Header.Get("Etag"))
		}
	}
	h := http.Header{"If-None-Match": {other.retag(`"v1"`)}}
	if tr.Ask(h); h["If-None-Match"] != nil {
		t.Errorf("a copy with another script is asked for: %v", h)
	}
	h = http.Header{"If-None-Match": {`*`}, "If-Match": {`"a-order"`}}
	if tr.Ask(h); h.Get("If-None-Match") != "*" || h.Get("If-Match") != `"a-order"` {
		t.Errorf("%v", h)
	}
}

func TestThePolicy(t *testing.T) {
	tr, err := New(Config{ProjectKey: "key", Ingest: "https://openreplay.example/ingest"})
	if err != nil {
		t.Fatal(err)
	}
	relayed := newTracker(t)
	for _, c := range []struct {
		policy            string
		direct, underOurs bool
	}{
		{"", true, true},
		{"img-src 'none'", true, true},
		{"script-src 'self'; worker-src blob:; connect-src 'self' https://openreplay.example", true, true},
		{"script-src 'self'; worker-src blob:; connect-src 'self'", false, true},
		{"script-src 'self'", false, false}, // the worker
		{"script-src 'self' blob:", true, true},
		{"default-src 'self'", false, false},
		{"default-src 'self' blob:", false, true},
		{"default-src *", false, false}, // * is no blob
		{"default-src * blob:", true, true},
		{"default-src https: blob:", true, true},
		{"script-src 'none'; worker-src blob:", false, false},
		{"script-src 'nonce-abc' 'strict-dynamic' 'self'; worker-src blob:", false, false},
		{"script-src 'nonce-abc'; worker-src blob:", false, false},
		{"script-src 'nonce-abc' 'self'; worker-src blob:", true, true},
		{"script-src shop.example; worker-src blob:; connect-src *.example", true, true},
		{"script-src-elem 'none'; script-src 'self' blob:", false, false},
		{"sandbox allow-scripts", false, false},
		{"sandbox allow-scripts allow-same-origin", true, true},
		{"require-trusted-types-for 'script'", false, false},
		{"script-src 'self' blob:, connect-src 'none'", false, false}, // two policies: both count
		{"SCRIPT-SRC 'SELF' BLOB:; script-src 'none'", true, true},    // the first of two directives
		{"upgrade-insecure-requests", true, true},
	} {
		h := http.Header{}
		if c.policy != "" {
			h.Set("Content-Security-Policy", c.policy)
		}
		if got := tr.allowed(h, "https://shop.example"); got != c.direct {
			t.Errorf("%q, ingest elsewhere: %v", c.policy, got)
		}
		if got := relayed.allowed(h, "https://shop.example"); got != c.underOurs {
			t.Errorf("%q, relayed: %v", c.policy, got)
		}
	}
}

func TestTheScript(t *testing.T) {
	tr, err := New(Config{ProjectKey: "k</script>", Ingest: IngestPath, Consent: "cookies=yes"})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(path, coding string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", path, nil)
		r.Header.Set("Accept-Encoding", coding)
		w := httptest.NewRecorder()
		tr.ServeScript(w, r)
		return w
	}
	plain := ask(tr.path, "identity").Body.String()
	z, err := gzip.NewReader(ask(tr.path, "gzip").Body)
	if err != nil {
		t.Fatal(err)
	}
	zipped, err := io.ReadAll(z)
	if err != nil || string(zipped) != plain {
		t.Errorf("with and without gzip differ: %v", err)
	}
	for _, part := range []string{`"projectKey":"k\u003c/script\u003e"`, `"consent":"cookies=yes"`, "Asayer, Inc", "exports.tracker = tracker;", "sessionTokenHeader: settings.header"} {
		if !strings.Contains(plain, part) {
			t.Errorf("%q is not in it", part)
		}
	}
	if w := ask(Prefix+"tracker-or00000000.js", ""); w.Code != 404 {
		t.Errorf("another script: %d", w.Code)
	}
	if other := newTracker(t); other.path == tr.path {
		t.Error("two scripts have one address, which may be kept for ever")
	}
	if _, err := New(Config{ProjectKey: "k", Ingest: "openreplay.example"}); err == nil {
		t.Error("an ingest point without a scheme is taken")
	}
}

func FuzzAsk(f *testing.F) {
	tr := newTracker(f)
	f.Add(`W/"a-or01234567s", "b"`)
	f.Fuzz(func(t *testing.T, line string) { tr.Ask(http.Header{"If-None-Match": {line}}) })
}

func BenchmarkPage(b *testing.B) {
	text := document + strings.Repeat("<p>a line of the page</p>\n", 2_000)
	for _, coding := range []string{"", "gzip", "br", "zstd"} {
		tr, body := newTracker(b), packed(b, coding, text)
		b.Run("coding="+coding, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				resp := answer(body)
				if coding != "" {
					resp.Header.Set("Content-Encoding", coding)
				}
				tr.Page(resp, navigation(), nil, "https://shop.example", nil)
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		})
	}
}
