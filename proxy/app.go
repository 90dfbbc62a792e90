package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// app is the way to the one app. No address in a request can lead anywhere else: the dialer has one destination.
type app struct {
	scheme, host  string // what stands in outgoing URLs; host goes out as Host where a client sent none
	network, addr string
	connect       func(ctx context.Context, network, addr string) (net.Conn, error)
	tls           *tls.Config
	answerTimeout time.Duration
	keepsClients  bool // the app is to see its clients' addresses
	clients       *clientSide
	addresses     *ownAddresses // nil: connections have the address that the machine gives them

	h1 *hops
	h2 *http.Transport

	mu    sync.Mutex    // guards keeps
	keeps time.Duration // how long the app keeps an idle connection, as far as it said; 0: it did not say
}

func newApp(c Config) (*app, error) {
	dialer := &net.Dialer{Timeout: dialLimit, KeepAlive: 30 * time.Second}
	a := &app{answerTimeout: c.AnswerTimeout, connect: dialer.DialContext, keepsClients: c.KeepClientAddress}
	if err := a.parse(c.App); err != nil {
		return nil, err
	}
	if a.keepsClients {
		if err := a.mayKeepClients(); err != nil {
			return nil, err
		}
	}
	if c.ConnectionAddress {
		if err := a.mayGiveAddresses(); err != nil {
			return nil, err
		}
		a.addresses = newOwnAddresses()
	}
	if err := a.secure(c); err != nil {
		return nil, err
	}
	a.h1, a.h2 = newHops(a, defaultIdle), a.transport()
	return a, nil
}

