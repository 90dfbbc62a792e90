package localcloud_test

import (
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"cloud.google.com/go/logging/apiv2/loggingpb"
	"github.com/google/go-cmp/cmp"
	"github.com/openreplay/log-sidecar/internal/localcloud"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// tail opens a session that answers without waiting for late entries.
func (c *cloud) tail(t *testing.T, filter string) loggingpb.LoggingServiceV2_TailLogEntriesClient {
	t.Helper()
	return c.tailUntil(t.Context(), t, filter)
}

func (c *cloud) tailUntil(ctx context.Context, t *testing.T, filter string) loggingpb.LoggingServiceV2_TailLogEntriesClient {
	t.Helper()
	stream, err := c.TailLogEntries(ctx)
	if err != nil {
		t.Fatal(err)
	}
	err = stream.Send(&loggingpb.TailLogEntriesRequest{ResourceNames: []string{"projects/demo"}, Filter: filter, BufferWindow: durationpb.New(0)})
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

// open writes probes until the session hands one on: from then on it follows
// every write. It returns a channel of all later ids, nil if the session ended.
func (c *cloud) open(t *testing.T, stream loggingpb.LoggingServiceV2_TailLogEntriesClient) <-chan string {
	t.Helper()
	ids := make(chan string, 10_000)
	go func() {
		defer close(ids)
		for {
			answer, err := stream.Recv()
			if err != nil {
				return
			}
			for _, id := range idsOf(answer.Entries) {
				ids <- id
			}
		}
	}()
	for i := 0; ; i++ {
		last := fmt.Sprint("probe ", i)
		c.write(t, entry(last, noon, labelled("probe", "yes")))
		select {
		case id, ok := <-ids:
			for ok && id != last {
				id, ok = <-ids
			}
			if !ok {
				return nil
			}
			return ids
		default:
		}
	}
}

func TestTailFollowsWhatIsWritten(t *testing.T) {
	c := start(t, localcloud.Config{Now: atNoon})
	c.write(t, entry("before", noon))
	ids := c.open(t, c.tail(t, `labels.probe="yes" OR severity>=CRITICAL`))
	c.write(t,
		entry("second", noon.Add(2), func(e *loggingpb.LogEntry) { e.Severity = 600 }),
		entry("of no interest", noon.Add(3)),
		entry("elsewhere", noon, in("projects/else/logs/app"), func(e *loggingpb.LogEntry) { e.Severity = 600 }),
		entry("first", noon.Add(1), func(e *loggingpb.LogEntry) { e.Severity = 600 }),
	)
	if diff := cmp.Diff([]string{"first", "second"}, []string{<-ids, <-ids}); diff != "" {
		t.Error(diff)
	}
}

func TestALaterRequestChangesTheTailsFilter(t *testing.T) {
	c := start(t, localcloud.Config{Now: atNoon})
	stream := c.tail(t, `labels.probe="no"`)
	err := stream.Send(&loggingpb.TailLogEntriesRequest{ResourceNames: []string{"projects/demo"}, Filter: `labels.probe="yes"`, BufferWindow: durationpb.New(0)})
	if err != nil {
		t.Fatal(err)
	}
	c.open(t, stream) // returns once the second filter is in force
}

func TestATailEndsWithTheServer(t *testing.T) {
	c := start(t, localcloud.Config{Now: atNoon})
	ids := c.open(t, c.tail(t, ""))
	c.stop(t)
	for range ids {
	}
}

func TestTailRefusesWhatTheAPIRefuses(t *testing.T) {
	c := start(t, localcloud.Config{Now: atNoon})
	for _, req := range []*loggingpb.TailLogEntriesRequest{
		{},
		{ResourceNames: []string{"projects/demo"}, Filter: "severity>"},
		{ResourceNames: []string{"projects/demo"}, BufferWindow: durationpb.New(61 * time.Second)},
	} {
		stream, err := c.TailLogEntries(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.Send(req); err != nil && err != io.EOF {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%v: %v", req, err)
		}
	}
}

func TestTenTailsAreTheLimit(t *testing.T) {
	c := start(t, localcloud.Config{Now: atNoon})
	ctx, leave := context.WithCancel(t.Context())
	c.open(t, c.tailUntil(ctx, t, ""))
	for range 9 {
		c.open(t, c.tail(t, ""))
	}
	if _, err := c.tail(t, "").Recv(); status.Code(err) != codes.ResourceExhausted {
		t.Error(err)
	}
	leave() // and as soon as the server knows, there is room for another
	for c.open(t, c.tail(t, "")) == nil {
	}
}
