package bridge_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	logging "cloud.google.com/go/logging/apiv2"
	"cloud.google.com/go/logging/apiv2/loggingpb"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"google.golang.org/api/option"
	"google.golang.org/genproto/googleapis/api/monitoredres"
	ltype "google.golang.org/genproto/googleapis/logging/type"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/openreplay/log-sidecar/bridge"
	"github.com/openreplay/log-sidecar/internal/localcloud"
	"github.com/openreplay/log-sidecar/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noLog = zap.NewNop()

const (
	project = "shop"
	logID   = "openreplay-errors"
	keyID   = "openreplay"
	secret  = "correct-horse-battery-staple"
)

// keysFile writes a keys file.
func keysFile(t testing.TB, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func loadKeys(t testing.TB, log *zap.Logger, lines ...string) *bridge.Keys {
	t.Helper()
	if len(lines) == 0 {
		lines = []string{strings.Join([]string{keyID, secret, project, logID}, " ")}
	}
	keys, err := bridge.LoadKeys(keysFile(t, lines...), log)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// newBridge makes one that is closed after the test; what c leaves open is filled in.
func newBridge(t testing.TB, c bridge.Config) *bridge.Bridge {
	t.Helper()
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	if c.Keys == nil {
		c.Keys = loadKeys(t, c.Log)
	}
	if c.Registerer == nil {
		c.Registerer = prometheus.NewRegistry()
	}
	b := bridge.New(c)
	t.Cleanup(b.Close)
	return b
}

// A cloudFunc is a Cloud Logging that does as it is told.
type cloudFunc func(ctx context.Context, request *loggingpb.ListLogEntriesRequest) (*loggingpb.ListLogEntriesResponse, error)

func (f cloudFunc) List(ctx context.Context, r *loggingpb.ListLogEntriesRequest) (*loggingpb.ListLogEntriesResponse, error) {
	return f(ctx, r)
}

// standIn is the Cloud Logging stand-in with two clients: the bridge's, and one that writes.
type standIn struct {
	cloud  *bridge.CloudLogging
	writer *logging.Client
}

func startStandIn(t testing.TB) *standIn {
	t.Helper()
	server, err := localcloud.New(localcloud.Config{MaxBytes: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	addr := listener.Addr().String()
	cloud, err := bridge.Connect(context.Background(), addr, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cloud.Close() })
	writer, err := logging.NewClient(context.Background(), option.WithEndpoint(addr), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { writer.Close() })
	return &standIn{cloud, writer}
}

func (s *standIn) write(t testing.TB, log string, entries ...*loggingpb.LogEntry) {
	t.Helper()
	for len(entries) > 0 {
		n := min(len(entries), 1000)
		_, err := s.writer.WriteLogEntries(context.Background(), &loggingpb.WriteLogEntriesRequest{
			LogName: log, Resource: &monitoredres.MonitoredResource{Type: "global"}, Entries: entries[:n],
		})
		if err != nil {
			t.Fatal(err)
		}
		entries = entries[n:]
	}
}

const theLog = "projects/" + project + "/logs/" + logID

// newSession gives the ID of a session that began at a time; n tells apart those of one millisecond.
func newSession(at time.Time, n int) session.ID {
	return session.ID(uint64(at.UnixMilli()-1_550_000_000_000)<<24 | uint64(n))
}

// entry is one as the sidecar writes it: sealed a second after the record's own time.
func entry(id session.ID, insertID string, at time.Time, edits ...func(*loggingpb.LogEntry)) *loggingpb.LogEntry {
	payload, err := structpb.NewStruct(map[string]any{
		"message":   "java.lang.IllegalStateException: no stock\n\tat shop.Cart.add(Cart.java:42)",
		"eventTime": at.UTC().Format(time.RFC3339Nano),
		"context":   map[string]any{"httpRequest": map[string]any{"method": "POST", "url": "/cart", "responseStatusCode": 500}},
	})
	if err != nil {
		panic(err)
	}
	e := &loggingpb.LogEntry{
		LogName: theLog, InsertId: insertID, Severity: ltype.LogSeverity_ERROR, Timestamp: timestamppb.New(at.Add(time.Second)),
		Payload: &loggingpb.LogEntry_JsonPayload{JsonPayload: payload},
		Labels:  map[string]string{"openReplaySessionToken": "a.b.c.d", "openReplaySession.id": id.String(), "match": "exact"},
	}
	for _, edit := range edits {
		edit(e)
	}
	return e
}

// numbered are n entries of one session, a millisecond apart.
func numbered(id session.ID, n int) []*loggingpb.LogEntry {
	entries := make([]*loggingpb.LogEntry, n)
	for i := range entries {
		entries[i] = entry(id, fmt.Sprintf("e-%06d", i), id.Start().Add(time.Duration(i)*time.Millisecond))
	}
	return entries
}

// authorization is what OpenReplay sends.
func authorization(id, secret string) string {
	return "ApiKey " + base64.StdEncoding.EncodeToString([]byte(id+":"+secret))
}

// forSession is OpenReplay's body.
func forSession(id session.ID) string {
	return fmt.Sprintf(`{"size": 1000, "query": {"match_phrase": {"message": "openReplaySession.id=%d"}}}`, id)
}

const searchPath = "/logs/_search?track_total_hits=true"

// ask sends a request with the key and gives the recorded answer.
func ask(b http.Handler, method, path, body string, edits ...func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Authorization", authorization(keyID, secret))
	r.Header.Set("Content-Type", "application/json")
	for _, edit := range edits {
		edit(r)
	}
	w := httptest.NewRecorder()
	b.ServeHTTP(w, r)
	return w
}

// reply is what a client reads of an answer.
type reply struct {
	status     int
	retryAfter string
	Shards     struct {
		Failed   int
		Failures []struct{ Reason reason }
	} `json:"_shards"`
	Hits struct {
		Total struct {
			Value    int
			Relation string
		}
		Hits []struct {
			ID     string `json:"_id"`
			Source struct {
				Timestamp time.Time `json:"@timestamp"`
				Message   string
				Level     []string
			} `json:"_source"`
		}
	}
	Error  reason
	Status int
}

type reason struct{ Type, Reason string }

func (r reply) ids() []string {
	ids := []string{}
	for _, h := range r.Hits.Hits {
		ids = append(ids, h.ID)
	}
	return ids
}

func searchFor(t testing.TB, b http.Handler, id session.ID, edits ...func(*http.Request)) reply {
	t.Helper()
	return decode(t, ask(b, "POST", searchPath, forSession(id), edits...).Result())
}

func decode(t testing.TB, answer *http.Response) reply {
	t.Helper()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	r := reply{status: answer.StatusCode, retryAfter: answer.Header.Get("Retry-After")}
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return r
}
