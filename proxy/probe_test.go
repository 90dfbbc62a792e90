//go:build probe

package proxy

import (
	"bufio"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestKeepAliveRaceProbe is the real thing: 3,200 POSTs by 200 clients, paced so that they come just when the proxy or the
// app gives up idle connections. It takes about 12 seconds; its pauses are what it is about.
//
//	go test -tags probe -run KeepAliveRaceProbe -v ./proxy
func TestKeepAliveRaceProbe(t *testing.T) {
	app := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Keep-Alive", "timeout=1")
	}))
	app.Config.IdleTimeout = time.Second
	app.Start()
	defer app.Close()
	_, addr := start(t, Config{App: app.URL}, newSeen())
	var failed atomic.Int64
	var clients sync.WaitGroup
	for range 200 {
		clients.Go(func() {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			r := bufio.NewReader(conn)
			for i := range 16 {
				if _, why := post(conn, r); why != "" {
					failed.Add(1)
				}
				pause := []time.Duration{500 * time.Millisecond, time.Second}[i%2]
				time.Sleep(pause + rand.N(2*time.Millisecond) - time.Millisecond)
			}
		})
	}
	clients.Wait()
	t.Logf("%d of 3200 POSTs failed", failed.Load())
	if failed.Load() > 0 {
		t.Fail()
	}
}
