package proxy

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"sync"
	"time"

	"github.com/elazarl/goproxy"

	"github.com/openreplay/log-sidecar/enrich"
)

// exchange is one request on its way to the app and back.
type exchange struct {
	enrich.Exchange
	proxy     *Proxy
	client    *client // nil where the connection is not one of ours, as in tests of the handler alone
	body      *upload
	answer    answer
	upgrade   string // the protocol that the client wants to change to
	preflight *preflight
	origin    string   // that of the page that asks, where it is not the app's own
	cookies   []string // the request's Cookie lines, as the app gets them
	page      page
	give      string // the cookie of ours that the answer is to set, "" for none

	ready *http.Response // the answer, where it was asked for before goproxy came into play

	mu   sync.Mutex // guards what stands below: the client's end and the transport come from other goroutines
	link link
	gone bool // the client has closed its side

	ended bool
	done  chan struct{} // nil while nobody waits for the end
	hop   *hop          // nil while none is held
}

// link is the connection to the app that an attempt goes by.
type link struct {
	conn    net.Conn // TCP, unix or TLS
	raw     *appConn // the same, below TLS
	reused  bool
	written int64    // how much had been written on it before
	wrote   bool     // the request is out
	passage *passage // nil in HTTP/2
}

// exchangeOf finds the exchange that a request on its way to the app belongs to: it is the request's context.
func exchangeOf(r *http.Request) *exchange { return r.Context().Value(exchangeKey{}).(*exchange) }

type exchangeKey struct{}

// Value, Deadline, Done and Err make an exchange the context of its request to the app. It ends when there is nobody to
// answer, and when the exchange is over.
func (x *exchange) Value(key any) any {
	if key == (exchangeKey{}) {
		return x
	}
	return nil
}

// Deadline says that there is none.
func (x *exchange) Deadline() (t time.Time, ok bool) { return t, false }

// Done is for those who wait; most exchanges have none.
func (x *exchange) Done() <-chan struct{} {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.done == nil {
		x.done = make(chan struct{})
		if x.ended {
			close(x.done)
		}
	}
	return x.done
}

func (x *exchange) Err() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.ended {
		return context.Canceled
	}
	return nil
}

// cancel ends what goes on for the exchange.
func (x *exchange) cancel() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.ended {
		return
	}
	x.ended = true
	if x.done != nil {
		close(x.done)
	}
	if x.hop != nil {
		x.hop.close()
	}
}

// hold makes h go down with the exchange, and letGo ends that. letGo says no where it has happened.
func (x *exchange) hold(h *hop) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.hop = h
	if x.ended {
		h.close()
	}
}

func (x *exchange) letGo() (alive bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.hop = nil
	return !x.ended
}

// serve brings the request to the app and the answer back.
func (x *exchange) serve(r *http.Request) {
	defer x.watch(r)()
	out := x.outgoing(r)
	if x.upgrade != "" {
		if x.ready = x.ask(out); x.ready.StatusCode == http.StatusSwitchingProtocols { //nolint:bodyclose // the tunnel, or the engine, closes it
			x.tunnel(x.ready)
			return
		}
	}
	x.proxy.engine.ServeHTTP(&x.answer, out)
}

// finish runs also where the answer broke off with a panic, which the HTTP server turns into a cut connection.
func (x *exchange) finish() {
	x.answer.close()
	x.release()
	x.cancel()
	x.IDs = x.answer.page.ids(x.IDs)
	x.End = time.Now()
	x.proxy.metrics.done(x)
	x.proxy.end(x)
}

// release leaves the connections as the next exchange may have them.
func (x *exchange) release() {
	x.mu.Lock()
	l := x.link
	x.mu.Unlock()
	if l.raw != nil {
		l.raw.release(x)
	}
	if l.passage != nil {
		l.passage.end()
	}
	if x.body == nil || x.body.complete() {
		return
	}
	x.body.seal()
	if x.answer.request.ProtoMajor == 1 {
		http.NewResponseController(x.answer.ResponseWriter).SetReadDeadline(time.Now().Add(lingering))
	}
}

// lingering is how long a client may go on with an upload whose answer it has, so that a reset does not take that from it.
const lingering = 5 * time.Second

// watch passes on that the client has gone; the function that it returns ends the watch. An HTTP/1 client that merely
// closes its side looks the same at first, and may still wait for its answer: the app is told just that, and decides.
func (x *exchange) watch(r *http.Request) (stop func() bool) {
	if x.client != nil && r.ProtoMajor == 1 && r.TLS == nil {
		return x.client.watch(x) // as it reads; to wait for the request's context costs ten times as much
	}
	return context.AfterFunc(r.Context(), func() { x.left(r.ProtoMajor > 1 || x.client == nil || x.client.broken.Load()) })
}

