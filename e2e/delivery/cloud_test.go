//go:build e2e

package delivery

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloud.google.com/go/logging/apiv2/loggingpb"
	"google.golang.org/protobuf/proto"

	"github.com/openreplay/log-sidecar/internal/localcloud"
)

// A cloud is the stand-in, and remembers what each try to write brought.
type cloud struct {
	t         *testing.T
	address   string
	file      string
	server    *localcloud.Server // nil: down
	served    chan error
	counted   localcloud.Stats // of the lives before this one
	elsewhere atomic.Bool      // what arrives is not told by its text, or another process serves as well

	mu      sync.Mutex
	fault   localcloud.Interposer
	tried   map[failure]map[string]bool // the forms in which an entry was ever sent: there may be one alone
	visible map[failure]time.Time       // when an entry was first there for a reader
}

func newCloud(t *testing.T) *cloud {
	t.Helper()
	c := &cloud{t: t, file: filepath.Join(t.TempDir(), "entries"),
		tried: map[failure]map[string]bool{}, visible: map[failure]time.Time{}}
	c.begin()
	t.Cleanup(c.stop)
	return c
}

// begin starts it where nobody else listens.
func (c *cloud) begin() {
	c.t.Helper()
	for range 5 {
		c.address = address(c.t)
		if listener, err := net.Listen("tcp", c.address); err == nil {
			c.serve(listener)
			return
		}
	}
	c.t.Fatal("no address stays free")
}

// start starts it again where it was.
func (c *cloud) start() {
	c.t.Helper()
	listener, err := net.Listen("tcp", c.address)
	if err != nil {
		c.t.Fatal(err)
	}
	c.serve(listener)
}

func (c *cloud) serve(listener net.Listener) {
	c.t.Helper()
	server, err := localcloud.New(localcloud.Config{File: c.file})
	if err != nil {
		c.t.Fatal(err)
	}
	server.Interpose(c.take)
	c.server, c.served = server, make(chan error, 1)
	go func() { c.served <- server.Serve(listener) }()
}

// stop ends it at once, whatever call is in hand.
func (c *cloud) stop() {
	if c.server == nil {
		return
	}
	now, cancel := context.WithCancel(context.Background())
	cancel()
	c.server.Shutdown(now) // says that calls were cut off, as is wanted
	if err := <-c.served; err != nil {
		c.t.Errorf("the stand-in ended: %v", err)
	}
	stats := c.server.Stats()
	c.counted.Duplicates += stats.Duplicates
	c.counted.Requests += stats.Requests
	c.server = nil
}

// answer lets calls that arrive fail; nil: they do not.
func (c *cloud) answer(fault localcloud.Interposer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fault = fault
}

func (c *cloud) take(ctx context.Context, req *loggingpb.WriteLogEntriesRequest, apply func() (*loggingpb.WriteLogEntriesResponse, error)) (*loggingpb.WriteLogEntriesResponse, error) {
	c.mu.Lock()
	fault := c.fault
	for _, e := range req.Entries {
		c.note(e)
	}
	c.mu.Unlock()
	written := func() (*loggingpb.WriteLogEntriesResponse, error) {
		response, err := apply()
		if err == nil {
			c.shown(req.Entries)
		}
		return response, err
	}
	if fault == nil {
		return written()
	}
	return fault(ctx, req, written)
}

// note keeps the form in which an entry is sent.
func (c *cloud) note(e *loggingpb.LogEntry) {
	wire, err := proto.MarshalOptions{Deterministic: true}.Marshal(e)
	if err != nil {
		c.t.Errorf("an entry cannot be encoded again: %v", err)
		return
	}
	which := errorOf(e)
	if c.tried[which] == nil {
		c.tried[which] = map[string]bool{}
	}
	c.tried[which][fmt.Sprintf("%s %s %x", e.InsertId, e.Timestamp.AsTime().Format(time.RFC3339Nano), sha256.Sum256(wire))] = true
}

func (c *cloud) shown(entries []*loggingpb.LogEntry) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range entries {
		if which := errorOf(e); c.visible[which].IsZero() {
			c.visible[which] = now
		}
	}
}

// there is how many different errors of an app a reader can see, or was told of by a server that was killed.
func (c *cloud) there(app string) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for which := range c.visible {
		if which.app == app {
			n++
		}
	}
	return n
}

// changed gives the errors that were sent in more than one form: such tries are doubled and not recognised.
func (c *cloud) changed() (changed []failure) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for which, forms := range c.tried {
		if len(forms) > 1 {
			changed = append(changed, which)
			c.t.Logf("%v was sent as %q", which, slices.Collect(maps.Keys(forms)))
		}
	}
	return changed
}

// entries are all that are there.
func (c *cloud) entries() []*loggingpb.LogEntry {
	c.t.Helper()
	entries, err := c.server.Entries("")
	if err != nil {
		c.t.Fatal(err)
	}
	return entries
}

func (c *cloud) duplicates() int64 {
	return c.counted.Duplicates + c.server.Stats().Duplicates
}

// failure names one error of one app.
type failure struct {
	app    string
	number int
}

var errorForm = regexp.MustCompile(`(\w+): error (\d+) happened`)

func errorIn(text string) failure {
	parts := errorForm.FindStringSubmatch(text)
	if parts == nil {
		return failure{}
	}
	n, _ := strconv.Atoi(parts[2])
	return failure{parts[1], n}
}

func errorOf(e *loggingpb.LogEntry) failure {
	return errorIn(e.GetTextPayload() + e.GetJsonPayload().GetFields()["message"].GetStringValue())
}
