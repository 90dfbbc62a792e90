//go:build peers

package conformance

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"
)

// TestPeers plays every case with the proxies that others use, and prints one table. It judges nobody but us.
func TestPeers(t *testing.T) {
	subjects := []subject{ours}
	for _, peer := range []subject{nginx, haproxy, reverseProxy} {
		if peer.name != "httputil" {
			if _, err := exec.LookPath(peer.name); err != nil {
				t.Logf("%s is left out: apt-get install %s", peer.name, peer.name)
				continue
			}
		}
		subjects = append(subjects, peer)
	}
	cases := behaviours()
	remarks := playAll(t, cases, subjects)
	fmt.Print(table(cases, subjects, remarks))
	for i, b := range cases {
		if _, left := expected[b.name]; !left && remarks[i][0] != "" {
			t.Errorf("%s: %s", b.name, remarks[i][0])
		}
	}
}

func playAll(t *testing.T, cases []behaviour, subjects []subject) [][]string {
	remarks := make([][]string, len(cases))
	var all sync.WaitGroup
	slots := make(chan struct{}, 8)
	for i, b := range cases {
		remarks[i] = make([]string, len(subjects))
		for j, s := range subjects {
			all.Go(func() {
				slots <- struct{}{}
				defer func() { <-slots }()
				remarks[i][j] = b.try(t, s)
			})
		}
	}
	all.Wait()
	return remarks
}

func table(cases []behaviour, subjects []subject, remarks [][]string) string {
	var out bytes.Buffer
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	held := make([]int, len(subjects))
	fmt.Fprint(w, "behaviour")
	for _, s := range subjects {
		fmt.Fprint(w, "\t", s.name)
	}
	fmt.Fprintln(w)
	for i, b := range cases {
		fmt.Fprint(w, b.name)
		for j := range subjects {
			if remarks[i][j] == "" {
				held[j]++
				fmt.Fprint(w, "\tok")
			} else {
				fmt.Fprint(w, "\tFAIL")
			}
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "held of %d", len(cases))
	for _, n := range held {
		fmt.Fprint(w, "\t", n)
	}
	fmt.Fprintln(w)
	w.Flush()
	for i, b := range cases {
		for j, s := range subjects {
			if remarks[i][j] != "" {
				fmt.Fprintf(&out, "%s, %s: %s\n", s.name, b.name, remarks[i][j])
			}
		}
	}
	return out.String()
}

var reverseProxy = subject{"httputil", nil, func(t testing.TB, app string) string {
	target := &url.URL{Scheme: "http", Host: app}
	server := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host },
		Transport: &http.Transport{DisableCompression: true},
		ErrorLog:  log.New(io.Discard, "", 0),
	})
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}}

// nginx is set up as its users do who want it to be unnoticed.
var nginx = subject{"nginx", nil, func(t testing.TB, app string) string {
	dir, addr := t.TempDir(), freeAddr(t)
	return process(t, addr, "nginx", "-p", dir, "-e", "stderr", "-c", file(t, dir, `
daemon off; master_process off; pid nginx.pid; error_log /dev/null;
events {}
http {
  access_log off; server_tokens off; client_max_body_size 0;
  client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
  map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
  upstream app { server `+app+`; keepalive 16; }
  server {
    listen `+addr+`;
    location / {
      proxy_pass http://app; proxy_http_version 1.1; proxy_buffering off; proxy_request_buffering off;
      proxy_set_header Host $http_host; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;
    }
  }
}`))
}}

var haproxy = subject{"haproxy", nil, func(t testing.TB, app string) string {
	dir, addr := t.TempDir(), freeAddr(t)
	return process(t, addr, "haproxy", "-q", "-db", "-f", file(t, dir, `
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  retries 0
frontend in
  bind `+addr+`
  default_backend app
backend app
  server app `+app+`
`))
}}

func file(t testing.TB, dir, text string) string {
	path := filepath.Join(dir, "conf")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// freeAddr is an address that is most likely still free when the process binds it.
func freeAddr(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// process runs the program until the test ends, and waits until it listens.
func process(t testing.TB, addr, name string, args ...string) string {
	var words bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stderr = &words
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if conn, err := net.Dial("tcp", addr); err == nil {
			conn.Close()
			return addr
		}
	}
	failf("%s does not start: %s", name, strings.TrimSpace(words.String()))
	return ""
}
