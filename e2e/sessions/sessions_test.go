//go:build e2e

// Package sessions proves whose request it is with the real things: Debian's Chromium, OpenReplay's tracker of npm, Tomcat and
// PHP and Express with their own sessions, and two people at once. Every error must arrive under the session that the person's tab was
// recorded in, by each of the ways in which the sidecar knows it.
package sessions

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/openreplay/log-sidecar/e2e/stage"
)

// A way is one in which the sidecar is set up.
type way struct {
	name string
	// page says what the app's owners have put into their pages: "" nothing, else where the tracker sends its batches to.
	// %INGEST% stands for the stand-in's address.
	page  string
	calls bool // each page calls the app once the tracker runs
	flags []string
	// by are what labels.sessionBy may say; kinds are the failures that the way can know, all where it is empty.
	by    []string
	kinds string
}

const relayed = "/-openreplay-log-sidecar/ingest"

var ways = []way{
	{name: "the header alone", page: "%INGEST%", calls: true, flags: []string{"--learn-sessions=false"}, by: []string{"header"}, kinds: "call"},
	{name: "learned", page: "%INGEST%", calls: true, by: []string{"header", "learned"}},
	{name: "our cookie", page: "%INGEST%", calls: true, flags: []string{"--learn-sessions=false", "--session-cookie"}, by: []string{"header", "cookie"}},
	{name: "relayed ingest", page: relayed, flags: []string{"--tracker-ingest", "%INGEST%"}, by: []string{"header", "learned"}},
	{name: "injected tracker", flags: []string{"--tracker-project-key", "shop", "--tracker-ingest", "%INGEST%"}, by: []string{"header", "learned"}},
}

func TestEveryErrorHasItsSession(t *testing.T) {
	chromium := stage.Need(t, "chromium", "apt-get install chromium, or run e2e/setup")
	browser := startBrowser(t, chromium)
	apps := []*app{startTomcat(t), startPHP(t), startExpress(t)}
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			for _, a := range apps {
				t.Run(a.name, func(t *testing.T) { // side by side
					t.Parallel()
					w.try(t, a, browser)
				})
			}
		})
	}
}

// try has two people go their ways at once, and looks at what arrived.
func (w *way) try(t *testing.T, a *app, browser *browser) {
	ingest := newIngest(t)
	a.setPage(t, w.script(t, ingest.address))
	s := stage.New(t, a.url)
	s.Logs = a.logs
	flags := []string{}
	for _, f := range w.flags {
		flags = append(flags, strings.ReplaceAll(f, "%INGEST%", ingest.address))
	}
	s.Run(flags...)

	people := []*person{newPerson(t, browser, s, "alice"), newPerson(t, browser, s, "bob")}
	var walks sync.WaitGroup
	for _, p := range people {
		walks.Go(func() { p.walk(w.page != "") })
	}
	walks.Wait()
	var all []failure
	for _, p := range people {
		all = append(all, p.failures...)
	}
	if t.Failed() {
		return
	}
	w.judge(t, s, ingest, all)
}

// script is what /page.js holds.
func (w *way) script(t *testing.T, ingest string) string {
	if w.page == "" {
		return ""
	}
	const home = "node/node_modules/@openreplay/tracker/dist/cjs/entry.js"
	build, err := os.ReadFile(home)
	if err != nil {
		t.Fatalf("%v: run e2e/setup", err)
	}
	text, err := os.ReadFile("page.js")
	if err != nil {
		t.Fatal(err)
	}
	calls := "false"
	if w.calls {
		calls = "true"
	}
	return strings.NewReplacer("/* the build */", string(build), "%INGEST%", strings.ReplaceAll(w.page, "%INGEST%", ingest), "%CALLS%", calls).Replace(string(text))
}

// judge: each failure that this way can know has arrived under its own session, and none under another.
func (w *way) judge(t *testing.T, s *stage.Stage, ingest *ingest, all []failure) {
	wanted := 0
	for _, f := range all {
		if w.knows(f) {
			wanted++
		}
	}
	var entries []stage.Entry
	t.Cleanup(func() {
		for _, f := range all {
			if w.knows(f) && count(entries, []failure{f}, w.knows) == 0 {
				t.Logf("%s of %s (%s) has not arrived", f.kind, f.person, f.word)
			}
		}
	})
	stage.Await(t, "every failure to arrive", func() bool {
		entries = s.Entries("")
		return count(entries, all, w.knows) == wanted
	})
	ways := map[string]int{}
	for _, e := range entries {
		f := about(&e, all)
		switch {
		case f == nil:
			t.Errorf("belongs to no failure: %.300s", e.JSONPayload.Message)
		case !w.knows(*f):
			t.Errorf("%s of %s arrived by %s, although this way cannot know it", f.kind, f.person, e.Labels["sessionBy"])
		case e.Token() != f.token:
			t.Errorf("%s of %s in %q arrived under %q by %s", f.kind, f.person, f.token, e.Token(), e.Labels["sessionBy"])
		case !strings.Contains(strings.Join(w.by, " "), e.Labels["sessionBy"]):
			t.Errorf("%s of %s is known by %s, not by %s", f.kind, f.person, e.Labels["sessionBy"], w.by)
		case !ingest.knows(f.token):
			t.Errorf("%q is no session of OpenReplay's", f.token)
		}
		ways[e.Labels["sessionBy"]]++
	}
	for _, by := range w.by {
		if ways[by] == 0 {
			t.Errorf("no error is known by %s: %v", by, ways)
		}
	}
	t.Logf("%d failures of %d, %d entries by %v", wanted, len(all), len(entries), ways)
}

func (w *way) knows(f failure) bool { return w.kinds == "" || strings.Contains(w.kinds, f.kind) }

// about gives the failure that an entry is about: its word stands in the record, or in the address where there is no record.
func about(e *stage.Entry, all []failure) *failure {
	for i, f := range all {
		if strings.Contains(e.JSONPayload.Message, f.word) || strings.Contains(e.JSONPayload.Context.HTTPRequest.URL, f.word) {
			return &all[i]
		}
	}
	return nil
}

func count(entries []stage.Entry, all []failure, which func(failure) bool) (n int) {
	arrived := map[string]bool{}
	for _, e := range entries {
		if f := about(&e, all); f != nil && which(*f) && !arrived[f.word] {
			arrived[f.word] = true
			n++
		}
	}
	return n
}

// screenshots is where a person's pages are kept to be looked at: $SCREENSHOTS, or nowhere that lasts.
func screenshots(t *testing.T) string {
	dir := os.Getenv("SCREENSHOTS")
	if dir == "" {
		return t.TempDir()
	}
	dir = filepath.Join(dir, filepath.FromSlash(t.Name()))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}
