package tracker

import (
	"net/http"
	"slices"
	"strings"
)

// A policy is one Content-Security-Policy: its directives' sources, in lower case.
type policy map[string][]string

func policies(h http.Header) (all []policy) {
	// What a policy would report counts as forbidden: the app's owners read the reports.
	for _, name := range []string{"Content-Security-Policy", "Content-Security-Policy-Report-Only"} {
		for _, line := range h[name] {
			for text := range strings.SplitSeq(line, ",") {
				p := policy{}
				for directive := range strings.SplitSeq(strings.ToLower(text), ";") {
					if words := strings.Fields(directive); len(words) > 0 && p[words[0]] == nil { // the first one counts
						p[words[0]] = append([]string{}, words[1:]...)
					}
				}
				all = append(all, p)
			}
		}
	}
	return all
}

// allowed says whether the answer's policies allow all that the tracker needs in a page of this origin: its script from the
// page's own origin, a worker from a blob, and connections to ingest.
func (t *Tracker) allowed(h http.Header, origin string) bool {
	ingest := t.ingest
	if ingest == "" {
		ingest = origin
	}
	for _, p := range policies(h) {
		script := p.sources("script-src-elem", "script-src", "default-src")
		worker := p.sources("worker-src", "child-src", "script-src", "default-src")
		connect := p.sources("connect-src", "default-src")
		_, typed := p["require-trusted-types-for"]
		switch {
		case typed, !script.lets(origin, origin), !worker.lets("blob:", origin), !connect.lets(ingest, origin):
			return false
		}
		if sandbox, ok := p["sandbox"]; ok && !(slices.Contains(sandbox, "allow-scripts") && slices.Contains(sandbox, "allow-same-origin")) {
			return false
		}
	}
	return true
}

// sources are a directive's; nil allows everything.
type sources []string

// sources gives those of the first directive that is there: the others stand in for it.
func (p policy) sources(names ...string) sources {
	for _, name := range names {
		if s, ok := p[name]; ok {
			return s
		}
	}
	return nil
}

// lets says whether the sources allow an origin, or blob:. In doubt it says no: sources with a path are not looked into, and
// under strict-dynamic a script needs a nonce, which is the page's to give.
func (s sources) lets(what, page string) bool {
	if s == nil {
		return true
	}
	if slices.Contains(s, "'strict-dynamic'") {
		return false
	}
	return slices.ContainsFunc(s, func(source string) bool {
		if what == "blob:" || source == "blob:" {
			return source == what
		}
		scheme, host, _ := strings.Cut(what, "://")
		switch source {
		case "*":
			return true
		case "'self'":
			return what == page
		case what, host, scheme + ":":
			return true
		}
		wild, ok := strings.CutPrefix(strings.TrimPrefix(source, scheme+"://"), "*")
		return ok && strings.HasPrefix(wild, ".") && strings.HasSuffix(host, wild)
	})
}
