package bridge_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloud.google.com/go/logging/apiv2/loggingpb"

	"github.com/openreplay/log-sidecar/bridge"
	"github.com/openreplay/log-sidecar/session"
)

// BenchmarkSearch100000 searches for sessions of ten errors each, by HTTP and gRPC over loopback; client, bridge and stand-in
// share the cores. 200 clients ask at moments that are fixed beforehand, 400 times a second in all; a key may 1,000 times.
func BenchmarkSearch100000(b *testing.B) {
	const sessions, each = 10_000, 10
	cloud := startStandIn(b)
	ids := make([]session.ID, sessions)
	var entries []*loggingpb.LogEntry
	for i := range ids {
		ids[i] = newSession(time.Now().Add(-2*time.Hour).Add(time.Duration(i)*100*time.Millisecond), i+1)
		for n := range each {
			entries = append(entries, entry(ids[i], fmt.Sprintf("e-%06d-%02d", i, n), ids[i].Start().Add(time.Duration(n)*time.Second)))
		}
	}
	cloud.write(b, theLog, entries...)
	for _, load := range []struct{ clients, rate int }{{1, 0}, {200, 400}} {
		clients := load.clients
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			server := httptest.NewServer(newBridge(b, bridge.Config{Cloud: cloud.cloud}))
			defer server.Close()
			transport := &http.Transport{MaxIdleConnsPerHost: clients}
			defer transport.CloseIdleConnections()
			search(b, transport, server.URL, ids[0]) // the stand-in's first search by a label makes its index
			took := searchAll(b, transport, server.URL, ids[1:], clients, load.rate)
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
		})
	}
}

func searchAll(b *testing.B, transport *http.Transport, url string, ids []session.ID, clients, rate int) []time.Duration {
	took := make([]time.Duration, b.N)
	var next atomic.Int64
	var all sync.WaitGroup
	b.ResetTimer()
	begin := time.Now()
	for range clients {
		all.Go(func() {
			for i := next.Add(1) - 1; i < int64(b.N); i = next.Add(1) - 1 {
				late := time.Duration(0)
				if rate > 0 {
					at := begin.Add(time.Duration(i) * time.Second / time.Duration(rate))
					time.Sleep(time.Until(at))
					late = time.Since(at)
				}
				took[i] = late + search(b, transport, url, ids[int(i)%len(ids)])
			}
		})
	}
	all.Wait()
	b.StopTimer()
	return took
}

func search(b *testing.B, transport http.RoundTripper, url string, id session.ID) time.Duration {
	request := httptest.NewRequest("POST", url+searchPath, strings.NewReader(forSession(id)))
	request.Header.Set("Authorization", authorization(keyID, secret))
	begin := time.Now()
	answer, err := transport.RoundTrip(request)
	if err != nil {
		b.Error(err)
		return 0
	}
	defer answer.Body.Close()
	got := decode(b, answer)
	took := time.Since(begin)
	if len(got.Hits.Hits) != 10 {
		b.Errorf("session %v: %d, %d hits", id, got.status, len(got.Hits.Hits))
	}
	return took
}
