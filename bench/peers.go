package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// A peer is a proxy that is compared. All forward to the same app, on one CPU, and make a request ID.
type peer struct {
	name  string
	start func(b *bench, app string) (*process, error)
}

var peers = []peer{
	{"nginx", (*bench).startNginx},
	{"haproxy", (*bench).startHAProxy},
	{"httputil", (*bench).startHTTPUtil},
	{"sidecar", (*bench).startSidecar},
}

const nginxConfig = `
worker_processes 1;
worker_rlimit_nofile 16384;
daemon off;
pid %[1]s/nginx.pid;
error_log stderr error;
events { worker_connections 8192; }
http {
  access_log off;
  client_body_temp_path %[1]s/nginx-body;
  proxy_temp_path %[1]s/nginx-proxy;
  fastcgi_temp_path %[1]s/nginx-fastcgi;
  uwsgi_temp_path %[1]s/nginx-uwsgi;
  scgi_temp_path %[1]s/nginx-scgi;
  keepalive_timeout 650s;
  keepalive_requests 100000000;
  upstream app { server %[3]s; keepalive 4096; keepalive_requests 100000000; }
  server {
    listen %[2]s;
    location = /ws {
      proxy_pass http://app;
      proxy_http_version 1.1;
      proxy_set_header Connection upgrade;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header X-Request-ID $request_id;
    }
    location / {
      proxy_pass http://app;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_set_header X-Request-ID $request_id;
      proxy_max_temp_file_size 0;
    }
  }
}
`

func (b *bench) startNginx(app string) (*process, error) {
	return b.startConfigured("nginx", "nginx", nginxConfig, app, "-c")
}

const haproxyConfig = `
global
  nbthread 1
  maxconn 8192
defaults
  mode http
  timeout connect 5s
  timeout client 650s
  timeout server 650s
  timeout http-keep-alive 650s
frontend front
  bind %[2]s
  unique-id-format %%{+X}o\ %%ci:%%cp_%%fi:%%fp_%%Ts_%%rt
  unique-id-header X-Request-ID
  default_backend app
backend app
  http-reuse always
  server app %[3]s
`

func (b *bench) startHAProxy(app string) (*process, error) {
	return b.startConfigured("haproxy", "haproxy", haproxyConfig, app, "-f")
}

// startConfigured writes a configuration, with the directory, the address and the app in it, and starts the program with it.
func (b *bench) startConfigured(name, pkg, config, app, flag string) (*process, error) {
	program, err := tool(name, pkg)
	if err != nil {
		return nil, err
	}
	at, err := address()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(b.dir, fmt.Sprintf("%s-%d.conf", name, len(b.up)))
	if err := os.WriteFile(path, fmt.Appendf(nil, config, b.dir, at, app), 0o644); err != nil {
		return nil, err
	}
	return b.start(name, at, pinned(0, exec.Command(program, flag, path)))
}

func (b *bench) startHTTPUtil(app string) (*process, error) { return b.startStandard(app) }

// startStandard starts what Go's standard library gives, with settings in its environment.
func (b *bench) startStandard(app string, env ...string) (*process, error) {
	at, err := address()
	if err != nil {
		return nil, err
	}
	cmd := self("httputil", at, app)
	cmd.Env = append(append(os.Environ(), "GOMAXPROCS=1"), env...)
	return b.start("httputil", at, pinned(0, cmd))
}

// startSidecar runs ours as in a pod with one CPU: every exchange is recorded, and there is a log to follow.
func (b *bench) startSidecar(app string) (*process, error) {
	logs, err := b.quietLogs(1)
	if err != nil {
		return nil, err
	}
	return b.runSidecar(app, "--logs", filepath.Join(logs, "*.log"), "--sink", "none")
}
