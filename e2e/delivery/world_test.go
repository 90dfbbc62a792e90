//go:build e2e

// Package delivery stands faults of every kind between a sidecar and the Cloud Logging stand-in while an app's users meet
// errors, and then asks the stand-in: each error must be there once, in one form, under its own session. And it reads what
// arrives as OpenReplay does.
//
// DELIVERY_SEED repeats the random moments of an earlier run.
package delivery

import (
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/openreplay/log-sidecar/e2e/stage"
	"github.com/openreplay/log-sidecar/internal/testcert"
)

func TestMain(m *testing.M) {
	flag.Parse()
	flag.Set("test.parallel", "16") // the rows wait most of their time
	goleak.VerifyTestMain(m,
		// started by a package of Google's client, for as long as the program lives
		goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

func seed(t *testing.T) uint64 {
	text := os.Getenv("DELIVERY_SEED")
	if text == "" {
		return rand.Uint64()
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("DELIVERY_SEED: %v", err)
	}
	return n
}

// A world is an app with its users and its log, a sidecar before it, and the network to a stand-in.
type world struct {
	t       *testing.T
	name    string
	rand    *rand.Rand
	cloud   *cloud
	network *relay
	app     *app

	program              string
	dir                  string
	options              []string // of the sidecar, beside the usual ones
	front, health, admin string
	client               *http.Client
	sidecar              *stage.Process // nil: down
	lives                int
	kills                int
	healed               time.Time
}

func newWorld(t *testing.T, name string, c *cloud, r *rand.Rand, disk int, options ...string) *world {
	t.Helper()
	w := &world{t: t, name: name, rand: r, cloud: c, network: newRelay(t, c.address, r), program: stage.Program(t),
		dir: t.TempDir(), front: address(t), health: address(t), admin: address(t),
		client: &http.Client{Transport: &http.Transport{}, Timeout: 10 * time.Second}}
	w.app = newApp(t, name, filepath.Join(w.dir, "app.log"))
	t.Cleanup(w.client.CloseIdleConnections)
	w.options = options
	w.credentials()
	if disk > 0 {
		w.mount(disk)
	}
	w.launch()
	w.watch()
	return w
}

// credentials writes what a client of Google's needs: whom to trust, and whose key to use.
func (w *world) credentials() {
	w.t.Helper()
	w.network.shown.Write(w.t, w.dir)
	if err := os.WriteFile(filepath.Join(w.dir, "account.json"), accountKey(w.t), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) environ() []string {
	return append(os.Environ(), "SSL_CERT_FILE="+filepath.Join(w.dir, "tls.crt"), "GOOGLE_APPLICATION_CREDENTIALS="+filepath.Join(w.dir, "account.json"))
}

var (
	oneKey sync.Once // it takes long to make
	key    []byte
)

func accountKey(t *testing.T) []byte {
	oneKey.Do(func() { key = testcert.AccountKey(t, "writer") })
	return key
}

// mount gives the state directory a disk of its own.
func (w *world) mount(size int) {
	w.t.Helper()
	state := filepath.Join(w.dir, "state")
	if err := os.Mkdir(state, 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", state, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		w.t.Fatalf("mount a small disk, which needs root: %v", err)
	}
	w.t.Cleanup(func() { syscall.Unmount(state, syscall.MNT_DETACH) })
}

// watch asks the metrics again and again: at every moment what was found has arrived, or was dropped, or waits, and nothing
// counts as arrived that is not there.
func (w *world) watch() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	w.t.Cleanup(func() { cancel(); <-done })
	go func() {
		defer close(done)
		ticker := time.NewTicker(200 * time.Millisecond)
		defer ticker.Stop()
		for ctx.Err() == nil {
			select {
			case <-ticker.C:
				w.weigh()
			case <-ctx.Done():
			}
		}
	}()
}

func (w *world) weigh() {
	m := w.metrics()
	if _, up := m["errors_found_total"]; !up {
		return
	}
	if found, accounted := m["errors_found_total"], m["errors_arrived_total"]+m["errors_dropped_total"]+m["errors_waiting"]; found != accounted || m["errors_waiting"] < 0 {
		w.t.Errorf("%v found are not %v accounted for: %v", found, accounted, m)
	}
	if there := w.cloud.there(w.name); !w.cloud.elsewhere.Load() && int(m["errors_arrived_total"]) > there {
		w.t.Errorf("%v are said to have arrived, and %d are there", m["errors_arrived_total"], there)
	}
}

// launch starts the sidecar over the same state and waits until it is ready.
func (w *world) launch() {
	w.t.Helper()
	w.lives++
	stdout, err := os.Create(w.stdout())
	if err != nil {
		w.t.Fatal(err)
	}
	defer stdout.Close()
	cmd := exec.Command(w.program, "run", "--listen", w.front, "--app", w.app.server.URL, "--logs", w.app.path,
		"--from", "beginning", "--state", filepath.Join(w.dir, "state"), "--health", w.health, "--admin", w.admin, "--project", stage.Project,
		"--endpoint", w.network.address, "--drain", "6s")
	cmd.Args = append(cmd.Args, w.options...)
	cmd.Env = w.environ()
	cmd.Stdout = stdout
	w.sidecar = stage.Start(w.t, w.name, cmd)
	w.await("the sidecar", func() bool {
		answer, err := w.client.Get("http://" + w.health + "/readyz")
		if err != nil {
			return false
		}
		answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
}

// stdout is the file with what the present life of the sidecar prints there.
func (w *world) stdout() string { return filepath.Join(w.dir, fmt.Sprintf("stdout-%d", w.lives)) }

func (w *world) kill() {
	w.kills++
	w.sidecar.Kill()
}

// stop ends the sidecar in order.
func (w *world) stop() {
	w.t.Helper()
	if code := w.sidecar.Stop(w.t); code != 0 {
		w.t.Errorf("SIGTERM: the sidecar ended with %d", code)
	}
}

// A visit is one request of a user.
type visit struct {
	header http.Header
	token  string // under which its error has to arrive; "": without
	kind   string
}

// visits has the app's users meet errors, one every 40 ms, until enough says so.
func (w *world) visits(next func(n int) visit, enough func() bool) {
	ticker := time.NewTicker(40 * time.Millisecond)
	defer ticker.Stop()
	for n := 0; !enough(); n++ {
		<-ticker.C
		w.visit(next(n))
	}
}

// visit makes a request; it may fail, as the sidecar may be down: what counts is what the app wrote.
func (w *world) visit(v visit) {
	request, err := http.NewRequest("POST", "http://"+w.front+"/checkout", nil)
	if err != nil {
		w.t.Error(err)
		return
	}
	maps.Copy(request.Header, v.header)
	id := w.app.expect(v)
	request.Header.Set("X-Request-ID", id)
	answer, err := w.client.Do(request)
	if err == nil {
		answer.Body.Close()
	}
}

// An app writes an error for each request, with the ID that the request has, and knows nothing of sessions.
type app struct {
	name   string
	server *httptest.Server
	path   string
	poison bool // some errors are such as the stand-in is made to refuse

	mu      sync.Mutex
	log     *os.File
	asked   map[string]visit
	written map[failure]visit
}

func newApp(t *testing.T, name, path string) *app {
	log, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	a := &app{name: name, path: path, log: log, asked: map[string]visit{}, written: map[failure]visit{}}
	a.server = httptest.NewServer(a)
	t.Cleanup(func() { a.server.Close(); log.Close() })
	return a
}

func (a *app) expect(v visit) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	id := fmt.Sprintf("%016x%016x", rand.Uint64(), rand.Uint64())
	a.asked[id] = v
	return id
}

func (a *app) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	id := r.Header.Get("X-Request-ID")
	which := failure{a.name, 1 + len(a.written)}
	kind := "quiet"
	if a.poison && which.poisoned() {
		kind = "poison"
	}
	fmt.Fprintf(a.log, "%s ERROR [%s] %s: error %d happened, %s\n", time.Now().UTC().Format(time.RFC3339Nano), id, a.name, which.number, kind)
	a.written[which] = a.asked[id]
}

func (a *app) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.written)
}

