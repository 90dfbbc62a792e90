//go:build e2e

// Package apps judges the sidecar on real, unmodified programs under load, where the truth is known.
//
// Each stack is a small shop in its folder, or a packaged program, started with the logging that it has by default. A failing
// request carries a random word in its body, which the sidecar does not read; the app's message has it. So the driver
// knows whose an error is, and the sidecar has only what it would have anywhere.
package apps

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/openreplay/log-sidecar/e2e/stage"
)

var (
	write = flag.Bool("write", false, "write the table into docs/MATCHING.md")
	infer = flag.String("infer", "kind", "what the sidecar is told by --infer")
)

// floors are the least shares of errors that must arrive, one at a time and eight at a time. They hold what was reached
// once: raise them when the matcher gets better.
var floors = map[string]struct{ c1, c8 float64 }{
	"Tomcat 10, java.util.logging":        {0, 0},
	"Java, Logback":                       {0, 0},
	"Java, Log4j 2":                       {0, 0},
	"PHP under Apache":                    {0, 0},
	"MediaWiki under Apache":              {0, 0},
	"Apache alone, CGI":                   {0, 0},
	"nginx alone":                         {0, 0},
	"nginx alone, `--connection-address`": {0.99, 0.95},
	"Django, gunicorn":                    {0, 0},
	"Flask, gunicorn":                     {0, 0},
	"Rails, Puma":                         {0, 0},
	"Sinatra, Puma":                       {0, 0},
	"Express, morgan":                     {0, 0},
	"Fastify, pino":                       {0, 0},
	"Go, net/http":                        {0, 0},
}

// TestApps puts the sidecar before every stack and judges what arrives. APPS_REQUESTS sets the length of each load.
func TestApps(t *testing.T) {
	n := 480
	if text := os.Getenv("APPS_REQUESTS"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatalf("APPS_REQUESTS: %v", err)
		}
	}
	var verdicts []*verdict
	for i := range stacks {
		t.Run(stacks[i].name, func(t *testing.T) {
			v := play(t, &stacks[i], n)
			v.report(t)
			v.check(t)
			verdicts = append(verdicts, v)
		})
	}
	text := table(verdicts)
	fmt.Print("\n", text)
	checkAll(t, verdicts)
	if !*write {
		return
	}
	if len(verdicts) != len(stacks) {
		t.Fatal("not every stack was judged, so the document stays as it is")
	}
	if err := publish("../../docs/MATCHING.md", legend(n)+text); err != nil {
		t.Error(err)
	}
}

// play runs one stack from its start to its verdict.
func play(t *testing.T, s *stack, n int) *verdict {
	t.Helper()
	random := rand.New(rand.NewPCG(1, uint64(crc32.ChecksumIEEE([]byte(s.name)))))
	address := stage.Address(t)
	site := &site{TB: t, stage: stage.New(t, "http://"+address), address: address}
	s.start(site)
	args := []string{"--from", "beginning", "--forward", "errors", "--infer", *infer}
	if s.option != "" {
		args = append(args, s.option)
	}
	sidecar := site.stage.Run(args...)

	all := draw(s, n, random)
	drive(t, site.stage.Front, "c1", all, 1)
	drive(t, site.stage.Front, "c8", all, 8)
	awaitLogged(t, s, site.stage.Logs, all)
	site.kill()
	settle(site.stage)
	if code := sidecar.Stop(t); code != 0 {
		t.Errorf("the sidecar ended with %d", code)
	}
	known, err := look(s, site.stage.Logs, all)
	if err != nil {
		t.Fatal(err)
	}
	entries, raw := read(t, site.stage.Cloud)
	v := judge(s, known, all, entries)
	v.judgePrivacy(raw, all)
	return v
}

// awaitLogged waits until the error of each request stands in the log.
func awaitLogged(t *testing.T, s *stack, dir string, all []*request) {
	t.Helper()
	var missing *request
	defer func() {
		if missing != nil {
			t.Errorf("the app has not logged: %s %s %s %s, answered %d", missing.phase, missing.kind, missing.word, missing.target, missing.status)
		}
	}()
	stage.Await(t, "the app to log every error", func() bool {
		known, err := look(s, dir, all)
		if err != nil {
			t.Fatal(err)
		}
		missing = nil
		for _, r := range all {
			if s.asks(r.kind) && !known.has(r.word) {
				missing = r
			}
		}
		return missing == nil
	})
}

// settle waits until the sidecar has decided on all that it will: nothing new was sent or counted for some seconds.
func settle(s *stage.Stage) {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	const quiet = 30
	last, same := -1.0, 0
	for range ticker.C {
		now := float64(len(s.Entries(""))) + s.Metric("sidecar_enrich_records_unmatched_total")
		if same++; now != last {
			last, same = now, 0
		}
		if same == quiet {
			return
		}
	}
}

// read gives all entries, also as the bytes that they are.
func read(t *testing.T, cloud string) (entries []stage.Entry, raw []string) {
	t.Helper()
	for token := ""; ; {
		body, err := json.Marshal(map[string]any{"resourceNames": []string{"projects/" + stage.Project}, "pageSize": 1000, "pageToken": token})
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.Post("http://"+cloud+"/v2/entries:list", "application/json", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		var page struct {
			Entries       []json.RawMessage
			NextPageToken string
		}
		err = json.NewDecoder(answer.Body).Decode(&page)
		answer.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range page.Entries {
			var e stage.Entry
			if err := json.Unmarshal(text, &e); err != nil {
				t.Fatal(err)
			}
			entries, raw = append(entries, e), append(raw, string(text))
		}
		if token = page.NextPageToken; token == "" {
			return entries, raw
		}
	}
}

// check holds one stack to what it must reach.
func (v *verdict) check(t *testing.T) {
	t.Helper()
	if v.exact.wrong > 0 {
		t.Errorf("%s: %d exact matches are under a wrong session", v.stack, v.exact.wrong)
	}
	if float64(v.tiedFound) < 0.99*float64(v.tied) {
		t.Errorf("%s: %d of %d errors that something ties to their request arrived", v.stack, v.tiedFound, v.tied)
	}
	for phase, floor := range map[string]float64{"c1": floors[v.stack].c1, "c8": floors[v.stack].c8} {
		if float64(v.found[phase]) < floor*float64(v.errors[phase]) {
			t.Errorf("%s: %d of %d errors of %s arrived, fewer than %.2f", v.stack, v.found[phase], v.errors[phase], phase, floor)
		}
	}
}

// checkAll holds all stacks together to what they must reach.
func checkAll(t *testing.T, verdicts []*verdict) {
	t.Helper()
	var total verdict
	total.errors, total.found, total.ways = map[string]int{}, map[string]int{}, map[string]int{}
	for _, v := range verdicts {
		if !v.configured {
			total.add(v)
		}
	}
	if wrong, of := total.inferred.wrong, total.inferred.right+total.inferred.wrong; float64(wrong) > 0.02*float64(of) {
		t.Errorf("%d of %d inferred matches are under a wrong session", wrong, of)
	}
	if float64(total.pinned) > max(1, 0.005*float64(total.nobody)) {
		t.Errorf("%d of %d background errors were pinned on somebody", total.pinned, total.nobody)
	}
}
