// Package proxy stands in front of the app and reports every exchange.
//
// What it adds to a request is the request ID, and nothing else; what it takes away is what the standards let live for one
// hop only. docs/TRANSPARENCY.md names what is left to notice.
package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/elazarl/goproxy"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/openreplay/log-sidecar/enrich"
	"github.com/openreplay/log-sidecar/internal/keypair"
	"github.com/openreplay/log-sidecar/session"
	"github.com/openreplay/log-sidecar/tracker"
)

// An Observer hears of every exchange with the app. Implementations copy what they keep and never block: the calls stand
// in the request's way. The calls for one exchange never overlap. An Observer that panics costs the report, not the request.
type Observer interface {
	// Begin comes when the request's head is read and nothing has been sent to the app.
	Begin(*enrich.Exchange)
	// Update comes when more is known: the connection to the app was chosen, the answer's head was read.
	Update(*enrich.Exchange)
	// End comes when the answer's last byte is out, or when it broke off.
	End(*enrich.Exchange)
}

// Config says what to stand in front of. Zero values are the defaults.
type Config struct {
	// App is the only place that requests go to: http://HOST:PORT, https://HOST:PORT or unix:/PATH.
	App string
	// AppCA is a PEM file of the authorities that may sign an https app's certificate; the system's where it is empty.
	AppCA string
	// AppServerName is the name that an https app's certificate must have; App's host where it is empty.
	AppServerName string

	// SessionHeaders are the headers that carry the session token; X-OpenReplay-SessionToken where there are none.
	SessionHeaders []string
	// RequestIDHeader is the header that carries the request ID; X-Request-ID where it is empty. An ID that came is kept
	// byte for byte if it stands there once, in 1 to 128 visible ASCII characters; anything else is replaced.
	RequestIDHeader string
	// AnswerRequestID gives the request ID back to the client.
	AnswerRequestID bool
	// TraceParent gives a request that comes without traceparent a new one (W3C Trace Context, level 1), whose trace ID is
	// one of the exchange's IDs; one that came is kept byte for byte, well formed or not. Its flags are 00, which says that
	// nothing was recorded here: no agent begins to record for our sake. The trap: an agent that follows its caller, as
	// OpenTelemetry's does by default (parentbased_always_on), then records no such request at all.
	TraceParent bool
	// ForwardedFor appends the client's address to X-Forwarded-For.
	ForwardedFor bool
	// KeepClientAddress connects to the app from the client's own address, so that the app sees its clients as it did
	// before. It needs Linux, NET_ADMIN or NET_RAW, two routing rules and an app on the loopback: docs/CLIENT-ADDRESS.md.
	// Where these are missing the app sees this machine's address, counted in
	// sidecar_proxy_client_address_lost_total{reason}. Clients of different addresses never share a connection to the app.
	KeepClientAddress bool
	// ConnectionAddress connects to the app from an address out of 127.0.0.0/8 that no other connection has, so that a log
	// line with the client's address names the connection. It needs Linux and an app on 127.0.0.1: docs/MATCHING.md.
	ConnectionAddress bool
	// LocalOnly are paths, with everything below them, that are refused with 403: those that the app shows to its own
	// machine alone, for behind the proxy every client comes from there. nil is LocalOnlyPaths(); empty refuses none.
	LocalOnly []string
	// Sessions learns from the requests that carry the header whose those are that do not; nil learns nothing.
	Sessions *session.Memory
	// SessionCookie lets the answer to a request with the header set a cookie of ours, so that navigations bring the token
	// to every pod. The app never sees it.
	SessionCookie bool
	// Tracker puts OpenReplay's tracker into the app's pages; nil leaves them alone.
	Tracker *tracker.Tracker
	// Ingest is OpenReplay's ingest point, to which the tracker's calls below tracker.IngestPath are relayed; "" relays none.
	Ingest string

	// TLSCert and TLSKey are PEM files to speak TLS to clients; they are read again when they change.
	TLSCert, TLSKey string
	// MaxConnections is how many clients may be connected at a time, 10,000 where it is 0. More wait in the kernel's queue.
	MaxConnections int
	// MaxHeaderBytes bounds a request's head, 1 MiB where it is 0. What is longer is answered with 431.
	MaxHeaderBytes int
	// HeaderTimeout is how long a client may take to send a request's head, 30 s where it is 0. Bodies have no limit.
	HeaderTimeout time.Duration
	// AnswerTimeout is how long the app may take until its answer's head, for ever where it is 0; then the client gets 504.
	AnswerTimeout time.Duration
	// Grace is how long Shutdown still takes new connections, for those who have not yet heard that it leaves.
	Grace time.Duration

	// Log is where the rare words of the proxy go; nil is silence.
	Log *zap.Logger
}

const (
	clientIdle = 650 * time.Second // load balancers keep idle connections for 600 s, and must be the first to close
	dialLimit  = 30 * time.Second
)

// A Proxy takes requests on its listeners and hands them to the one app.
type Proxy struct {
	config   Config
	log      *zap.Logger
	observer Observer
	metrics  *metrics
	server   *http.Server
	engine   *goproxy.ProxyHttpServer
	app      *app
	sessions sessionHeaders
	ids      idHeaders
	refuse   refusal
	memory   *session.Memory
	ingest   *tracker.Ingest // nil where nothing is relayed
	tunnels  tunnels
	gate     gate
	slots    chan struct{} // one for each client that is connected

	serving  atomic.Int32
	draining atomic.Bool
}

