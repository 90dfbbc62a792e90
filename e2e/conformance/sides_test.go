package conformance

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openreplay/log-sidecar/internal/testcert"
	"github.com/openreplay/log-sidecar/proxy"
)

func listen(t testing.TB, network, addr string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// passes sends one POST through, and gives the connection on which the client did it.
func passes(t *testing.T, client net.Conn, app net.Listener) {
	t.Helper()
	defer func() {
		if v := recover(); v != nil {
			t.Fatal(v)
		}
	}()
	s := &stage{t: t, listener: app}
	s.serve(echo, 0)
	w := newWire(client, "client")
	w.say("POST /x HTTP/1.1\nHost: a\nContent-Length: 2\n\nok")
	if body, _ := w.body(w.head()); body != "/x ok" {
		t.Errorf("the answer is %q", body)
	}
}

func dial(t *testing.T, network, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestAppOnAUnixSocket(t *testing.T) {
	app := listen(t, "unix", filepath.Join(t.TempDir(), "app.sock"))
	addr := startProxy(t, proxy.Config{App: "unix:" + app.Addr().String()})
	passes(t, dial(t, "tcp", addr), app)
}

func TestAppOnIPv6(t *testing.T) {
	app, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("this machine has no IPv6")
	}
	t.Cleanup(func() { app.Close() })
	front := listen(t, "tcp", "[::1]:0")
	serveProxy(t, proxy.Config{App: "http://" + app.Addr().String()}, front)
	passes(t, dial(t, "tcp", front.Addr().String()), app)
}

func TestAppBehindTLS(t *testing.T) {
	pair := testcert.New(t, "legacy.internal")
	cert, _ := pair.Write(t, t.TempDir())
	app := tls.NewListener(listen(t, "tcp", "127.0.0.1:0"), &tls.Config{Certificates: []tls.Certificate{pair.TLS}})
	url := "https://" + app.Addr().String()
	addr := startProxy(t, proxy.Config{App: url, AppCA: cert, AppServerName: "legacy.internal"})
	passes(t, dial(t, "tcp", addr), app)

	// A certificate for another name is no app of ours.
	stranger := startProxy(t, proxy.Config{App: url, AppCA: cert, AppServerName: "other.internal"})
	w := newWire(dial(t, "tcp", stranger), "client")
	w.say("GET / HTTP/1.1\nHost: a\n\n")
	if got := w.head().status(); got != 502 {
		t.Errorf("the client got %d", got)
	}
}

func TestTLSToClients(t *testing.T) {
	pair := testcert.New(t, "shop.example")
	cert, key := pair.Write(t, t.TempDir())
	app := listen(t, "tcp", "127.0.0.1:0")
	addr := startProxy(t, proxy.Config{App: "http://" + app.Addr().String(), TLSCert: cert, TLSKey: key})
	client, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: pair.Pool(), ServerName: "shop.example"})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	passes(t, client, app)
}

// A browser speaks HTTP/2 over TLS because we offer it; the app, which never did, still gets HTTP/1.1.
func TestHTTP2ToClientsHTTP1ToTheApp(t *testing.T) {
	pair := testcert.New(t, "shop.example")
	cert, key := pair.Write(t, t.TempDir())
	s := &stage{t: t, listener: listen(t, "tcp", "127.0.0.1:0")}
	requests := s.serve(echo, 0)
	addr := startProxy(t, proxy.Config{App: "http://" + s.listener.Addr().String(), TLSCert: cert, TLSKey: key})
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pair.Pool(), ServerName: "shop.example"}, Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP2(true)
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Post("https://"+addr+"/a%2Fb?c", "text/plain", strings.NewReader("ok"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.ProtoMajor != 2 || string(body) != "/a%2Fb?c ok" {
		t.Errorf("HTTP/%d: %q", resp.ProtoMajor, body)
	}
	if got := requests.all()[0].start; got != "POST /a%2Fb?c HTTP/1.1" {
		t.Errorf("the app got %q", got)
	}
}