// parse reads http://HOST:PORT, https://HOST:PORT or unix:/PATH.
func (a *app) parse(text string) error {
	hint := func(why string) error {
		return fmt.Errorf("app %q: %s; write http://HOST:PORT, https://HOST:PORT or unix:/PATH", text, why)
	}
	if path, ok := strings.CutPrefix(text, "unix:"); ok {
		if path = strings.TrimPrefix(path, "//"); !strings.HasPrefix(path, "/") {
			return hint("the socket's path is not absolute")
		}
		a.scheme, a.host, a.network, a.addr = "http", "localhost", "unix", path
		return nil
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return hint("not a URL")
	case u.Scheme != "http" && u.Scheme != "https":
		return hint("neither http nor https nor unix")
	case u.Hostname() == "":
		return hint("no host")
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.User != nil:
		return hint("more than a host and a port, and paths are handed on as they come")
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	a.scheme, a.host, a.network, a.addr = u.Scheme, u.Host, "tcp", net.JoinHostPort(u.Hostname(), port)
	return nil
}

func (a *app) secure(c Config) error {
	if a.scheme != "https" {
		return nil
	}
	a.tls = &tls.Config{ServerName: c.AppServerName, NextProtos: []string{"http/1.1"}, ClientSessionCache: tls.NewLRUClientSessionCache(16)}
	if a.tls.ServerName == "" {
		a.tls.ServerName, _, _ = net.SplitHostPort(a.addr)
	}
	if c.AppCA == "" {
		return nil
	}
	pem, err := os.ReadFile(c.AppCA)
	if err != nil {
		return fmt.Errorf("the app's authorities: %w", err)
	}
	a.tls.RootCAs = x509.NewCertPool()
	if !a.tls.RootCAs.AppendCertsFromPEM(pem) {
		return fmt.Errorf("the app's authorities: %s holds no PEM certificate", c.AppCA)
	}
	return nil
}

// transport is the way in HTTP/2. It sets nothing that would change a message, and reads no proxy environment variables.
func (a *app) transport() *http.Transport {
	t := &http.Transport{
		DialContext:           a.dial,
		DisableCompression:    true,
		IdleConnTimeout:       time.Minute, // a server that closes an idle HTTP/2 connection says so: no race
		ExpectContinueTimeout: continueAfter,
		ResponseHeaderTimeout: a.answerTimeout,
		TLSHandshakeTimeout:   dialLimit,
		Protocols:             new(http.Protocols),
	}
	t.Protocols.SetUnencryptedHTTP2(a.tls == nil)
	t.Protocols.SetHTTP2(a.tls != nil)
	t.Protocols.SetHTTP1(a.tls != nil)
	if a.keepsClients {
		t.MaxIdleConns = clientSideIdle
	}
	if a.tls != nil {
		t.TLSClientConfig = a.tls.Clone()
		t.TLSClientConfig.NextProtos = nil // the transport offers its own
	}
	return t
}

func (a *app) dial(ctx context.Context, _, pool string) (net.Conn, error) {
	conn, err := a.connectFor(ctx, pool)
	if err != nil {
		return nil, err
	}
	return &appConn{Conn: conn}, nil
}

func (a *app) close() {
	a.h1.close()
	a.h2.CloseIdleConnections()
}

// An idle connection must be given up before the app does it: a request that is on its way while the app closes is lost,
// and a POST must not be sent twice. Apps of all kinds keep theirs for 2 s at least, most for 5 s and more.
const defaultIdle = time.Second

// learn takes the app's word for how long it keeps idle connections, its Keep-Alive header. The shortest one counts.
func (a *app) learn(keepAlive string) {
	keeps, ok := parseKeepAlive(keepAlive)
	if !ok {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.keeps != 0 && keeps >= a.keeps {
		return
	}
	a.keeps = keeps
	a.h1.shorten(idleFor(keeps))
}

// idleFor leaves the app a second, or half of its time where that is less.
func idleFor(keeps time.Duration) time.Duration { return max(keeps-time.Second, keeps/2) }

// parseKeepAlive reads "timeout=5, max=100". Apps use it as RFC 2068, 19.7.1.1 had it.
func parseKeepAlive(value string) (time.Duration, bool) {
	for field := range strings.SplitSeq(value, ",") {
		name, seconds, _ := strings.Cut(strings.TrimSpace(field), "=")
		if !strings.EqualFold(name, "timeout") {
			continue
		}
		n, err := strconv.ParseUint(strings.Trim(seconds, `"`), 10, 16)
		return max(time.Duration(n)*time.Second, time.Nanosecond), err == nil
	}
	return 0, false
}

// appConn is our end of a connection to the app. It knows how much was written, which tells a request that was provably
// not read from one that may have been, and for whom it works, so that nobody closes it for another.
type appConn struct {
	net.Conn
	written atomic.Int64

	ended atomic.Bool // we have said that nothing more will come

	mu   sync.Mutex
	user *exchange
}

var errHalfClosed = errors.New("the client has closed its side")

func (c *appConn) Write(b []byte) (int, error) {
	if c.ended.Load() {
		return 0, errHalfClosed
	}
	n, err := c.Conn.Write(b)
	c.written.Add(int64(n))
	return n, err
}

func (c *appConn) CloseWrite() error { return closeWrite(c.Conn) }

// use makes the connection work for x.
func (c *appConn) use(x *exchange) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.user = x
}

// end passes on that x's client has closed its side, unless the connection works for another by now. The app then decides
// what that means, as it would have without us. over is the connection itself or the TLS on it.
func (c *appConn) end(x *exchange, over net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.user != x {
		return
	}
	closeWrite(over)
	c.ended.Store(true)
}

// release ends the work for x. A connection on which we have said that nothing more will come serves nobody else.
func (c *appConn) release(x *exchange) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.user != x {
		return
	}
	c.user = nil
	if c.ended.Load() {
		c.Conn.Close()
	}
}

// local is our address and port of the connection, by which the app knows it. A unix socket has none.
func local(c net.Conn) netip.AddrPort {
	if tcp, ok := c.LocalAddr().(*net.TCPAddr); ok {
		a := tcp.AddrPort()
		return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
	}
	return netip.AddrPort{}
}

func rawConn(c net.Conn) *appConn {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	raw, _ := c.(*appConn)
	return raw
}
