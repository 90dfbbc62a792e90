//go:build e2e

package delivery

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
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
	"google.golang.org/grpc/credentials/insecure"

	"github.com/openreplay/log-sidecar/e2e/stage"
)

// Google's own logging.Logger under the faults that the sidecar is tried by, beside the sidecar. Nothing is asked of the
// Logger: the table says what became of the errors. DELIVERY_RESULTS names the file to keep it in.
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
				theirs := newPeer(t, rand.New(rand.NewPCG(number, uint64(i)))).tryOut(r)
				w := newWorld(t, fmt.Sprintf("app%d", i), newCloud(t), rand.New(rand.NewPCG(number, uint64(i))), 0)
				w.tryOut(r)
				lines.add(fmt.Sprintf("| %s | %v | %v |", r.name, w.tally(), theirs))
			})
		}
	})
	text := fmt.Sprintf("| fault | sidecar | logging.Logger |\n|---|--:|--:|\n%s\n", strings.Join(slices.Sorted(slices.Values(lines.lines)), "\n"))
	fmt.Printf("\n%s\nseed %d\n", text, number)
	if path := os.Getenv("DELIVERY_RESULTS"); path != "" {
		text = "# What becomes of errors when their way to Cloud Logging fails\n\n`make torture-delivery`. Lost and doubled, of some 65 errors at 25 a second; the fault stands for two seconds.\n" +
			"The Logger is given a minute to flush afterwards.\n\n" + text + "\n" + time.Now().UTC().Format(time.DateOnly) + "\n"
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

// A peer is a world without a sidecar: who meets the errors logs them himself.
type peer struct {
	*world
	logger *logging.Logger
}

func newPeer(t *testing.T, r *rand.Rand) peer {
	c := newCloud(t)
	w := &world{t: t, name: "peer", rand: r, cloud: c, network: newRelay(t, c.address, r), program: stage.Program(t), dir: t.TempDir(), client: &http.Client{}}
	w.app = newApp(t, w.name, filepath.Join(w.dir, "app.log"))
	conn, err := grpc.NewClient(w.network.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
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
	return peer{w, client.Logger("openreplay-errors", logging.CommonResource(&monitoredres.MonitoredResource{Type: "global"}))}
}

// tryOut does with the Logger what the row does with the sidecar.
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
	flushed := make(chan struct{})
	go func() {
		defer close(flushed)
		p.logger.Flush()
	}()
	select {
	case <-flushed:
	case <-time.After(time.Minute):
	}
	return p.tally()
}

func (p peer) logErrors(ending <-chan struct{}) {
	ticker := time.NewTicker(40 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ending:
			return
		}
		p.app.mu.Lock()
		which := failure{p.name, 1 + len(p.app.written)}
		p.app.written[which] = visit{}
		p.app.mu.Unlock()
		p.logger.Log(logging.Entry{Severity: logging.Error, Payload: map[string]string{"message": fmt.Sprintf("%s: error %d happened, quiet", p.name, which.number)}})
	}
}