// poisoned errors never stand next to each other: a batch of them alone looks like a wrong setting.
func (f failure) poisoned() bool { return f.number%7 == 3 }

// during waits until the app has written n more errors.
func (w *world) during(n int) {
	w.t.Helper()
	goal := w.app.count() + n
	w.await(fmt.Sprintf("%d errors", n), func() bool { return w.app.count() >= goal })
}

// patience is how long a row waits at most. The longest wait is for a connection that died in silence: 20 s for the try and
// 10 s more for the keepalive, on a machine that may be loaded.
const patience = 100 * time.Second

// await asks until done says yes.
func (w *world) await(what string, done func() bool) {
	w.t.Helper()
	w.awaitWithin(patience, what, done)
}

func (w *world) awaitWithin(patience time.Duration, what string, done func() bool) {
	w.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !done() {
		select {
		case <-deadline.C:
			w.t.Fatalf("%s: waited in vain for %s; the metrics say %v", w.name, what, w.metrics())
		case <-ticker.C:
		}
	}
}

// metrics gives the sidecar's metrics, and their sums over their labels.
func (w *world) metrics() map[string]float64 {
	sums := map[string]float64{}
	answer, err := w.client.Get("http://" + w.health + "/metrics")
	if err != nil {
		return sums
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return sums
	}
	for line := range strings.Lines(string(text)) {
		head, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		name, labels, _ := strings.Cut(head, "{")
		v, err := strconv.ParseFloat(value, 64)
		if err != nil || !strings.HasPrefix(name, "sidecar_") {
			continue
		}
		name = strings.TrimPrefix(name, "sidecar_")
		sums[name] += v
		if labels != "" {
			sums[name+"{"+labels] = v
		}
	}
	return sums
}

// burst has n users meet errors, as fast as the app and the sidecar serve them.
func (w *world) burst(n int) {
	var group sync.WaitGroup
	next := make(chan visit)
	for range 8 {
		group.Go(func() {
			for v := range next {
				w.visit(v)
			}
		})
	}
	for i := range n {
		next <- aUser(i)
	}
	close(next)
	group.Wait()
}
