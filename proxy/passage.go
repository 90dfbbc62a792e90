package proxy

import (
	"io"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A passage is one exchange's use of a hop.
type passage struct {
	x    *exchange
	hop  *hop
	done chan struct{} // closed when nothing more of the request goes out; nil where it has no body

	mu       sync.Mutex
	sent     bool  // the request is out, to its end
	headIn   bool  // the answer's head has come
	complete bool  // the answer was read to its end, and the connection may go on
	failed   error // why the request is not out
}

// cross sends the request to the app on a connection of its own for as long as it takes, and reads the answer's head.
func (x *exchange) cross(s *hops, r *http.Request) (*http.Response, error) {
	h, reused, err := s.take(x, r.URL.Host)
	if err != nil {
		return nil, err
	}
	p := &passage{x: x, hop: h}
	x.hold(h)
	h.raw.use(x)
	x.gotConn(link{conn: h.conn, raw: h.raw, reused: reused, written: h.raw.written.Load(), passage: p}, h.own)
	x.put(p, r)
	resp, err := h.answer(x, r)
	if err != nil {
		p.end()
		p.settle(lastWord)
		return nil, p.why(err)
	}
	p.head()
	if resp.StatusCode == http.StatusSwitchingProtocols {
		x.letGo()
		resp.Body = &changed{h}
		return resp, nil
	}
	if resp.Body == http.NoBody {
		p.read(!resp.Close)
	} else {
		resp.Body = &answerBody{resp.Body, p, !resp.Close}
	}
	return resp, nil
}

// put sends the request: at once, or beside the reading of the answer where it has a body. An app may answer before it
// has read all of it.
func (x *exchange) put(p *passage, r *http.Request) {
	b := pieces.Get().(*[32 << 10]byte)
	head := appendHead(b[:0], r)
	if x.body.body != nil {
		p.done = make(chan struct{})
		go x.upload(p, r, head, b)
		return
	}
	_, err := p.hop.conn.Write(head)
	pieces.Put(b)
	x.sent(p, err)
}

// lastWord is how long an app that reads no more may take to say why.
const lastWord = 50 * time.Millisecond

// sent notes that the request is out, or why it is not.
func (x *exchange) sent(p *passage, err error) {
	wait := x.proxy.app.answerTimeout
	if err != nil {
		wait = lastWord
	}
	p.mu.Lock()
	p.sent, p.failed = err == nil, err
	if wait > 0 && !p.headIn {
		p.hop.conn.SetReadDeadline(time.Now().Add(wait))
	}
	p.mu.Unlock()
	x.wroteRequest(err)
}

// settle waits a moment for the sending to end, so that it is known whether anything was sent. A client that is slow with
// its body is not waited for: its request counts as sent.
func (p *passage) settle(wait time.Duration) {
	if p.done == nil {
		return
	}
	select {
	case <-p.done:
	case <-time.After(wait):
	}
}

// why gives the first cause of an answer that did not come.
func (p *passage) why(err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed != nil {
		return p.failed
	}
	return err
}

// head notes that the answer's head has come, after which the app may take its time.
func (p *passage) head() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.headIn = true
	if p.hop.hops.app.answerTimeout > 0 || p.failed != nil {
		p.hop.conn.SetReadDeadline(time.Time{})
	}
}

// read notes that the answer was read to its end.
func (p *passage) read(goesOn bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.complete = goesOn
}

// whole says whether the answer was read to its end.
func (p *passage) whole() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.complete
}

// end gives the connection back, if both directions came to their ends on it. An app's answer may be here before the
// sender has noted that its last piece is out.
func (p *passage) end() {
	if p.whole() {
		p.settle(flushAfter)
	}
	p.mu.Lock()
	fit := p.sent && p.complete
	p.sent, p.complete = false, false
	p.mu.Unlock()
	if p.x.letGo() && fit && p.hop.r.Buffered() == 0 && !p.hop.raw.ended.Load() {
		p.hop.hops.put(p.hop)
		return
	}
	p.hop.close()
}

// answerBody is an answer's body. Closing it does not read what is left, which may be endless.
type answerBody struct {
	io.ReadCloser
	passage *passage
	goesOn  bool
}

func (b *answerBody) Read(buf []byte) (int, error) {
	n, err := b.ReadCloser.Read(buf)
	if err == io.EOF {
		b.passage.read(b.goesOn)
	}
	return n, err
}

func (b *answerBody) Close() error { return nil }

// changed is a connection whose protocol was changed.
type changed struct{ hop *hop }

func (c *changed) Read(p []byte) (int, error)  { return c.hop.r.Read(p) }
func (c *changed) Write(p []byte) (int, error) { return c.hop.conn.Write(p) }
func (c *changed) Close() error                { return c.hop.conn.Close() }
func (c *changed) CloseWrite() error           { return closeWrite(c.hop.conn) }

// names are those of a head's lines while it is written.
var names = sync.Pool{New: func() any { return new([]string) }}

