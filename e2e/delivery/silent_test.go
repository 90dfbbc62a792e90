//go:build e2e

package delivery

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"testing"
)

// Answers of 500 of which the app logs nothing have no file that could be read again. The sidecar is killed at random moments,
// also within an answer and while Cloud Logging is away: each of them that a user got arrives once.
func TestSilentFailuresSurviveKills(t *testing.T) {
	t.Parallel()
	number := seed(t)
	t.Logf("seed %d", number)
	w := newWorld(t, "shop", newCloud(t), rand.New(rand.NewPCG(number, 0)), 0)
	failing := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.WriteHeader(500)
		if r.URL.Path == "/hangs" {
			http.NewResponseController(rw).Flush()
			<-r.Context().Done()
		}
	}))
	t.Cleanup(failing.Close)
	w.kill()
	w.cloud.elsewhere.Store(true)
	w.options = []string{"--app", failing.URL}
	w.launch()
	got := map[string]bool{} // the requests that a user saw fail
	for n := range 120 {
		if n%30 == 7 {
			w.network.set([]state{refusing, passing}[n/30%2])
		}
		if n%10 == 9 {
			w.kill()
			w.launch()
		}
		path := "/checkout"
		if n%10 == 8 {
			path = "/hangs"
		}
		id := fmt.Sprintf("%032x", n+1<<40)
		if w.fails(path, id, aUser(n)) {
			got[id] = true
		}
	}
	w.network.set(passing)
	entries := map[string]int{}
	w.await("each failure", func() bool {
		clear(entries)
		for _, e := range w.cloud.entries() {
			entries[e.Labels["requestId"]]++
		}
		return len(entries) >= len(got)
	})
	w.stop()
	for id := range got {
		if n := entries[id]; n != 1 {
			t.Errorf("the failure of request %s is there %d times", id, n)
		}
	}
	if len(got) < 100 {
		t.Errorf("only %d requests were answered 500", len(got))
	}
	t.Logf("%d failures, %d kills", len(got), w.kills)
}

// fails makes a request and says whether it was answered 500. The rest of the answer is left where it is.
func (w *world) fails(path, id string, v visit) bool {
	request, err := http.NewRequest("POST", "http://"+w.front+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	request.Header = http.Header{"X-Openreplay-Sessiontoken": {v.token}, "X-Request-Id": {id}}
	answer, err := w.client.Do(request)
	if err != nil {
		return false
	}
	w.t.Cleanup(func() { answer.Body.Close() })
	return answer.StatusCode == 500
}