// New prepares a proxy. Files that the configuration names are read at once, so that a mistake is said at the start.
func New(c Config, observer Observer, reg prometheus.Registerer) (*Proxy, error) {
	c = c.withDefaults()
	app, err := newApp(c)
	if err != nil {
		return nil, err
	}
	p := &Proxy{
		config: c, log: c.Log, observer: observer, app: app,
		sessions: newSessionHeaders(c.SessionHeaders), ids: newIDHeaders(c.RequestIDHeader, c.TraceParent),
		refuse: newRefusal(c.LocalOnly), memory: c.Sessions,
		slots: make(chan struct{}, c.MaxConnections),
	}
	p.engine = newEngine(p)
	if p.server, err = p.newServer(); err != nil {
		return nil, err
	}
	if c.Ingest != "" {
		drop := append(append([]string{}, c.SessionHeaders...), sessionIDHeader)
		if p.ingest, err = tracker.NewIngest(c.Ingest, drop, p.relayed); err != nil {
			return nil, err
		}
	}
	p.metrics = newMetrics(reg)
	app.clients = &clientSide{connect: connectFrom, lost: p.metrics.clientLost, log: p.log}
	if app.addresses != nil {
		app.addresses.lost, app.addresses.log = p.metrics.addressLost, p.log
	}
	return p, nil
}

func (c Config) withDefaults() Config {
	if len(c.SessionHeaders) == 0 {
		c.SessionHeaders = []string{"X-OpenReplay-SessionToken"}
	}
	if c.RequestIDHeader == "" {
		c.RequestIDHeader = "X-Request-ID"
	}
	if c.LocalOnly == nil {
		c.LocalOnly = LocalOnlyPaths()
	}
	if c.MaxConnections == 0 {
		c.MaxConnections = 10_000
	}
	if c.MaxHeaderBytes == 0 {
		c.MaxHeaderBytes = 1 << 20
	}
	if c.HeaderTimeout == 0 {
		c.HeaderTimeout = 30 * time.Second
	}
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	return c
}

// newEngine sets up goproxy as a reverse proxy. It is not made by its constructor, which reads the proxy environment
// variables and skips TLS verification. Its own transport is never used: each exchange brings its way to the app.
func newEngine(p *Proxy) *goproxy.ProxyHttpServer {
	engine := &goproxy.ProxyHttpServer{
		Logger:          zap.NewStdLog(p.log.WithOptions(zap.IncreaseLevel(zap.ErrorLevel))),
		NonproxyHandler: http.NotFoundHandler(),
		Tr:              &http.Transport{DialContext: p.app.dial},
		KeepHeader:      true, // headers are sorted out in the handler around it
	}
	engine.OnRequest().DoFunc(func(r *http.Request, ctx *goproxy.ProxyCtx) (*http.Request, *http.Response) {
		ctx.RoundTripper = exchangeOf(r)
		return r, nil
	})
	return engine
}

func (p *Proxy) newServer() (*http.Server, error) {
	s := &http.Server{
		Handler:                      p,
		ReadHeaderTimeout:            p.config.HeaderTimeout,
		IdleTimeout:                  clientIdle,
		MaxHeaderBytes:               p.config.MaxHeaderBytes,
		DisableGeneralOptionsHandler: true, // OPTIONS * is the app's to answer
		ErrorLog:                     zap.NewStdLog(p.log.WithOptions(zap.IncreaseLevel(zap.ErrorLevel))),
		Protocols:                    new(http.Protocols),
		ConnContext:                  rememberClient,
		ConnState:                    stateChanged,
	}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetHTTP2(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	if p.config.TLSCert == "" && p.config.TLSKey == "" {
		return s, nil
	}
	pair, err := keypair.New(p.config.TLSCert, p.config.TLSKey, p.log)
	if err != nil {
		return nil, fmt.Errorf("the certificate for clients: %w", err)
	}
	s.TLSConfig = &tls.Config{GetCertificate: pair.Certificate}
	return s, nil
}

// Serve takes clients from the listener until Shutdown, and closes it. It may be called for several listeners. It returns
// nil after Shutdown, else why it could not go on.
func (p *Proxy) Serve(l net.Listener) error {
	p.serving.Add(1)
	defer p.serving.Add(-1)
	l = newLimited(l, p.slots)
	var err error
	if p.server.TLSConfig != nil {
		err = p.server.ServeTLS(l, "", "")
	} else {
		err = p.server.Serve(l)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Ready says whether new requests are taken and handed on: from the first Serve until Shutdown. Whether the app answers is
// not asked. Its own readiness probe knows that better; and while it is down, its clients are to meet what they would meet
// without the proxy.
func (p *Proxy) Ready() error {
	switch {
	case p.draining.Load():
		return errors.New("the proxy is leaving")
	case p.serving.Load() == 0:
		return errors.New("the proxy does not listen yet")
	}
	return nil
}

// Shutdown leaves without harm: Ready says no, for the grace time new connections are still served and each answer asks
// its client to connect anew elsewhere, then the listeners close and WebSocket clients are told to go away; then it waits
// until every exchange has ended. When ctx ends first, what is still open is cut off and ctx's error returned. After it
// returns the observer is not called again.
func (p *Proxy) Shutdown(ctx context.Context) error {
	p.draining.Store(true)
	defer p.app.close()
	wait(ctx, p.config.Grace)
	p.tunnels.leave()
	err := p.server.Shutdown(ctx)
	if err == nil {
		err = p.gate.wait(ctx)
	}
	if err == nil {
		return nil
	}
	p.server.Close()
	p.tunnels.cut()
	p.gate.wait(context.Background())
	return fmt.Errorf("cut off what was still open: %w", err)
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