// appendHead writes a request's head, the lines in the order of their names. All of it has passed net/http's server, which
// lets no line end and no other control character through.
func appendHead(b []byte, r *http.Request) []byte {
	b = append(b, r.Method...)
	b = append(b, ' ')
	b = append(b, targetOf(r)...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, r.Host...)
	b = append(b, "\r\n"...)
	keys := names.Get().(*[]string)
	defer names.Put(keys)
	*keys = (*keys)[:0]
	for name := range r.Header {
		*keys = append(*keys, name)
	}
	slices.Sort(*keys)
	for _, name := range *keys {
		if name == "Content-Length" {
			continue
		}
		for _, value := range r.Header[name] {
			b = appendLine(b, name, value)
		}
	}
	switch _, came := r.Header["Content-Length"]; {
	case r.ContentLength < 0:
		b = appendLine(b, "Transfer-Encoding", "chunked")
		if len(r.Trailer) > 0 {
			b = appendLine(b, "Trailer", strings.Join(sortedKeys(r.Trailer), ", "))
		}
	case r.ContentLength > 0 || came:
		b = appendLine(b, "Content-Length", strconv.FormatInt(r.ContentLength, 10))
	}
	return append(b, "\r\n"...)
}

// targetOf is the target as it came, but for what no request line may hold: HTTP/2 lets a space through.
func targetOf(r *http.Request) string {
	if r.URL.Opaque != "" {
		return strings.ReplaceAll(r.URL.Opaque, " ", "%20")
	}
	return r.URL.RequestURI()
}

func appendLine(b []byte, name, value string) []byte {
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, value...)
	return append(b, "\r\n"...)
}

func sortedKeys(h http.Header) []string {
	keys := make([]string, 0, len(h))
	for name := range h {
		keys = append(keys, name)
	}
	slices.Sort(keys)
	return keys
}

// upload sends a request that has a body: the head with the first piece where that is there within a moment, and every
// piece as it comes.
func (x *exchange) upload(p *passage, r *http.Request, head []byte, buf *[32 << 10]byte) {
	defer close(p.done)
	defer pieces.Put(buf)
	before := p.hop.raw.written.Load()
	u := &uploading{conn: p.hop.conn, head: slices.Clone(head), chunked: r.ContentLength < 0}
	room := len(head)
	if x.body.expects != nil || room > len(buf)/2 {
		u.sendHead()
		room = 0
	}
	late := time.AfterFunc(flushAfter, u.sendHead)
	err := u.copy(x.body, buf[:], room, func() bool { return p.hop.raw.written.Load() > before })
	late.Stop()
	if err == nil && u.chunked {
		err = u.finish(r.Trailer)
	}
	if x.body.broken() {
		p.hop.close() // what the client did not finish must not look finished to the app
	}
	x.sent(p, err)
}

// uploading is a body on its way out.
type uploading struct {
	conn    io.Writer
	chunked bool

	mu   sync.Mutex
	head []byte // nil once it is sent
	err  error
}

const (
	chunkHead = 10 // of a piece that fits into a buffer: hexadecimal digits and a line end
	chunkTail = 2
)

// sendHead sends the head without waiting for the body any longer.
func (u *uploading) sendHead() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.head != nil {
		u.send(u.head)
		u.head = nil
	}
}

// send runs under mu.
func (u *uploading) send(b []byte) {
	if u.err == nil {
		_, u.err = u.conn.Write(b)
	}
}

// copy sends the body, piece by piece. A piece stands in the buffer where its frame fits before and behind it, and before
// the first one there is room for the head.
func (u *uploading) copy(body *upload, buf []byte, room int, began func() bool) error {
	for {
		at := room + chunkHead
		n, err := body.Read(buf[at : len(buf)-chunkTail])
		if n > 0 {
			if failed := u.piece(buf, at, n); failed != nil {
				if !began() {
					body.unread(buf[at : at+n])
				}
				return failed
			}
			room = 0
		}
		switch {
		case err == io.EOF:
			u.sendHead()
			u.mu.Lock()
			defer u.mu.Unlock()
			return u.err
		case err != nil:
			return err
		}
	}
}

// piece sends n bytes that stand at an offset of the buffer.
func (u *uploading) piece(buf []byte, at, n int) error {
	from, to := at, at+n
	if u.chunked {
		var digits [chunkHead]byte
		frame := append(strconv.AppendInt(digits[:0], int64(n), 16), "\r\n"...)
		from -= len(frame)
		copy(buf[from:], frame)
		to += copy(buf[to:], "\r\n")
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.head != nil {
		from -= len(u.head)
		copy(buf[from:], u.head)
		u.head = nil
	}
	u.send(buf[from:to])
	return u.err
}

// finish ends a chunked body.
func (u *uploading) finish(trailer http.Header) error {
	end := []byte("0\r\n")
	for _, name := range sortedKeys(trailer) {
		for _, value := range trailer[name] {
			end = appendLine(end, name, textproto.TrimString(value))
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.send(append(end, "\r\n"...))
	return u.err
}
