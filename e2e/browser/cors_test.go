//go:build e2e

// Package browser holds the tests with a real browser.
package browser

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"regexp"
	"testing"

	"github.com/openreplay/log-sidecar/e2e/stage"
)

// page calls an API of another origin as a page with OpenReplay's tracker does, and says in its title what came of it.
const page = `<!doctype html><title>waiting</title><script>
fetch("%s/orders", {method: "POST", headers: {"Content-Type": "application/json", "X-OpenReplay-SessionToken": "a.b.c.d"}, body: "{}"})
  .then(answer => answer.text()).then(text => document.title = "answer: " + text, fault => document.title = "fault: " + fault.message)
</script>`

// api is a legacy service that lets pages of other origins in, and knows nothing of OpenReplay's header.
func api(w http.ResponseWriter, r *http.Request) {
	if origin := r.Header.Get("Origin"); origin != "" {
		w.Header().Set("Access-Control-Allow-Origin", origin)
		w.Header().Set("Access-Control-Allow-Headers", "Content-Type")
	}
	if r.Method == http.MethodPost {
		io.WriteString(w, "thanks")
	}
}

// TestAPageOfAnotherOrigin: the tracker's header makes the browser ask first, the legacy app does not know the header, and
// the page's own call is blocked. With the sidecar in front it works.
func TestAPageOfAnotherOrigin(t *testing.T) {
	chromium := stage.Need(t, "chromium", "apt-get install chromium, or run e2e/setup")
	app := httptest.NewServer(http.HandlerFunc(api))
	defer app.Close()
	s := stage.New(t, app.URL)
	s.Run()

	if got := visit(t, chromium, app.URL); got != "fault: Failed to fetch" {
		t.Errorf("without the sidecar the page says %q; if its call works, this test shows nothing", got)
	}
	if got := visit(t, chromium, "http://"+s.Front); got != "answer: thanks" {
		t.Errorf("with the sidecar the page says %q", got)
	}
}

var title = regexp.MustCompile(`<title>(.*)</title>`)

// visit opens the page in a browser of its own and gives its title.
func visit(t *testing.T, chromium, apiURL string) string {
	t.Helper()
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, page, apiURL) }))
	defer site.Close()
	out, err := exec.Command(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--user-data-dir="+t.TempDir(),
		"--virtual-time-budget=5000", "--dump-dom", site.URL).Output()
	if err != nil {
		t.Fatalf("chromium: %v", err)
	}
	m := title.FindSubmatch(out)
	if m == nil {
		t.Fatalf("chromium gave no page: %q", out)
	}
	return string(m[1])
}
