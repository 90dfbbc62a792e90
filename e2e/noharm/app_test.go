//go:build e2e

package noharm

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// An app is a service that knows nothing of the sidecar. It tells each client what it was asked, so that a change on the way
// in is seen as well as one on the way out.
type app struct {
	*httptest.Server
	log string // path of its log file

	number atomic.Int64 // of the last request

	mu     sync.Mutex
	served map[int]int       // how often each request came
	errors map[string]string // the session of each error that was written, by request ID
}

func newApp(t *testing.T) *app {
	a := &app{served: map[int]int{}, errors: map[string]string{}}
	a.Server = httptest.NewServer(a)
	t.Cleanup(a.Close)
	return a
}

// A reply is what the app answers to the nth request, as both sides know it.
type reply struct {
	status  int
	header  http.Header
	parts   []string // more than one: streamed, each part flushed
	trailer string
}

const sumTrailer = "X-Sum"

func replyTo(path string, n int) reply {
	header := http.Header{
		"Content-Type": {"application/x-thing"}, "Date": {"Mon, 02 Jan 2006 15:04:05 GMT"},
		"Set-Cookie": {"a=1; Path=/", "b=2"}, "Server": {"Legacy/1.0"}, "X-Number": {strconv.Itoa(n)},
	}
	body := strings.Repeat(fmt.Sprintf("%d of %s\n", n, path), 50)
	switch path {
	case "/missing":
		return reply{status: http.StatusNotFound, header: header, parts: []string{body}}
	case "/empty":
		return reply{status: http.StatusNoContent, header: header}
	case "/stream":
		return reply{status: http.StatusOK, header: header, trailer: fmt.Sprint("sum of ", n), parts: []string{body, body + "x", body + "y"}}
	}
	return reply{status: http.StatusOK, header: header, parts: []string{body}}
}

func (r reply) body() string { return strings.Join(r.parts, "") }

func (a *app) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n, _ := strconv.Atoi(r.URL.Query().Get("n"))
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client will miss its answer
	}
	a.note(n, r)
	reply := replyTo(r.URL.Path, n)
	for name, values := range reply.header {
		w.Header()[name] = values
	}
	w.Header().Set("X-Seen", fingerprint(r.Method, r.RequestURI, r.Host, r.Header, r.ContentLength, body))
	switch len(reply.parts) {
	case 1:
		w.Header().Set("Content-Length", strconv.Itoa(len(reply.body())))
	case 3:
		w.Header().Set("Trailer", sumTrailer)
	}
	w.WriteHeader(reply.status)
	for _, part := range reply.parts {
		io.WriteString(w, part)
		w.(http.Flusher).Flush()
	}
	if reply.trailer != "" {
		w.Header().Set(sumTrailer, reply.trailer)
	}
}

// note counts the request and writes the error of those that are to have one.
func (a *app) note(n int, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.served[n]++
	if r.URL.Path != "/error" {
		return
	}
	id := r.Header.Get("X-Request-ID")
	file, err := os.OpenFile(a.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return // a test takes the log directory away: then the app has no error to show
	}
	defer file.Close()
	stamp := time.Now().Format("2006-01-02 15:04:05.000")
	fmt.Fprintf(file, "%s ERROR [worker] [%s] shop.Order - order %d failed\n", stamp, id, n)
	fmt.Fprintf(file, "%s INFO  [worker] [%s] shop.Order - it is tried again\n", stamp, id)
	a.errors[id] = r.Header.Get("X-OpenReplay-SessionToken")
}

func (a *app) written() map[string]string {
	a.mu.Lock()
	defer a.mu.Unlock()
	errors := map[string]string{}
	for id, session := range a.errors {
		errors[id] = session
	}
	return errors
}

// fingerprint is the same on both sides where nothing was changed but the request ID, which the sidecar adds.
func fingerprint(method, uri, host string, header http.Header, length int64, body []byte) string {
	var seen bytes.Buffer
	fmt.Fprintln(&seen, method, uri, host, length)
	var names []string
	for name := range header {
		if name != "X-Request-Id" && name != "Content-Length" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintln(&seen, name, header[name])
	}
	seen.Write(body)
	return fmt.Sprintf("%x", sha256.Sum256(seen.Bytes()))
}

// logsTo has the app write its log as file in dir.
func (a *app) logsTo(dir string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.log = filepath.Join(dir, "app.log")
}
