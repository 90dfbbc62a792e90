package localcloud_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	logging "cloud.google.com/go/logging/apiv2"
	"cloud.google.com/go/logging/apiv2/loggingpb"
	"github.com/googleapis/gax-go/v2"
	"github.com/openreplay/log-sidecar/internal/localcloud"
	"google.golang.org/api/option"
	"google.golang.org/genproto/googleapis/api/monitoredres"
	ltype "google.golang.org/genproto/googleapis/logging/type"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// cloud is a running stand-in with one client of each transport.
type cloud struct {
	*localcloud.Server
	addr string
	*logging.Client
}

func start(t testing.TB, config localcloud.Config) *cloud {
	t.Helper()
	server, err := localcloud.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, server)
}

func serve(t testing.TB, server *localcloud.Server) *cloud {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	client, err := logging.NewClient(t.Context(), clientOptions(l.Addr().String())...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			t.Errorf("shut down: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return &cloud{server, l.Addr().String(), client}
}

// clientOptions point a Google client at the stand-in.
func clientOptions(addr string) []option.ClientOption {
	return []option.ClientOption{
		option.WithEndpoint(addr),
		option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
	}
}

type descriptor = monitoredres.MonitoredResourceDescriptor

// noRetry makes a call show the first answer it gets.
var noRetry = gax.WithRetry(func() gax.Retryer { return nil })

// post sends a REST call and returns its status and body.
func (c *cloud) post(t *testing.T, path, body string) (int, string) {
	t.Helper()
	return c.do(t, http.MethodPost, path, body)
}

func (c *cloud) do(t *testing.T, method, path, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+c.addr+path, bytes.NewBufferString(body))
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

const testLog = "projects/demo/logs/app"

var (
	global = &monitoredres.MonitoredResource{Type: "global"}
	noon   = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
)

func atNoon() time.Time { return noon }

// entry is a valid entry; edits make it what a test needs.
func entry(id string, at time.Time, edits ...func(*loggingpb.LogEntry)) *loggingpb.LogEntry {
	e := &loggingpb.LogEntry{
		LogName: testLog, Resource: global, InsertId: id, Timestamp: timestamppb.New(at),
		Severity: ltype.LogSeverity_ERROR,
		Payload:  &loggingpb.LogEntry_TextPayload{TextPayload: "text of " + id},
	}
	for _, edit := range edits {
		edit(e)
	}
	return e
}

func labelled(key, value string) func(*loggingpb.LogEntry) {
	return func(e *loggingpb.LogEntry) {
		if e.Labels == nil {
			e.Labels = map[string]string{}
		}
		e.Labels[key] = value
	}
}

func (c *cloud) write(t *testing.T, entries ...*loggingpb.LogEntry) {
	t.Helper()
	if _, err := c.WriteLogEntries(t.Context(), &loggingpb.WriteLogEntriesRequest{Entries: entries}); err != nil {
		t.Fatal(err)
	}
}

// ids returns what a filter finds, by insertId, oldest first.
func (c *cloud) ids(t *testing.T, filter string) []string {
	t.Helper()
	entries, err := c.Entries(filter)
	if err != nil {
		t.Fatalf("%s: %v", filter, err)
	}
	return idsOf(entries)
}

func idsOf(entries []*loggingpb.LogEntry) []string {
	ids := []string{}
	for _, e := range entries {
		ids = append(ids, e.InsertId)
	}
	return ids
}

// numbered makes n valid entries, one a millisecond from noon on.
func numbered(n int) []*loggingpb.LogEntry {
	var entries []*loggingpb.LogEntry
	for i := range n {
		entries = append(entries, entry(fmt.Sprintf("id-%06d", i), noon.Add(time.Duration(i)*time.Millisecond)))
	}
	return entries
}

func TestWhatIsWrittenByOneTransportIsReadByTheOther(t *testing.T) {
	c := start(t, localcloud.Config{})
	now := time.Now().UTC().Format(time.RFC3339Nano)
	code, body := c.post(t, "/v2/entries:write?alt=json", `{"logName":"projects/demo/logs/app","resource":{"type":"global"},"entries":[
		{"insertId":"rest","severity":"ERROR","textPayload":"hello","timestamp":"`+now+`"}]}`)
	if code != 200 || body != "{}" {
		t.Fatalf("write: %d %s", code, body)
	}
	c.write(t, entry("grpc", time.Now()))

	it := c.ListLogEntries(t.Context(), &loggingpb.ListLogEntriesRequest{ResourceNames: []string{"projects/demo"}, Filter: "severity>=ERROR"})
	var got []string
	for e := range it.All() {
		got = append(got, e.InsertId)
	}
	if len(got) != 2 || got[0] != "rest" || got[1] != "grpc" {
		t.Errorf("gRPC reads %v", got)
	}
	code, body = c.post(t, "/v2/entries:list", `{"resourceNames":["projects/demo"],"filter":"textPayload:grpc","orderBy":"timestamp desc","pageSize":5}`)
	if code != 200 || !bytes.Contains([]byte(body), []byte(`"insertId":"grpc"`)) || bytes.Contains([]byte(body), []byte(`"insertId":"rest"`)) {
		t.Errorf("REST reads %d %s", code, body)
	}
}
