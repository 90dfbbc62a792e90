package cloudlogging

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/logging/apiv2/loggingpb"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/openreplay/log-sidecar/enrich/record"
	"github.com/openreplay/log-sidecar/forwarder"
	"github.com/openreplay/log-sidecar/internal/localcloud"
)

func TestMain(m *testing.M) {
	if err := trustOurselves(); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m,
		// started by a package of the client's at its first use, for as long as the program lives
		goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

// server is the stand-in, and a sink that writes to it.
func server(t *testing.T) (*localcloud.Server, *Sink) {
	t.Helper()
	cloud, err := localcloud.New(localcloud.Config{})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- cloud.Serve(listener) }()
	sink := New(Config{Project: "p", LogName: "openreplay-errors", Endpoint: listener.Addr().String(), Plaintext: true})
	t.Cleanup(func() {
		sink.Close()
		cloud.Shutdown(context.Background())
		<-served
	})
	return cloud, sink
}

// sealed gives n entries with the messages "0", "1", ...
func sealed(t *testing.T, s *Sink, n int) (batch [][]byte) {
	t.Helper()
	for i := range n {
		b, err := s.Seal(nil, &forwarder.Entry{InsertID: fmt.Sprintf("id-%03d", i), Severity: record.Error, Message: fmt.Sprint(i),
			Labels: []forwarder.Label{{Key: "openReplaySessionToken", Value: "a.b.c.d"}}}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		batch = append(batch, b)
	}
	return batch
}

func stored(t *testing.T, cloud *localcloud.Server) (messages []string) {
	t.Helper()
	entries, err := cloud.Entries(`logName="projects/p/logs/openreplay-errors" AND labels.openReplaySessionToken!=null AND severity>=ERROR`)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		messages = append(messages, e.GetJsonPayload().GetFields()["message"].GetStringValue())
	}
	return messages
}

func TestSendTwiceIsStoredOnce(t *testing.T) {
	cloud, sink := server(t)
	batch := sealed(t, sink, 3)
	for range 2 {
		if out := sink.Send(t.Context(), batch); out.Err != nil || len(out.Refused) > 0 {
			t.Fatalf("Send: %+v", out)
		}
	}
	if diff := cmp.Diff([]string{"0", "1", "2"}, stored(t, cloud)); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
}

// answering makes the stand-in answer writes with what decide says; nil lets them through.
func answering(cloud *localcloud.Server, decide func(*loggingpb.WriteLogEntriesRequest) error) {
	cloud.Interpose(func(_ context.Context, r *loggingpb.WriteLogEntriesRequest, apply func() (*loggingpb.WriteLogEntriesResponse, error)) (*loggingpb.WriteLogEntriesResponse, error) {
		if err := decide(r); err != nil {
			return nil, err
		}
		return apply()
	})
}

func text(e *loggingpb.LogEntry) string {
	return e.GetJsonPayload().GetFields()["message"].GetStringValue()
}

// TestEveryCode: what each of gRPC's codes means for a batch.
func TestEveryCode(t *testing.T) {
	cloud, sink := server(t)
	batch := sealed(t, sink, 2)
	for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
		answering(cloud, func(*loggingpb.WriteLogEntriesRequest) error { return status.Error(code, "no") })
		out := sink.Send(t.Context(), batch)
		slow := map[codes.Code]bool{codes.InvalidArgument: true, codes.OutOfRange: true, codes.FailedPrecondition: true,
			codes.ResourceExhausted: true, codes.PermissionDenied: true, codes.Unauthenticated: true, codes.NotFound: true, codes.Unimplemented: true}
		if out.Err == nil || out.Slow != slow[code] || out.Code == "" {
			t.Errorf("%v for the whole batch: %+v, want it to be tried again, slowly: %v", code, out, slow[code])
		}
	}
	if got := stored(t, cloud); len(got) != 0 {
		t.Errorf("stored %q", got)
	}
}

// TestPoisonIsFoundByHalving: the server names nobody.
func TestPoisonIsFoundByHalving(t *testing.T) {
	cloud, sink := server(t)
	answering(cloud, func(r *loggingpb.WriteLogEntriesRequest) error {
		for _, e := range r.GetEntries() {
			if m := text(e); m == "3" || m == "8" {
				return status.Error(codes.InvalidArgument, "bad "+m)
			}
		}
		return nil
	})
	out := sink.Send(t.Context(), sealed(t, sink, 10))
	if diff := cmp.Diff(map[int]string{3: "bad 3", 8: "bad 8"}, out.Refused); diff != "" || out.Err != nil {
		t.Errorf("refused (-want +got):\n%s%v", diff, out.Err)
	}
	if diff := cmp.Diff([]string{"0", "1", "2", "4", "5", "6", "7", "9"}, stored(t, cloud)); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
}

func TestPartialErrorsNameTheRefused(t *testing.T) {
	cloud, sink := server(t)
	partial := func(codes map[int32]codes.Code) error {
		details := &loggingpb.WriteLogEntriesPartialErrors{LogEntryErrors: map[int32]*rpcstatus.Status{}}
		for i, code := range codes {
			details.LogEntryErrors[i] = &rpcstatus.Status{Code: int32(code), Message: "why"}
		}
		st, err := status.New(1, "some").WithDetails(details)
		if err != nil {
			t.Fatal(err)
		}
		return st.Err()
	}
	answering(cloud, func(*loggingpb.WriteLogEntriesRequest) error {
		return partial(map[int32]codes.Code{1: codes.InvalidArgument})
	})
	batch := sealed(t, sink, 3)
	if out := sink.Send(t.Context(), batch); out.Err != nil || !cmp.Equal(out.Refused, map[int]string{1: "why"}) {
		t.Errorf("one refused for good: %+v", out)
	}
	answering(cloud, func(*loggingpb.WriteLogEntriesRequest) error {
		return partial(map[int32]codes.Code{1: codes.InvalidArgument, 2: codes.PermissionDenied})
	})
	if out := sink.Send(t.Context(), batch); out.Err == nil {
		t.Errorf("one of the failed may be taken next time, yet it is final: %+v", out)
	}
}

func TestNobodyThere(t *testing.T) {
	sink := New(Config{Project: "p", LogName: "l", Endpoint: "127.0.0.1:1", Plaintext: true})
	defer sink.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if out := sink.Send(ctx, [][]byte{nil}); out.Err == nil || out.Slow {
		t.Errorf("Send to nobody: %+v, want a fault that heals by itself", out)
	}
}

func TestNoCredentials(t *testing.T) {
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "/does/not/exist.json")
	sink := New(Config{Project: "p", LogName: "l"})
	out := sink.Send(t.Context(), [][]byte{nil})
	if out.Err == nil || !out.Slow || !strings.Contains(out.Err.Error(), "GOOGLE_APPLICATION_CREDENTIALS") {
		t.Errorf("Send without credentials: %+v, want a slow fault that names the way out", out)
	}
}

func TestCheckWritesNothing(t *testing.T) {
	cloud, sink := server(t)
	if err := sink.Check(t.Context()); err != nil {
		t.Errorf("Check: %v", err)
	}
	if entries, _ := cloud.Entries(""); len(entries) != 0 {
		t.Errorf("Check left %d entries", len(entries))
	}
	if err := New(Config{LogName: "l", Endpoint: "127.0.0.1:1", Plaintext: true}).Check(t.Context()); !errors.Is(err, ErrNoProject) {
		t.Errorf("Check without a project: %v", err)
	}
}
