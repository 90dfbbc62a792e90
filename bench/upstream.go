package main

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
)

// serve is the program in another role: the app, or the proxy that Go's standard library gives.
func serve(role, listen, to string) error {
	switch role {
	case "upstream":
		l, err := net.Listen("tcp", listen)
		if err != nil {
			return err
		}
		return serveUpstream(l)
	case "httputil":
		return serveHTTPUtil(listen, to)
	case "sender":
		return send(listen, to)
	case "grpc":
		return serveGRPC(listen)
	}
	return fmt.Errorf("no role %q", role)
}

// serveUpstream answers a GET of /N with N bytes. It is as cheap as can be, since it shares a CPU with those who ask.
func serveUpstream(l net.Listener) error {
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go answer(c)
	}
}

func answer(c net.Conn) {
	defer c.Close()
	r := bufio.NewReaderSize(c, 4<<10)
	var last string
	var reply []byte
	for {
		target, err := readHead(r)
		if err != nil {
			return
		}
		if target == "/ws" {
			echo(c, r)
			return
		}
		if target != last {
			last, reply = target, replyTo(target)
		}
		if _, err := c.Write(reply); err != nil {
			return
		}
	}
}

// readHead reads over a request without a body and gives its target.
func readHead(r *bufio.Reader) (target string, err error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return "", err
	}
	_, rest, _ := strings.Cut(string(line), " ")
	target, _, _ = strings.Cut(rest, " ")
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return "", err
		}
		if len(line) <= 2 {
			return target, nil
		}
	}
}

func replyTo(target string) []byte {
	n, _ := strconv.Atoi(strings.TrimLeft(target, "/"))
	head := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nDate: Mon, 02 Jan 2006 15:04:05 GMT\r\nServer: app\r\nContent-Length: %d\r\n\r\n", n)
	return append([]byte(head), strings.Repeat("x", n)...)
}

// serveHTTPUtil is the reverse proxy that everyone writes first, with the buffer pool that its documentation advises.
func serveHTTPUtil(listen, to string) error {
	target, err := url.Parse("http://" + to)
	if err != nil {
		return err
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:    func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host },
		Transport:  &http.Transport{MaxIdleConnsPerHost: 4096, DisableCompression: true},
		BufferPool: &pool{sync.Pool{New: func() any { return new([32 << 10]byte) }}},
	}
	server := &http.Server{Addr: listen, Handler: proxy}
	if os.Getenv("HTTP2") != "" {
		h2 := new(http.Protocols)
		h2.SetUnencryptedHTTP2(true)
		server.Protocols, proxy.Transport.(*http.Transport).Protocols, proxy.FlushInterval = h2, h2, -1
	}
	return server.ListenAndServe()
}

type pool struct{ sync.Pool }

func (p *pool) Get() []byte  { return p.Pool.Get().(*[32 << 10]byte)[:] }
func (p *pool) Put(b []byte) { p.Pool.Put((*[32 << 10]byte)(b)) }
