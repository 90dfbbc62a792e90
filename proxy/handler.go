package proxy

import (
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/openreplay/log-sidecar/tracker"
)

// ServeHTTP handles one request. What goproxy by itself would change in it is set right here, around goproxy.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !p.gate.enter() {
		panic(http.ErrAbortHandler)
	}
	defer p.gate.leave()
	target := originForm(r)
	switch {
	case r.Method == http.MethodConnect:
		p.metrics.refused.WithLabelValues("connect").Inc()
		deny(w, http.StatusMethodNotAllowed)
		return
	case p.refuse.matches(target):
		p.metrics.refused.WithLabelValues("local_only").Inc()
		deny(w, http.StatusForbidden)
		return
	case p.serveOwn(w, r, target):
		return
	}
	x := p.newExchange(w, r, target)
	defer x.finish()
	p.begin(x)
	x.serve(r)
}

// deny answers without a word on why.
func deny(w http.ResponseWriter, status int) {
	w.Header().Set("Connection", "close") // whatever body comes is not waited for
	http.Error(w, http.StatusText(status), status)
}

// originForm is the request's target as the app is to get it: path and query, byte for byte. A target with scheme and
// host, as forward proxies get it, loses these: the app is the only place to go.
func originForm(r *http.Request) string {
	target := r.RequestURI
	if strings.HasPrefix(target, "/") || target == "*" {
		return target
	}
	_, rest, ok := strings.Cut(target, "://")
	if !ok {
		return target
	}
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		rest = rest[i:]
	} else {
		rest = ""
	}
	switch {
	case rest == "" && r.Method == http.MethodOptions:
		return "*"
	case !strings.HasPrefix(rest, "/"):
		return "/" + rest
	}
	return rest
}

// outgoing is the request as it goes to the app.
func (x *exchange) outgoing(r *http.Request) *http.Request {
	if r.ProtoMajor == 1 && r.ContentLength < 0 && r.Trailer == nil {
		r.Trailer = http.Header{} // there may be trailers that were not announced
	}
	r = r.WithContext(x)
	r.RequestURI = ""
	if r.Host == "" {
		r.Host = x.proxy.app.host
	}
	h2 := x.speaksH2(r)
	r.URL = x.proxy.app.url(r.URL, x.Target, x.proxy.app.pool(x.Client), h2)
	r.Close = false
	stripRequest(r.Header, x.upgrade)
	if h2 {
		keepAgent(r.Header)
	}
	r.Header[x.proxy.ids.main] = []string{x.ID}
	if x.proxy.config.ForwardedFor {
		appendForwardedFor(r.Header, x.Client)
	}
	x.preflight = newPreflight(r, x.proxy.sessions)
	if x.proxy.config.Tracker != nil && x.upgrade == "" && tracker.Wanted(r) {
		x.page.wanted, x.page.asked = true, x.proxy.config.Tracker.Ask(r.Header)
	}
	x.body = newUpload(r)
	return r
}

// url leads to the app whatever the request says, with the target untouched. Only in HTTP/2 a target that begins with two
// slashes has to go through Go's encoder, which would take it for a host.
func (a *app) url(in *url.URL, target, pool string, h2 bool) *url.URL {
	if h2 && strings.HasPrefix(target, "//") {
		return &url.URL{Scheme: a.scheme, Host: pool, Path: in.Path, RawPath: in.RawPath, RawQuery: in.RawQuery, ForceQuery: in.ForceQuery}
	}
	return &url.URL{Scheme: a.scheme, Host: pool, Opaque: target}
}

// newExchange collects what the request's head tells.
func (p *Proxy) newExchange(w http.ResponseWriter, r *http.Request, target string) *exchange {
	x := &exchange{proxy: p, client: clientOf(r), upgrade: upgradeOf(r)}
	x.Begin = time.Now()
	x.Method, x.Target = r.Method, target
	x.Client, _, _ = net.SplitHostPort(r.RemoteAddr)
	p.identify(x, r)
	x.answer = answer{ResponseWriter: w, x: x, request: r}
	return x
}

// identify finds out which request of whose session this is.
func (p *Proxy) identify(x *exchange, r *http.Request) {
	h := r.Header
	var origin string
	x.ID, origin = p.ids.request(h)
	p.ids.complete(h)
	x.IDs = p.ids.others(x.IDs, h)
	by := p.whose(x, r)
	p.metrics.ids[origin].Inc()
	p.metrics.sessions[by].Inc()
}

// The observer is foreign code in the request's way: its panic is counted, and the request goes on.
func (p *Proxy) begin(x *exchange)  { defer p.shield(); p.observer.Begin(&x.Exchange) }
func (p *Proxy) update(x *exchange) { defer p.shield(); p.observer.Update(&x.Exchange) }
func (p *Proxy) end(x *exchange)    { defer p.shield(); p.observer.End(&x.Exchange) }

func (p *Proxy) shield() {
	if v := recover(); v != nil {
		p.metrics.panics.Inc()
		p.log.Error("a part behind the proxy failed; the request goes on, its errors may have no session",
			zap.Any("panic", v), zap.Stack("stack"))
	}
}
