//go:build e2e

package sessions

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/openreplay/log-sidecar/e2e/stage"
)

// TestAPageOfAnotherOrigin: the pages come from one server, and the calls go to the app behind the sidecar, which knows its
// pages' origin and not our header.
func TestAPageOfAnotherOrigin(t *testing.T) {
	browser := startBrowser(t, stage.Need(t, "chromium", "apt-get install chromium, or run e2e/setup"))
	ingest := newIngest(t)
	script := ways[1].script(t, ingest.address)
	pages := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/":
			fmt.Fprint(w, `<!doctype html><html><head><title>Shop</title><script src="/page.js"></script></head><body><h1>Shop</h1></body></html>`)
		case "/page.js":
			fmt.Fprint(w, script)
		}
	}))
	defer pages.Close()
	var log *os.File
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Origin") == pages.URL {
			w.Header().Set("Access-Control-Allow-Origin", pages.URL)
		}
		switch asked := strings.ToLower(r.Header.Get("Access-Control-Request-Headers")); {
		case r.Method != http.MethodOptions:
			fmt.Fprintf(log, "ERROR request %s: %s could not be served\n", r.Header.Get("X-Request-ID"), r.FormValue("ref"))
			w.WriteHeader(http.StatusInternalServerError)
		case asked != "" && asked != "content-type":
			w.Header().Del("Access-Control-Allow-Origin") // some refuse the whole preflight for a header that they do not know
			w.WriteHeader(http.StatusForbidden)
		default:
			w.Header().Set("Access-Control-Allow-Headers", "content-type")
		}
	}))
	defer api.Close()
	s := stage.New(t, api.URL)
	var err error
	if log, err = os.Create(filepath.Join(s.Logs, "app.log")); err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	s.Run()

	p := newPerson(t, browser, s, "alice")
	p.does("open the page", chromedp.Navigate(pages.URL+"/"))
	p.settles(true)
	for range 3 {
		word := p.fails("call")
		p.does("call the app", chromedp.Evaluate[chromedp.Void](`fetch("`+p.front+`/chart?ref=`+word+`").then(answer => answer.status)`, chromedp.EvalAwaitPromise))
	}
	if !t.Failed() {
		(&way{by: []string{"header"}}).judge(t, s, ingest, p.failures)
	}
}
