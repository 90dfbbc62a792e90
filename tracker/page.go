package tracker

import (
	"bytes"
	"compress/gzip"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Why a page is left as it is, as metrics name it.
const (
	Done    = "done"
	Policy  = "policy"  // its Content-Security-Policy forbids what the tracker needs
	Fixed   = "fixed"   // Cache-Control: no-transform
	Coding  = "coding"  // a content coding that cannot be read, or with too large a window
	Busy    = "busy"    // as many pages are under way as may be
	NoPlace = "noplace" // no head was found in the beginning
)

// Wanted says whether a request is a navigation whose answer may get the script. A part of a page has no place of its own.
func Wanted(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		return false
	}
	switch r.Header.Get("Sec-Fetch-Dest") {
	case "document":
		return r.Header.Get("Range") == ""
	case "": // an old browser, or an address without TLS
		return strings.HasPrefix(r.Header.Get("Accept"), "text/html") && r.Header.Get("X-Requested-With") == "" && r.Header.Get("Range") == ""
	}
	return false
}

// Ask puts right what a wanted request says about the copy of the page that the browser has: the app knows the page by the ETag
// that it gave it. A copy with another script than today's is not to be found fresh. It returns what was asked for, for Page.
func (t *Tracker) Ask(h http.Header) (asked []string) {
	asked = h["If-None-Match"]
	for _, name := range []string{"If-None-Match", "If-Match"} {
		lines, ok := h[name]
		if !ok || !strings.Contains(strings.Join(lines, ","), "-or") {
			continue
		}
		var kept []string
		for _, tag := range tags(lines) {
			own, ours := t.untag(tag)
			if ours && own == "" {
				continue
			}
			kept = append(kept, own)
		}
		if delete(h, name); len(kept) > 0 {
			h[name] = []string{strings.Join(kept, ", ")}
		}
	}
	return asked
}

// tags cuts a list of ETags, in which commas may stand between quotes.
func tags(lines []string) (all []string) {
	rest := strings.Join(lines, ",")
	for {
		rest = strings.TrimLeft(rest, " \t,")
		if rest == "" {
			return all
		}
		end := strings.IndexByte(rest, ',')
		if q := strings.IndexByte(rest, '"'); q >= 0 && (end < 0 || q < end) {
			if close := strings.IndexByte(rest[q+1:], '"'); close >= 0 {
				end = q + 1 + close + 1
			}
		}
		if end < 0 || end > len(rest) {
			end = len(rest)
		}
		all = append(all, strings.TrimSpace(rest[:end]))
		rest = rest[end:]
	}
}

// retag gives the ETag of a page with the script. It is weak, since the bytes may differ from one answer to the next.
func (t *Tracker) retag(tag string) string {
	body, ok := strings.CutSuffix(strings.TrimPrefix(tag, "W/"), `"`)
	if !ok {
		return ""
	}
	strong := "s"
	if strings.HasPrefix(tag, "W/") {
		strong = "w"
	}
	return "W/" + body + t.tag + strong + `"`
}

// untag gives the app's own ETag. ours says that it was one of a page with a script, and own is empty if not with this one.
func (t *Tracker) untag(tag string) (own string, ours bool) {
	body, ok := strings.CutPrefix(tag, "W/")
	i := strings.LastIndex(body, "-or")
	if !ok || i < 0 || len(body)-i != len(t.tag)+2 || body[len(body)-1] != '"' {
		return tag, false
	}
	if body[i:i+len(t.tag)] != t.tag {
		return "", true
	}
	own = body[:i] + `"`
	if body[len(body)-2] == 'w' {
		own = "W/" + own
	}
	return own, true
}

// Page puts the script into the answer to a wanted request, if it is a page that may have it. origin is the page's own. what
// says what came of it, "" where it is no page; place is called once it is known whether a place was found. asked is what Ask
// returned.
func (t *Tracker) Page(resp *http.Response, r *http.Request, asked []string, origin string, place func(found bool)) (what string) {
	h := resp.Header
	if resp.StatusCode == http.StatusNotModified {
		t.unchanged(h, asked)
		return ""
	}
	charset, ok := page(resp)
	switch {
	case !ok:
		return ""
	case hasWord(h["Cache-Control"], "no-transform"):
		return Fixed
	case !t.allowed(h, strings.ToLower(origin)):
		return Policy
	}
	body, what := t.recode(resp, accepts(r.Header, "gzip"))
	if body == nil {
		return what
	}
	body.prolog, body.place = newProlog(t.snippet, charset), place
	resp.Body = body
	t.head(resp, r)
	return Done
}

