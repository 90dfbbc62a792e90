package conformance

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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
	dir := t.TempDir()
	cert := newCertificate(t, dir, "legacy.internal")
	pair, err := tls.LoadX509KeyPair(cert.cert, cert.key)
	if err != nil {
		t.Fatal(err)
	}
	app := tls.NewListener(listen(t, "tcp", "127.0.0.1:0"), &tls.Config{Certificates: []tls.Certificate{pair}})
	url := "https://" + app.Addr().String()
	addr := startProxy(t, proxy.Config{App: url, AppCA: cert.cert, AppServerName: "legacy.internal"})
	passes(t, dial(t, "tcp", addr), app)

	// A certificate for another name is no app of ours.
	stranger := startProxy(t, proxy.Config{App: url, AppCA: cert.cert, AppServerName: "other.internal"})
	w := newWire(dial(t, "tcp", stranger), "client")
	w.say("GET / HTTP/1.1\nHost: a\n\n")
	if got := w.head().status(); got != 502 {
		t.Errorf("the client got %d", got)
	}
}

func TestTLSToClients(t *testing.T) {
	dir := t.TempDir()
	first := newCertificate(t, dir, "shop.example")
	app := listen(t, "tcp", "127.0.0.1:0")
	addr := startProxy(t, proxy.Config{App: "http://" + app.Addr().String(), TLSCert: first.cert, TLSKey: first.key})
	roots := x509.NewCertPool()
	roots.AddCert(first.leaf)
	client, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: roots, ServerName: "shop.example"})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	passes(t, client, app)
}

// A browser speaks HTTP/2 over TLS because we offer it; the app, which never did, still gets HTTP/1.1.
func TestHTTP2ToClientsHTTP1ToTheApp(t *testing.T) {
	cert := newCertificate(t, t.TempDir(), "shop.example")
	s := &stage{t: t, listener: listen(t, "tcp", "127.0.0.1:0")}
	requests := s.serve(echo, 0)
	addr := startProxy(t, proxy.Config{App: "http://" + s.listener.Addr().String(), TLSCert: cert.cert, TLSKey: cert.key})
	roots := x509.NewCertPool()
	roots.AddCert(cert.leaf)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "shop.example"}, Protocols: new(http.Protocols)}
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

type certificate struct {
	cert, key string
	leaf      *x509.Certificate
}

// newCertificate writes a self-signed pair into dir.
func newCertificate(t testing.TB, dir, name string) certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, _ := x509.ParseCertificate(der)
	c := certificate{filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"), leaf}
	for path, block := range map[string]*pem.Block{c.cert: {Type: "CERTIFICATE", Bytes: der}, c.key: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return c
}
