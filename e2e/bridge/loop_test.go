//go:build e2e

package bridge_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// legacyApp fails on /cart, and writes of it what such apps write: a line with the request's ID, and a stack trace.
func legacyApp(t *testing.T, log string) *httptest.Server {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/cart" {
			return
		}
		file, err := os.OpenFile(log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			t.Error(err)
			return
		}
		defer file.Close()
		fmt.Fprintf(file, "%s ERROR [%s] shop.Cart - cannot add\njava.lang.IllegalStateException: no stock for %s\n\tat shop.Cart.add(Cart.java:42)\n",
			time.Now().Format("2006-01-02 15:04:05.000"), r.Header.Get("X-Request-ID"), r.Header.Get("X-Test-User"))
		http.Error(w, "sorry", http.StatusInternalServerError)
	}))
	t.Cleanup(app.Close)
	return app
}

// freeAddress is one that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// eventually asks until the condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	late := time.After(30 * time.Second)
	for !holds() {
		select {
		case <-time.After(50 * time.Millisecond):
		case <-late:
			t.Fatalf("after 30 s still not: %s", what)
		}
	}
}

// From the browser to the panel: two users meet an error each; the sidecar finds both in the app's log and writes them to
// Cloud Logging; OpenReplay asks the bridge for each session and gets that user's error alone.
func TestFromTheBrowserToThePanel(t *testing.T) {
	if err := build("sidecar"); err != nil {
		t.Fatal(err)
	}
	_, cloud := startCloud(t)
	dir := t.TempDir()
	app := legacyApp(t, filepath.Join(dir, "shop.log"))
	sidecar := freeAddress(t)
	startProgram(t, "sidecar", "run", "--listen", sidecar, "--app", app.URL, "--logs", filepath.Join(dir, "*.log"), "--from", "beginning",
		"--state", filepath.Join(dir, "state"), "--health", freeAddress(t), "--admin", freeAddress(t),
		"--project", project, "--log-name", logID, "--endpoint", cloud, "--plaintext")
	eventually(t, "the sidecar answers", func() bool {
		answer, err := http.Get("http://" + sidecar + "/")
		if err == nil {
			answer.Body.Close()
		}
		return err == nil && answer.StatusCode == 200
	})

	users := []string{"ada", "bob"}
	start := time.Now().Add(-10 * time.Minute)
	for i, user := range users {
		token := strconv.FormatUint(uint64(newSession(start, i+1)), 36) + ".3az.lrraavgc.ovJ2jwk7BEAZr3hB1GgCdXkXTF3W4c4sndRrpZevt3q"
		request, err := http.NewRequest("POST", "http://"+sidecar+"/cart", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("X-OpenReplay-SessionToken", token)
		request.Header.Set("X-Test-User", user)
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
	}

	url, _ := startBridge(t, cloud, "--settle", "1s")
	server := newOpenReplay(t, url, apiKey())
	for i, user := range users {
		id := newSession(start, i+1)
		var hits []panelHit
		eventually(t, user+"'s error is shown", func() (shown bool) {
			var err error
			if hits, err = server.fetch(id); err != nil {
				t.Fatal(err)
			}
			return len(hits) > 0
		})
		if len(hits) != 1 {
			t.Fatalf("%s has %d errors", user, len(hits))
		}
		got := hits[0].Source
		for _, want := range []string{"no stock for " + user + "\n", "\tat shop.Cart.add(Cart.java:42)\n", "openReplaySession.id=" + id.String()} {
			if !strings.Contains(got.Message, want) {
				t.Errorf("%s: %q is not in %q", user, want, got.Message)
			}
		}
		if !slices.Equal(got.Level, []string{"error"}) || time.Since(got.Timestamp).Abs() > time.Minute || hits[0].ID == "" {
			t.Errorf("%s: %+v", user, hits[0])
		}
	}
}
