package cluster

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A Client speaks to the API server, as its administrator, and to whatever else is in the cluster's network.
type Client struct {
	HTTP *http.Client
	// Warning is called for each warning in an answer, if it is set.
	mu       sync.Mutex
	warnings []string
}

func newClient(t testing.TB, c *Cluster) *Client {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(c.Dir, "admin.crt"), filepath.Join(c.Dir, "admin.key"))
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(filepath.Join(c.Dir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	transport := &http.Transport{
		DialContext:     func(_ context.Context, network, addr string) (net.Conn, error) { return c.Dial(network, addr) },
		TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}}, ForceAttemptHTTP2: true,
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &Client{HTTP: &http.Client{Transport: transport, Timeout: 30 * time.Second}}
}

// Dial connects inside of the cluster's network: a socket belongs to the namespace of the thread that made it.
func (c *Cluster) Dial(network, addr string) (conn net.Conn, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		file, openErr := os.Open("/run/netns/" + c.netns)
		if err = openErr; err != nil {
			return
		}
		defer file.Close()
		if err = unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err == nil {
			conn, err = net.DialTimeout(network, addr, 5*time.Second)
		}
	}()
	<-done
	return conn, err
}

// Get reads an object; into may be nil.
func (c *Client) Get(path string, into any) error { return c.Do("GET", path, "", nil, into) }

// Create makes an object out of JSON.
func (c *Client) Create(path string, body []byte, into any) error {
	return c.Do("POST", path, "application/json", body, into)
}

// Do sends a request to the API server.
func (c *Client) Do(method, path, contentType string, body []byte, into any) error {
	var text string
	if err := c.text(method, path, contentType, body, &text); err != nil {
		return err
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal([]byte(text), into)
}

// Text gives an answer as it is. The path may be a whole address.
func (c *Client) Text(method, path string, into *string) error {
	return c.text(method, path, "", nil, into)
}

func (c *Client) text(method, path, contentType string, body []byte, into *string) error {
	if !strings.HasPrefix(path, "http") {
		path = "https://" + apiAddress + path
	}
	request, err := http.NewRequest(method, path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	answer, err := c.HTTP.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	c.mu.Lock()
	c.warnings = append(c.warnings, answer.Header.Values("Warning")...)
	c.mu.Unlock()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %s", method, path, answer.Status, strings.TrimSpace(string(b)))
	}
	*into = string(b)
	return nil
}

// Warnings gives those since the last call.
func (c *Client) Warnings() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.warnings
	c.warnings = nil
	return out
}