// left notes that the client has gone altogether, or that it has closed its side.
func (x *exchange) left(altogether bool) {
	if altogether {
		x.cancel()
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.gone = true
	x.halfClose()
}

// halfClose waits until the request is out, for nothing can be sent behind it. The caller holds mu.
func (x *exchange) halfClose() {
	if x.gone && x.link.wrote && x.link.raw != nil {
		x.link.raw.end(x, x.link.conn)
	}
}

// RoundTrip is goproxy's way to the app. It always gives an answer: what goproxy would say of an error has the app's
// address in it.
func (x *exchange) RoundTrip(r *http.Request, _ *goproxy.ProxyCtx) (*http.Response, error) {
	if x.ready != nil {
		return x.ready, nil
	}
	return x.ask(r), nil
}

// ask sends the request and learns from the answer's head.
func (x *exchange) ask(r *http.Request) *http.Response {
	resp, err := x.send(r)
	x.answer.headIn()
	switch {
	case err != nil:
		resp = x.failed(err)
	case resp.StatusCode < 200 && (resp.StatusCode != http.StatusSwitchingProtocols || x.upgrade == ""):
		resp.Body.Close()
		resp = x.failed(errors.New("a final answer with an interim status"))
	}
	x.learn(resp)
	return resp
}

// maxSends bounds how often a request meets a connection that the app is just closing.
const maxSends = 4

// send never sends twice what the app may have read: a request goes out again only if no byte of it was written.
func (x *exchange) send(r *http.Request) (resp *http.Response, err error) {
	for range maxSends {
		x.setLink(link{})
		resp, err = x.roundTrip(r)
		if err == nil || !x.unsent() {
			return resp, err
		}
		x.proxy.metrics.resent.Inc()
	}
	return resp, err
}

func (x *exchange) unsent() bool {
	x.mu.Lock()
	l := x.link
	x.mu.Unlock()
	return x.Err() == nil && l.raw != nil && l.reused && l.raw.written.Load() == l.written && x.body.untouched()
}

func (x *exchange) roundTrip(r *http.Request) (*http.Response, error) {
	if x.speaksH2(r) {
		trace := &httptrace.ClientTrace{
			GotConn: func(info httptrace.GotConnInfo) {
				raw := rawConn(info.Conn)
				l := link{conn: info.Conn, raw: raw, reused: info.Reused}
				if raw != nil {
					l.written = raw.written.Load()
				}
				x.gotConn(l, netip.AddrPort{}) // it serves many at a time, and tells nothing
			},
			WroteRequest:   func(info httptrace.WroteRequestInfo) { x.wroteRequest(info.Err) },
			Got100Continue: x.body.agree,
			Got1xxResponse: x.answer.informational,
		}
		return x.proxy.app.h2.RoundTrip(r.WithContext(httptrace.WithClientTrace(x, trace)))
	}
	return x.cross(x.hops(r), r)
}

// hops chooses the connections. NTLM and Negotiate log in a connection, not a request: a client that does so keeps
// connections of its own, or the next one on them would act under its name.
func (x *exchange) hops(r *http.Request) *hops {
	if x.client != nil && r.ProtoMajor == 1 {
		if own := x.client.own.Load(); own != nil {
			return own
		}
		if logsIn(r.Header) {
			return x.client.pin(x.proxy.app)
		}
	}
	return x.proxy.app.h1
}

// speaksH2 says whether the app is spoken to in HTTP/2. A client that begins with HTTP/2 in plain text knows that the app
// does. Over TLS it was we who offered it, so that only gRPC, which does not exist otherwise, needs it from the app.
func (x *exchange) speaksH2(r *http.Request) bool {
	return r.ProtoMajor == 2 && (r.TLS == nil || isGRPC(r.Header))
}

func (x *exchange) setLink(l link) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.link = l
}

// gotConn notes the connection that the request goes by.
func (x *exchange) gotConn(l link, own netip.AddrPort) {
	x.setLink(l)
	x.Upstream = own
	x.proxy.update(x)
}

// wroteRequest notes that the request is out, or why it is not. It may come from another goroutine than the exchange's.
func (x *exchange) wroteRequest(err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.link.wrote = err == nil
	x.halfClose()
}
