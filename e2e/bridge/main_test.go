// Package bridge_test points real clients of Elasticsearch at the bridge's own binary.
package bridge_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	logging "cloud.google.com/go/logging/apiv2"
	"cloud.google.com/go/logging/apiv2/loggingpb"
	"google.golang.org/api/option"
	"google.golang.org/genproto/googleapis/api/monitoredres"
	ltype "google.golang.org/genproto/googleapis/logging/type"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/openreplay/log-sidecar/internal/localcloud"
	"github.com/openreplay/log-sidecar/session"
)

const (
	project = "shop"
	logID   = "openreplay-errors"
	keyID   = "openreplay"
	secret  = "correct-horse-battery-staple"
)

// programs is where the binaries are.
var programs string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "bridge-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	programs = dir
	if err := build("bridge"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// build makes a binary as it is for pods.
func build(name string) error {
	cmd := exec.Command("go", "build", "-C", filepath.Join("..", ".."), "-tags", "grpcnotrace", "-trimpath", "-ldflags", "-s -w",
		"-o", programs, "./cmd/"+name)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", name, err, out)
	}
	return nil
}

// startCloud runs the Cloud Logging stand-in.
func startCloud(t testing.TB) (cloud *localcloud.Server, addr string) {
	t.Helper()
	cloud, err := localcloud.New(localcloud.Config{MaxBytes: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- cloud.Serve(listener) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := cloud.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		<-served
	})
	return cloud, listener.Addr().String()
}

// startProgram runs one of the binaries until the test ends, and hands on the lines that it writes to standard error.
func startProgram(t testing.TB, name string, args ...string) (process *os.Process, lines <-chan string) {
	t.Helper()
	cmd := exec.Command(filepath.Join(programs, name), args...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out := make(chan string, 10000)
	go func() {
		defer close(out)
		for s := bufio.NewScanner(stderr); s.Scan(); {
			select {
			case out <- s.Text():
			default: // nobody reads on
			}
		}
	}()
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		for line := range out {
			if t.Failed() {
				t.Log(name, line)
			}
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	})
	return cmd.Process, out
}

// startBridge runs the bridge and gives its address for clients.
func startBridge(t testing.TB, cloud string, args ...string) (url string, process *os.Process) {
	t.Helper()
	keys := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(keys, []byte(strings.Join([]string{keyID, secret, project, logID}, " ")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	process, lines := startProgram(t, "bridge", append([]string{"serve", "--listen", "127.0.0.1:0", "--health", "127.0.0.1:0",
		"--keys", keys, "--endpoint", cloud, "--plaintext"}, args...)...)
	for line := range lines {
		var up struct{ Message, Listen string }
		if json.Unmarshal([]byte(line), &up) == nil && up.Message == "the bridge is up" {
			return "http://" + up.Listen, process
		}
	}
	t.Fatal("the bridge did not come up")
	return "", nil
}

// apiKey is what OpenReplay gives its client.
func apiKey() string { return base64.StdEncoding.EncodeToString([]byte(keyID + ":" + secret)) }

// newSession gives the ID of a session that began at a time; n tells apart those of one millisecond.
func newSession(at time.Time, n int) session.ID {
	return session.ID(uint64(at.UnixMilli()-1_550_000_000_000)<<24 | uint64(n))
}

// entry is one as the sidecar writes it.
func entry(id session.ID, insertID string, at time.Time) *loggingpb.LogEntry {
	payload, err := structpb.NewStruct(map[string]any{
		"message":   "java.lang.IllegalStateException: no stock\n\tat shop.Cart.add(Cart.java:42)",
		"eventTime": at.UTC().Format(time.RFC3339Nano),
	})
	if err != nil {
		panic(err)
	}
	return &loggingpb.LogEntry{InsertId: insertID, Severity: ltype.LogSeverity_ERROR, Timestamp: timestamppb.New(at),
		Payload: &loggingpb.LogEntry_JsonPayload{JsonPayload: payload},
		Labels:  map[string]string{"openReplaySessionToken": "a.b.c.d", "openReplaySession.id": id.String()}}
}

func write(t testing.TB, addr string, entries ...*loggingpb.LogEntry) {
	t.Helper()
	client, err := logging.NewClient(context.Background(), option.WithEndpoint(addr), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for len(entries) > 0 {
		n := min(len(entries), 1000)
		_, err := client.WriteLogEntries(context.Background(), &loggingpb.WriteLogEntriesRequest{
			LogName: "projects/" + project + "/logs/" + logID, Resource: &monitoredres.MonitoredResource{Type: "global"}, Entries: entries[:n]})
		if err != nil {
			t.Fatal(err)
		}
		entries = entries[n:]
	}
}

// residentBytes is a process's RSS.
func residentBytes(t testing.TB, process *os.Process) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", process.Pid))
	if err != nil {
		t.Fatal("RSS is read from /proc, which is not here")
	}
	for line := range strings.Lines(string(text)) {
		var kilobytes int64
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kilobytes); n == 1 {
			return kilobytes << 10
		}
	}
	t.Fatal("no VmRSS")
	return 0
}
