package proxy

import (
	"io"
	"net/http"
	"net/textproto"
	"strings"
	"sync"
	"time"
)

// answer is what goproxy writes the app's answer to. It copies with a pooled buffer, sends what has come when nothing
// more is ready, keeps the HTTP server from adding headers, and cuts the connection where the app's answer broke off.
type answer struct {
	http.ResponseWriter
	x       *exchange
	request *http.Request  // the client's
	resp    *http.Response // the app's
	page    errorPage

	mu      sync.Mutex // guards the ResponseWriter: interim answers and late flushes come from other goroutines
	head    bool       // the final head has come in: no more interim answers
	timer   *time.Timer
	armed   bool
	closed  bool
	instant bool // flush after each piece
}

// flushAfter is how long a head or a piece of the body waits for more to go out with. It saves most small answers a
// system call or two, and is below what anybody can notice.
const flushAfter = time.Millisecond

// pieces are the buffers of bodies under way.
var pieces = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// headIn ends the time of interim answers.
func (a *answer) headIn() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.head = true
}

// informational passes on 103 and its kind. 100 is for the transport: it opens the upload, and so the client gets its own.
func (a *answer) informational(status int, header textproto.MIMEHeader) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.head || status == http.StatusContinue || !a.request.ProtoAtLeast(1, 1) {
		return nil
	}
	h := a.Header()
	for name, values := range header {
		h[name] = values
	}
	stripAnswer(h, status)
	a.ResponseWriter.WriteHeader(status)
	clear(h)
	return nil
}

// WriteHeader sends the head as the app sent it.
func (a *answer) WriteHeader(status int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	h := a.Header()
	absent(h, "Date")
	absent(h, "Content-Type")
	if a.x.proxy.draining.Load() {
		h["Connection"] = []string{"close"} // to HTTP/2 clients the server says it with GOAWAY
	}
	if a.request.ProtoMajor == 1 {
		a.frame(h, status)
	}
	a.ResponseWriter.WriteHeader(status)
	// From here on goproxy would look at these two, and flush in a way that loses the copy below.
	delete(h, "Transfer-Encoding")
	if strings.HasPrefix(h.Get("Content-Type"), "text/event-stream") {
		delete(h, "Content-Type")
	}
	if !a.isHere() {
		a.sent()
	}
}

// isHere says whether the body has come with the head, so that both go out together without anybody's waiting.
func (a *answer) isHere() bool {
	if a.resp.ContentLength == 0 || a.resp.Body == http.NoBody {
		return true
	}
	b, ok := a.resp.Body.(*answerBody)
	return ok && a.resp.ContentLength > 0 && int64(b.passage.hop.r.Buffered()) >= a.resp.ContentLength
}

// frame says how the answer ends, and whether its connection does. It must where the upload was not read to its end: what
// is left of that would be taken for the next request, and without the word the HTTP server would hold the answer back
// until it has read it.
func (a *answer) frame(h http.Header, status int) {
	if !a.x.body.complete() {
		h["Connection"] = []string{"close"}
	}
	if len(a.resp.TransferEncoding) > 0 && a.request.ProtoAtLeast(1, 1) {
		h["Transfer-Encoding"] = []string{"chunked"} // else a short body would get a Content-Length instead
	}
	if status == http.StatusNotModified {
		respell(h, "Content-Type", "Content-type") // the server takes these two out where they are spelt as usual
		respell(h, "Content-Length", "Content-length")
	}
}

// absent keeps a header that the app did not send from being made up.
func absent(h http.Header, name string) {
	if _, ok := h[name]; !ok {
		h[name] = nil
	}
}

func respell(h http.Header, from, to string) {
	if values, ok := h[from]; ok && values != nil {
		h[to] = values
		h[from] = nil
	}
}

// ReadFrom copies the body. An answer that breaks off must not look complete: the panic makes the HTTP server cut the
// connection, after what has come was passed on.
func (a *answer) ReadFrom(body io.Reader) (n int64, err error) {
	if app := a.straight(body); app != nil {
		return a.pass(body.(*answerBody), app)
	}
	buf := pieces.Get().(*[32 << 10]byte)
	defer pieces.Put(buf)
	for {
		size, readErr := body.Read(buf[:])
		if size > 0 {
			n += int64(size)
			if err := a.write(buf[:size], n == a.resp.ContentLength && a.x.body.complete()); err != nil {
				return n, err
			}
		}
		switch readErr {
		case nil:
		case io.EOF:
			return n, nil
		default:
			a.x.proxy.metrics.failed("cut_off")
			a.flush()
			panic(http.ErrAbortHandler)
		}
	}
}

// Write is for the few answers that are the proxy's own.
func (a *answer) Write(p []byte) (int, error) { return len(p), a.write(p, false) }

// write sends p. The HTTP server sends the last piece right away, unless it has to wait for the end of an upload.
func (a *answer) write(p []byte, last bool) error {
	a.page.add(p)
	a.mu.Lock()
	defer a.mu.Unlock()
	_, err := a.ResponseWriter.Write(p)
	if err == nil && !last {
		a.sent()
	}
	return err
}

// sent sees to it that what was written goes out, now or very soon. The caller holds mu.
func (a *answer) sent() {
	switch {
	case a.instant:
		a.flushLocked()
	case a.armed:
	case a.timer == nil:
		a.armed, a.timer = true, time.AfterFunc(flushAfter, a.late)
	default:
		a.armed = true
		a.timer.Reset(flushAfter)
	}
}

func (a *answer) late() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.armed && !a.closed {
		a.flushLocked()
	}
	a.armed = false
}

func (a *answer) flush() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.flushLocked()
}

// FlushError is for http.ResponseController, by which goproxy makes room for trailers.
func (a *answer) FlushError() error {
	a.flush()
	return nil
}

func (a *answer) flushLocked() { http.NewResponseController(a.ResponseWriter).Flush() }

// close ends the answer: nothing is sent any more by others than the HTTP server.
func (a *answer) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.head, a.closed = true, true
	if a.timer != nil {
		a.timer.Stop()
	}
}
