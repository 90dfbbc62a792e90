//go:build e2e

// Package clients tries the Cloud Logging stand-in with clients that know
// nothing of it.
package clients

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	logging "cloud.google.com/go/logging/apiv2"
	"cloud.google.com/go/logging/apiv2/loggingpb"
	"github.com/openreplay/log-sidecar/internal/localcloud"
	"google.golang.org/api/option"
	"google.golang.org/genproto/googleapis/api/monitoredres"
	ltype "google.golang.org/genproto/googleapis/logging/type"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/timestamppb"
)

const project = "demo-project"

// start runs a stand-in and returns its address.
func start(t *testing.T) (*localcloud.Server, string) {
	t.Helper()
	server, err := localcloud.New(localcloud.Config{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			t.Errorf("shut down: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return server, l.Addr().String()
}

// tool finds a program that the test cannot do without.
func tool(t *testing.T, name, install string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is not installed, and this test needs it: %s", name, install)
	}
	return path
}

// run runs a command and returns what it wrote to standard output.
func run(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
	return string(out)
}

// fill writes n entries of one log by gRPC, a millisecond apart, the last now.
func fill(t *testing.T, server *localcloud.Server, addr string, n int) {
	t.Helper()
	client, err := logging.NewClient(t.Context(), option.WithEndpoint(addr), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	req := &loggingpb.WriteLogEntriesRequest{LogName: "projects/" + project + "/logs/app", Resource: &monitoredres.MonitoredResource{Type: "global"}}
	for i := range n {
		req.Entries = append(req.Entries, &loggingpb.LogEntry{
			InsertId: fmt.Sprintf("id-%05d", i), Severity: ltype.LogSeverity_ERROR,
			Timestamp: timestamppb.New(time.Now().Add(time.Duration(i-n) * time.Millisecond)),
			Payload:   &loggingpb.LogEntry_TextPayload{TextPayload: fmt.Sprintf("entry %d", i)},
		})
	}
	if _, err := client.WriteLogEntries(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	if got := server.Stats().Written; got != int64(n) {
		t.Fatalf("%d entries written, want %d", got, n)
	}
}
