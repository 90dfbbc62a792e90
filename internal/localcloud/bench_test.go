package localcloud_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"cloud.google.com/go/logging/apiv2/loggingpb"
	"github.com/openreplay/log-sidecar/internal/localcloud"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// batches makes requests of 500 entries like those of the sidecar, some 700
// bytes each, and dates them anew for every use.
func batches(n int) []*loggingpb.WriteLogEntriesRequest {
	var all []*loggingpb.WriteLogEntriesRequest
	for b := range n {
		req := &loggingpb.WriteLogEntriesRequest{LogName: testLog, Resource: global, PartialSuccess: true}
		for i := range 500 {
			payload, err := structpb.NewStruct(map[string]any{
				"message":   "java.lang.IllegalStateException: no stock\n\tat shop.Cart.add(Cart.java:42)\n\tat shop.Servlet.doPost(Servlet.java:17)",
				"eventTime": "2026-11-25T12:00:00.123Z",
				"context":   map[string]any{"httpRequest": map[string]any{"method": "POST", "url": "/cart", "responseStatusCode": 500}},
			})
			if err != nil {
				panic(err)
			}
			req.Entries = append(req.Entries, &loggingpb.LogEntry{
				InsertId: fmt.Sprintf("%08x-%012d", b, i), Severity: 500,
				Payload: &loggingpb.LogEntry_JsonPayload{JsonPayload: payload},
				Labels: map[string]string{
					"openReplaySessionToken": fmt.Sprintf("jw4wdfpgqhoj.3az.lrraavgc.%d", i%100),
					"openReplaySession.id":   fmt.Sprint(2618307011354435000 + b*500 + i),
					"requestId":              fmt.Sprintf("%032x", b*500+i), "matchedBy": "requestId", "match": "exact",
				},
			})
		}
		all = append(all, req)
	}
	return all
}

func redate(req *loggingpb.WriteLogEntriesRequest, at time.Time) {
	for i, e := range req.Entries {
		e.Timestamp = timestamppb.New(at.Add(time.Duration(i) * time.Microsecond))
	}
}

// One writer with one request in flight, client and server on the same cores.
func BenchmarkWrite(b *testing.B) {
	c := start(b, localcloud.Config{})
	req := batches(1)[0]
	var entries int
	for b.Loop() {
		redate(req, time.Now())
		if _, err := c.WriteLogEntries(context.Background(), req); err != nil {
			b.Fatal(err)
		}
		entries += len(req.Entries)
	}
	b.ReportMetric(float64(entries)/b.Elapsed().Seconds(), "entries/s")
}

func filled(b *testing.B, n int) *cloud {
	c := start(b, localcloud.Config{MaxBytes: 1 << 30})
	for _, req := range batches(n / 500) {
		redate(req, time.Now())
		if _, err := c.WriteLogEntries(context.Background(), req); err != nil {
			b.Fatal(err)
		}
	}
	return c
}

// The first query for a label makes its index, later ones use it; a query that
// finds nothing looks at all entries.
func BenchmarkQuery100000(b *testing.B) {
	c := filled(b, 100_000)
	for _, filter := range []string{
		`labels."openReplaySession.id"="2618307011354480000"`,
		`labels.openReplaySessionToken!=null AND severity=CRITICAL AND timestamp>="2020-01-01T00:00:00Z"`,
		`jsonPayload.context.httpRequest.url="/nowhere"`,
	} {
		b.Run(filter, func(b *testing.B) {
			for b.Loop() {
				if _, err := c.Entries(filter); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkFirstLabelQuery100000(b *testing.B) {
	c := filled(b, 100_000)
	n := 0
	for b.Loop() {
		n++
		if _, err := c.Entries(fmt.Sprintf(`labels.key-%d="x"`, n)); err != nil {
			b.Fatal(err)
		}
	}
}