// unchanged names the copy that the browser has as it knows it.
func (t *Tracker) unchanged(h http.Header, asked []string) {
	if tag := h.Get("Etag"); tag != "" && slices.Contains(tags(asked), t.retag(tag)) {
		h["Etag"] = []string{t.retag(tag)}
	}
}

// page says whether the answer is an HTML document, and in which charset as far as its head tells.
func page(resp *http.Response) (charset string, ok bool) {
	h := resp.Header
	kind, params, _ := mime.ParseMediaType(h.Get("Content-Type")) // parameters that cannot be read are none
	if kind != "text/html" {
		return "", false
	}
	switch s := resp.StatusCode; {
	case s < 200, s == http.StatusNoContent, s == http.StatusResetContent, s == http.StatusPartialContent, s >= 300 && s < 400:
		return "", false
	}
	if disposition, _, _ := strings.Cut(h.Get("Content-Disposition"), ";"); strings.EqualFold(strings.TrimSpace(disposition), "attachment") {
		return "", false
	}
	return params["charset"], resp.ContentLength != 0 && len(h["Content-Range"]) == 0
}

// head says what the page is now.
func (t *Tracker) head(resp *http.Response, r *http.Request) {
	h := resp.Header
	resp.ContentLength = -1
	if r.ProtoMajor == 1 {
		resp.TransferEncoding = []string{"chunked"}
	}
	for _, name := range []string{"Content-Length", "Content-Md5", "Digest", "Content-Digest", "Repr-Digest", "Accept-Ranges"} {
		delete(h, name)
	}
	if tag := h.Get("Etag"); tag != "" {
		if delete(h, "Etag"); t.retag(tag) != "" {
			h["Etag"] = []string{t.retag(tag)}
		}
	}
	h["Vary"] = append(h["Vary"][:len(h["Vary"]):len(h["Vary"])], "Sec-Fetch-Dest")
}

func hasWord(lines []string, word string) bool {
	for _, line := range lines {
		for item := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(item), word) {
				return true
			}
		}
	}
	return false
}

// A budget bounds the memory of the pages that are under way.
type budget struct{ used atomic.Int64 }

const (
	maxUsed   = 32 << 20
	encoding  = 1 << 20 // what a gzip writer takes
	plainCost = 128 << 10
)

func (b *budget) take(n int64) bool {
	if b.used.Add(n) > maxUsed {
		b.used.Add(-n)
		return false
	}
	return true
}

// A rewriting is a page's body on its way: decoded where it was coded, with the script put in, and coded again.
type rewriting struct {
	body   io.ReadCloser // the app's
	source io.Reader     // the same, decoded
	prolog *prolog
	place  func(found bool)
	coded  *gzip.Writer // nil where the page goes out plain
	out    bytes.Buffer
	piece  []byte
	err    error
	free   func()
	closed sync.Once
}

// Read gives what came of the next bytes of the page, as soon as they are there.
func (w *rewriting) Read(p []byte) (int, error) {
	for w.out.Len() == 0 {
		if w.err != nil {
			return 0, w.err
		}
		w.next()
	}
	return w.out.Read(p)
}

func (w *rewriting) next() {
	n, err := w.source.Read(w.piece)
	if n > 0 {
		w.write(w.prolog.feed(w.piece[:n]))
		w.tell()
	}
	if err == nil {
		if w.coded != nil && n > 0 {
			w.coded.Flush()
		}
		return
	}
	w.err = err
	if !w.prolog.over {
		w.write(w.prolog.rest())
		w.prolog.over = true
		w.tell()
	}
	if err != io.EOF {
		return
	}
	if w.coded != nil {
		w.coded.Close()
	}
	io.Copy(io.Discard, w.body) // a coded page may end before its body does, whose connection is to be used again
}

func (w *rewriting) write(b []byte) {
	if len(b) == 0 {
		return
	}
	if w.coded != nil {
		w.coded.Write(b)
	} else {
		w.out.Write(b)
	}
}

// tell says once whether there was a place for the script.
func (w *rewriting) tell() {
	if w.prolog.over && w.place != nil {
		w.place(w.prolog.found)
		w.place = nil
	}
}

// Close ends the page, also in its middle.
func (w *rewriting) Close() error {
	w.closed.Do(func() {
		w.err = http.ErrBodyReadAfterClose
		w.free()
	})
	return w.body.Close()
}
