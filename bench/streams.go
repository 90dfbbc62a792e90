package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
)

// A load asks over and over on connections of its own until ctx ends, and says how many answers it had.
type load func(ctx context.Context, addr string, connections int) (int, error)

// streams compares what does not end with one answer: WebSockets, and gRPC, for which there are other servers.
func (b *bench) streams(targets []target) (page string, err error) {
	ws := stretch{name: "WebSocket echo, 16 connections: a request is a message of 64 bytes and its answer", connections: 16, load: webSockets}
	if page, err = b.section(ws, targets); err != nil {
		return "", err
	}
	app, err := address()
	if err != nil {
		return "", err
	}
	if _, err := b.start("grpc", app, pinned(1, self("grpc", app, ""))); err != nil {
		return "", err
	}
	var talkers []target
	for _, p := range grpcPeers {
		up, err := p.start(b, app)
		if err != nil {
			return "", err
		}
		talkers = append(talkers, target{p.name, up, up.addr})
	}
	unary, err := b.section(stretch{name: "gRPC, unary calls, 16 connections", connections: 16, load: calls}, append(talkers, target{"none", nil, app}))
	return page + unary, err
}

func (b *bench) section(s stretch, targets []target) (string, error) {
	text, err := b.compare(s, targets)
	return "## " + s.name + "\n\n" + text + "\n", err
}

// exchanging puts a load of its own kind on a server.
func (b *bench) exchanging(s stretch, addr string) (f figures, requests int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), b.length)
	defer cancel()
	requests, err = s.load(ctx, addr, s.connections)
	return f, requests, err
}

// repeatAll lets each connection ask until ctx ends.
func repeatAll(ctx context.Context, connections int, begin func() (ask func() error, end func(), err error)) (int, error) {
	var answers atomic.Int64
	var group sync.WaitGroup
	problems := make([]error, connections)
	for i := range connections {
		ask, end, err := begin()
		if err != nil {
			return 0, err
		}
		defer end()
		group.Go(func() {
			for ctx.Err() == nil && problems[i] == nil {
				if problems[i] = ask(); problems[i] == nil {
					answers.Add(1)
				}
			}
		})
	}
	group.Wait()
	return int(answers.Load()), errors.Join(problems...)
}

// message is a frame of 64 bytes as a client sends it, masked with zeros, and reply as the app gives it back: RFC 6455, 5.2.
var (
	message = append([]byte{0x82, 0x80 | 64, 0, 0, 0, 0}, strings.Repeat("m", 64)...)
	reply   = append([]byte{0x82, 64}, strings.Repeat("m", 64)...)
)

const handshake = "GET /ws HTTP/1.1\r\nHost: shop.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

func webSockets(ctx context.Context, addr string, connections int) (int, error) {
	return repeatAll(ctx, connections, func() (func() error, func(), error) {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return nil, nil, err
		}
		if _, err := io.WriteString(c, handshake); err != nil {
			return nil, nil, err
		}
		r := bufio.NewReader(c)
		head, err := r.ReadString('\n')
		if err == nil && !strings.Contains(head, " 101 ") {
			err = fmt.Errorf("the handshake's answer is %q", head)
		}
		for line := ""; err == nil && line != "\r\n"; {
			line, err = r.ReadString('\n')
		}
		buf := make([]byte, len(reply))
		return func() error {
			if _, err := c.Write(message); err != nil {
				return err
			}
			_, err := io.ReadFull(r, buf)
			return err
		}, func() { c.Close() }, err
	})
}

// echo is the app's side of it.
func echo(c net.Conn, r *bufio.Reader) {
	io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
	buf := make([]byte, len(message))
	for {
		if _, err := io.ReadFull(r, buf); err != nil {
			return
		}
		if _, err := c.Write(reply); err != nil {
			return
		}
	}
}

// calls asks for the app's health, the one service that every gRPC library brings.
func calls(ctx context.Context, addr string, connections int) (int, error) {
	return repeatAll(ctx, connections, func() (func() error, func(), error) {
		c, err := grpc.NewClient("passthrough:"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return nil, nil, err
		}
		client := grpc_health_v1.NewHealthClient(c)
		return func() error {
			within, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			_, err := client.Check(within, &grpc_health_v1.HealthCheckRequest{})
			return err
		}, func() { c.Close() }, nil
	})
}

func serveGRPC(listen string) error {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	s := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(s, health.NewServer())
	return s.Serve(l)
}

// grpcPeers are the same servers, set up for gRPC. nginx opens a connection to the app for each client's, as it does.
var grpcPeers = []peer{
	{"nginx", (*bench).startNginxGRPC},
	{"haproxy", (*bench).startHAProxyGRPC},
	{"httputil", func(b *bench, app string) (*process, error) { return b.startStandard(app, "HTTP2=1") }},
	{"sidecar", (*bench).startSidecar},
}

const nginxGRPC = `
worker_processes 1;
daemon off;
pid %[1]s/nginx-grpc.pid;
error_log stderr error;
events { worker_connections 8192; }
http {
  access_log off;
  client_body_temp_path %[1]s/nginx-body;
  proxy_temp_path %[1]s/nginx-proxy;
  fastcgi_temp_path %[1]s/nginx-fastcgi;
  uwsgi_temp_path %[1]s/nginx-uwsgi;
  scgi_temp_path %[1]s/nginx-scgi;
  keepalive_requests 100000000;
  upstream app { server %[3]s; keepalive 4096; keepalive_requests 100000000; }
  server {
    listen %[2]s http2;
    location / {
      grpc_pass grpc://app;
      grpc_set_header X-Request-ID $request_id;
    }
  }
}
`

func (b *bench) startNginxGRPC(app string) (*process, error) {
	return b.startConfigured("nginx", "nginx", nginxGRPC, app, "-c")
}

func (b *bench) startHAProxyGRPC(app string) (*process, error) {
	config := strings.NewReplacer("bind %[2]s", "bind %[2]s proto h2", "app %[3]s", "app %[3]s proto h2").Replace(haproxyConfig)
	return b.startConfigured("haproxy", "haproxy", config, app, "-f")
}
