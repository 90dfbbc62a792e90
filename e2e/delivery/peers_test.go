//go:build e2e

package delivery

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/logging"
	"google.golang.org/api/option"
	"google.golang.org/genproto/googleapis/api/monitoredres"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/openreplay/log-sidecar/e2e/stage"
)

// Google's own logging.Logger and the OpenTelemetry Collector with its queue on disk under the faults that the sidecar is tried by,
// beside the sidecar. Nothing is asked of them: the table says what became of the errors. DELIVERY_RESULTS names the file to keep
// it in.
func TestPeers(t *testing.T) {
	if testing.Short() {
		t.Skip("the peers' table is of the long form")
	}
	number, lines := seed(t), &table{}
	t.Run("row", func(t *testing.T) {
		for i, r := range faults {
			if r.poison != nil || r.disk > 0 { // of the sidecar's own poison and disk
				continue
			}
			t.Run(r.name, func(t *testing.T) {
				t.Parallel()
				random := func() *rand.Rand { return rand.New(rand.NewPCG(number, uint64(i))) }
				logger := newLogger(t, random()).tryOut(r)
				collector := newCollector(t, random()).tryOut(r)
				w := newWorld(t, fmt.Sprintf("app%d", i), newCloud(t), random(), 0)
				w.tryOut(r)
				lines.add(fmt.Sprintf("| %s | %v | %v | %v |", r.name, w.tally(), logger, collector))
			})
		}
	})
	text := fmt.Sprintf("| fault | sidecar | logging.Logger | OpenTelemetry Collector |\n|---|--:|--:|--:|\n%s\n", strings.Join(slices.Sorted(slices.Values(lines.lines)), "\n"))
	fmt.Printf("\n%s\nseed %d\n", text, number)
	if path := os.Getenv("DELIVERY_RESULTS"); path != "" {
		text = "# What becomes of errors when their way to Cloud Logging fails\n\n`make torture-delivery`. Lost and doubled, of some 65 errors at 25 a second; the fault stands for two seconds.\n" +
			"The others are given a minute to flush afterwards. The Collector follows the app's log, and keeps its place and its queue on disk.\n\n" +
			text + "\n" + time.Now().UTC().Format(time.DateOnly) + "\n"
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Error(err)
		}
	}
}

// A tally is what became of errors.
type tally struct{ errors, lost, doubled int }

func (y tally) String() string {
	return fmt.Sprintf("%d lost, %d doubled of %d", y.lost, y.doubled, y.errors)
}

func (w *world) tally() tally {
	times := map[failure]int{}
	for _, e := range w.cloud.entries() {
		times[errorOf(e)]++
	}
	y := tally{errors: w.app.count()}
	for number := 1; number <= y.errors; number++ {
		switch n := times[failure{w.name, number}]; {
		case n == 0:
			y.lost++
		case n > 1:
			y.doubled++
		}
	}
	return y
}

// A peer is a world in which somebody else delivers the errors.
type peer struct {
	*world
	log   func()                     // has the app meet an error
	flush func(done <-chan struct{}) // has it delivered, until it is or done
}

func newPeer(t *testing.T, r *rand.Rand) *world {
	c := newCloud(t)
	w := &world{t: t, name: "peer", rand: r, cloud: c, network: newRelay(t, c.address, r), program: stage.Program(t), dir: t.TempDir(), client: &http.Client{}}
	w.app = newApp(t, w.name, filepath.Join(w.dir, "app.log"))
	w.credentials()
	return w
}

// newLogger is an app that uses Google's client library.
func newLogger(t *testing.T, r *rand.Rand) peer {
	w := newPeer(t, r)
	conn, err := grpc.NewClient(w.network.address, grpc.WithTransportCredentials(credentials.NewClientTLSFromCert(w.network.shown.Pool(), "")))
	if err != nil {
		t.Fatal(err)
	}
	client, err := logging.NewClient(context.Background(), "projects/"+stage.Project, option.WithGRPCConn(conn))
	if err != nil {
		t.Fatal(err)
	}
	client.OnError = func(error) {}
	t.Cleanup(func() {
		conn.Close() // ends what the Logger still tries, for which Close would wait
		client.Close()
	})
	logger := client.Logger("openreplay-errors", logging.CommonResource(&monitoredres.MonitoredResource{Type: "global"}))
	return peer{w,
		func() {
			w.app.mu.Lock()
			which := failure{w.name, 1 + len(w.app.written)}
			w.app.written[which] = visit{}
			w.app.mu.Unlock()
			logger.Log(logging.Entry{Severity: logging.Error, Payload: map[string]string{"message": fmt.Sprintf("%s: error %d happened, quiet", w.name, which.number)}})
		},
		func(done <-chan struct{}) {
			flushed := make(chan struct{})
			go func() {
				defer close(flushed)
				logger.Flush()
			}()
			select {
			case <-flushed:
			case <-done:
			}
		}}
}

const collectorConfig = `
receivers:
  filelog:
    include: [%q]
    start_at: beginning
    storage: file_storage
exporters:
  googlecloud:
    project: %s
    log: {default_log_name: openreplay-errors, endpoint: %q}
    sending_queue: {storage: file_storage}
extensions:
  file_storage: {directory: %q}
service:
  extensions: [file_storage]
  telemetry: {metrics: {level: none}}
  pipelines:
    logs: {receivers: [filelog], exporters: [googlecloud]}
`

// newCollector is an app beside which the OpenTelemetry Collector follows its log.
func newCollector(t *testing.T, r *rand.Rand) peer {
	program, err := exec.LookPath("otelcol")
	if err != nil {
		t.Fatal("the OpenTelemetry Collector is not on the PATH; make bin/otelcol builds it: ", err)
	}
	w := newPeer(t, r)
	config := filepath.Join(w.dir, "collector.yaml")
	if err := os.WriteFile(config, fmt.Appendf(nil, collectorConfig, w.app.path, stage.Project, w.network.address, t.TempDir()), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "--config", config)
	cmd.Env = w.environ()
	stage.Start(t, "otelcol", cmd)
	return peer{w,
		func() { w.app.ServeHTTP(nil, new(http.Request)) },
		func(done <-chan struct{}) {
			ticker := time.NewTicker(100 * time.Millisecond)
			defer ticker.Stop()
			for w.tally().lost > 0 {
				select {
				case <-ticker.C:
				case <-done:
					return
				}
			}
		}}
}

// tryOut does with the peer what the row does with the sidecar.
func (p peer) tryOut(r row) tally {
	ending := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() { p.logErrors(ending) })
	p.during(5)
	r.act(p.world)
	p.heal(r)
	p.during(10)
	close(ending)
	group.Wait()
	minute, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	p.flush(minute.Done())
	return p.tally()
}

func (p peer) logErrors(ending <-chan struct{}) {
	ticker := time.NewTicker(40 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			p.log()
		case <-ending:
			return
		}
	}
}
