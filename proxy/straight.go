package proxy

import (
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"
)

// longBody is from where on a body of known length goes from socket to socket inside the kernel, where it can.
const longBody = 64 << 10

// straight gives the connection to the app whose bytes can go to the client as they are, nil where somebody in between
// has to see or to change them: TLS, HTTP/2, an error page, an upload that still goes on.
func (a *answer) straight(body io.Reader) *net.TCPConn {
	b, ok := body.(*answerBody)
	if !ok || a.resp.ContentLength < longBody || a.page.wanted || a.request.ProtoMajor > 1 || a.request.TLS != nil || !a.x.body.complete() {
		return nil
	}
	raw, ok := b.passage.hop.conn.(*appConn)
	if !ok {
		return nil
	}
	tcp, _ := raw.Conn.(*net.TCPConn)
	return tcp
}

// pass moves a body from the app's connection to the client's, each piece as it comes. What the reader of the head has
// taken beyond that goes out together with the head.
func (a *answer) pass(body *answerBody, app *net.TCPConn) (n int64, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.armed = false
	r := body.passage.hop.r
	begun, _ := r.Peek(int(min(int64(r.Buffered()), a.resp.ContentLength)))
	size, err := a.ResponseWriter.Write(begun)
	r.Discard(size)
	if err != nil {
		return int64(size), err
	}
	a.flushLocked()
	rest := a.resp.ContentLength - int64(size)
	n, err = a.ResponseWriter.(io.ReaderFrom).ReadFrom(&io.LimitedReader{R: app, N: rest})
	if n == rest {
		body.passage.read(body.goesOn)
		return int64(size) + n, nil
	}
	if errors.Is(err, syscall.EPIPE) || a.x.Err() != nil {
		return int64(size) + n, err // it is the client that has gone
	}
	a.x.proxy.metrics.failed("cut_off")
	panic(http.ErrAbortHandler)
}
