//go:build e2e

package torture

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openreplay/log-sidecar/e2e/stage"
)

// A world is an app with its log, a sidecar and a stand-in, of which each can be taken away and brought back.
type world struct {
	t     *testing.T
	stage *stage.Stage
	rand  *rand.Rand
	glob  string // "-" is standard input
	flags []string
	adapt func(*exec.Cmd)     // what is special of the sidecar's process; nil: nothing
	form  func(string) string // how a line stands in the log; nil: as it is
	head  string              // what each file begins with
	admin string

	cloud, sidecar *stage.Process // nil: down
	requests       []exchange     // that the sidecar has seen and no error was written for

	file      *os.File // the app's log
	path      string
	size      int64
	total     int64 // bytes written to all files
	lines     int
	rotations int
	kills     int
	unread    int    // rotations since the sidecar was last known to have read everything
	last      string // the request ID of the last error
	written   map[string]written
	between   func() // called in the middle of each rotation
}

type exchange struct{ id, session string }

// written is an error that must arrive.
type written struct {
	session string
	line    int
	where   string
}

func newWorld(t *testing.T, glob string, r *rand.Rand) *world {
	if glob == "" {
		glob = "app.log"
	}
	w := &world{t: t, rand: r, glob: glob, written: map[string]written{}, between: func() {}}
	app := httptest.NewServer(http.HandlerFunc(w.serve))
	t.Cleanup(app.Close)
	w.stage, w.admin = stage.New(t, app.URL), address(t, r)
	w.stage.Front, w.stage.Health = address(t, r), address(t, r)
	w.stage.Cloud = address(t, r) // one that can be killed
	w.cloudUp()
	return w
}

// address gives a loopback address that stays free while its server is down: clients' ends of connections are on 127.0.0.1.
func address(t *testing.T, r *rand.Rand) string {
	t.Helper()
	listener, err := net.Listen("tcp", fmt.Sprintf("127.%d.%d.%d:0", 1+r.IntN(250), r.IntN(250), 1+r.IntN(250)))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// begin starts the sidecar and makes n requests, one for each error to come.
func (w *world) begin(n int) {
	w.up()
	w.register(n)
}

// serve is the app: it tells the client by which ID it will speak of the request in its log.
func (w *world) serve(rw http.ResponseWriter, r *http.Request) {
	rw.Header().Set("X-Seen-As", r.Header.Get("X-Request-ID"))
}

func (w *world) register(n int) {
	w.t.Helper()
	found, problems := make(chan exchange, n), make(chan error, n)
	var group sync.WaitGroup
	for c := range 8 {
		group.Go(func() {
			for i := c; i < n; i += 8 {
				e, err := w.ask(fmt.Sprintf("session-%d-%d", len(w.written), i))
				if err != nil {
					problems <- err
					return
				}
				found <- e
			}
		})
	}
	group.Wait()
	close(found)
	select {
	case err := <-problems:
		w.t.Fatal(err)
	default:
	}
	for e := range found {
		w.requests = append(w.requests, e)
	}
}

func (w *world) ask(session string) (e exchange, err error) {
	r, err := http.NewRequest("GET", "http://"+w.stage.Front+"/pay", nil)
	if err != nil {
		return e, err
	}
	r.Header.Set("X-OpenReplay-SessionToken", session)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return e, err
	}
	defer answer.Body.Close()
	io.Copy(io.Discard, answer.Body)
	if e = (exchange{answer.Header.Get("X-Seen-As"), session}); e.id == "" {
		return e, fmt.Errorf("the app was sent no request ID: %s", answer.Status)
	}
	return e, nil
}

// up starts the sidecar where it is down, and waits until it is ready.
func (w *world) up() {
	w.t.Helper()
	w.launch()
	w.stage.AwaitReady(w.sidecar)
}

// launch starts it, with the row's glob alone, and does not wait.
func (w *world) launch() {
	if w.sidecar != nil {
		return
	}
	s := w.stage
	glob := w.glob
	if glob != "-" {
		glob = filepath.Join(s.Logs, glob)
	}
	args := append([]string{"run", "--listen", s.Front, "--app", s.App, "--logs", glob, "--state", s.State,
		"--health", s.Health, "--admin", w.admin, "--project", stage.Project, "--endpoint", s.Cloud, "--plaintext", "--pace", "0"}, w.flags...)
	cmd := exec.Command(stage.Program(w.t), args...)
	if w.adapt != nil {
		w.adapt(cmd)
	}
	w.sidecar = stage.Start(w.t, "sidecar", cmd)
}

func (w *world) kill() {
	if w.sidecar != nil {
		w.kills++
		w.sidecar.Kill()
		w.sidecar = nil
	}
}

func (w *world) terminate() {
	w.t.Helper()
	if code := w.sidecar.Stop(w.t); code != 0 {
		w.t.Errorf("the sidecar ended with %d", code)
	}
	w.sidecar = nil
}

func (w *world) cloudUp() {
	w.t.Helper()
	if w.cloud == nil {
		w.cloud = w.stage.StartCloud("--file", filepath.Join(w.stage.Dir, "kept"))
	}
}

func (w *world) cloudDown() {
	if w.cloud != nil {
		w.cloud.Kill()
		w.cloud = nil
	}
}

// open makes the app write to a file; it is made where missing.
func (w *world) open(name string) {
	w.t.Helper()
	if w.file != nil {
		w.file.Close()
	}
	w.path = filepath.Join(w.stage.Logs, name)
	file, err := os.OpenFile(w.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		w.t.Fatal(err)
	}
	w.file = file
	w.t.Cleanup(func() { file.Close() })
	info, err := file.Stat()
	if err != nil {
		w.t.Fatal(err)
	}
	w.size = info.Size()
	if w.size == 0 && w.head != "" {
		w.put(w.head)
	}
}

// put writes raw text to the log.
func (w *world) put(text string) {
	w.t.Helper()
	if w.form != nil && text != w.head {
		text = w.form(text)
	}
	n, err := io.WriteString(w.file, text)
	if err != nil {
		w.t.Fatal(err)
	}
	w.size += int64(n)
	w.total += int64(n)
}

var filling = strings.Repeat("the quick brown fox jumps over the lazy dog ", 3)[:110]

func stamp() string { return time.Now().Format("2006-01-02 15:04:05.000") }

// info is a line of no interest.
func (w *world) info() string {
	w.lines++
	return fmt.Sprintf("%s INFO  [worker-%d] [-] shop.Payment - line %d %s\n", stamp(), w.lines%8, w.lines, filling)
}

// error is the line of an error that must arrive. It is counted as written.
func (w *world) error() string { return w.errorWith(filling) }

func (w *world) errorWith(detail string) string {
	w.t.Helper()
	if len(w.requests) == 0 {
		w.t.Fatal("the row writes more errors than it has made requests")
	}
	w.lines++
	e := w.requests[0]
	w.requests = w.requests[1:]
	w.last = e.id
	w.written[e.id] = written{e.session, w.lines, fmt.Sprintf("%s+%d after %d rotations and %d kills", filepath.Base(w.path), w.size, w.rotations, w.kills)}
	return fmt.Sprintf("%s ERROR [worker-%d] [%s] shop.Payment - line %d %s\n", stamp(), w.lines%8, e.id, w.lines, detail)
}

// some writes n errors with a line of no interest after each.
func (w *world) some(n int) {
	w.t.Helper()
	for range n {
		w.put(w.error())
		w.put(w.info())
	}
}

// await waits until the stand-in has n errors, and says whether it came so far within half a minute.
func (w *world) await(n int) bool {
	w.t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	seen, since := map[string]bool{}, time.Time{}
	for {
		for _, e := range w.stage.Entries(fmt.Sprintf("timestamp>=%q", since.Format(time.RFC3339Nano))) {
			seen[e.Labels["requestId"]] = true
			since = e.Timestamp
		}
		if len(seen) >= n {
			return true
		}
		select {
		case <-deadline.C:
			return false
		case <-ticker.C:
		}
	}
}

// arrived is await where the row cannot go on without.
func (w *world) arrived() {
	w.t.Helper()
	if !w.await(len(w.written)) {
		w.t.Fatalf("%d errors have not arrived", len(w.written))
	}
}
