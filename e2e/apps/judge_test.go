//go:build e2e

package apps

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openreplay/log-sidecar/e2e/stage"
)

// A verdict is how the sidecar did on one stack.
type verdict struct {
	stack           string
	configured      bool           // the sidecar was told more than its defaults
	errors, found   map[string]int // by phase: failing requests with a session, and those of them that arrived
	tied, tiedFound int
	grouped, cut    int // entries with the record's very bytes, and others
	unseen          int // failing requests, with or without a session, of which no record arrived
	exact, inferred tally
	nobody, pinned  int // records of no request, and those that arrived under somebody's session
	alone           int // answers of 5xx that arrived without a record
	ways            map[string]int
	faults          []string // what must never be, in words
	notes           []string // what a reader of the table may ask: what was missed, what was cut wrongly
}

type tally struct{ right, wrong int }

// judge compares the entries with the truth.
func judge(s *stack, t *truth, all []*request, entries []stage.Entry) *verdict {
	v := &verdict{stack: s.name, configured: s.option != "", errors: map[string]int{}, found: map[string]int{}, ways: map[string]int{}}
	arrived := map[*request]bool{} // by a record, under its own session
	sent := map[*request]bool{}    // by a record, under whomever
	lone := map[*request]bool{}
	seen := map[string]bool{}
	for i := range entries {
		e := &entries[i]
		if e.Labels["matchedBy"] == "exchange" {
			v.judgeLone(e, all, lone)
			continue
		}
		source := e.JSONPayload.Source
		r := t.at(filepath.Base(source.File), int(source.Offset))
		if r == nil {
			v.fault("no record stands at offset %d of %s:\n%.300s", source.Offset, source.File, e.JSONPayload.Message)
			continue
		}
		v.judgeBytes(r, e)
		v.judgeOwner(s, r, e, seen)
		if r.of != nil {
			sent[r.of] = true
			arrived[r.of] = arrived[r.of] || e.Token() != "" && e.Token() == r.of.user.token
		}
	}
	v.count(s, t, all, arrived, sent)
	for r := range lone {
		if arrived[r] {
			v.fault("%s %s arrived by its record and as an answer alone", r.method, r.target)
		}
	}
	return v
}

func (v *verdict) note(format string, args ...any) {
	v.notes = append(v.notes, fmt.Sprintf(format, args...))
}

func (v *verdict) fault(format string, args ...any) {
	v.faults = append(v.faults, fmt.Sprintf(format, args...))
}

// judgeLone looks at an answer of 5xx that arrived without a record.
func (v *verdict) judgeLone(e *stage.Entry, all []*request, lone map[*request]bool) {
	v.alone++
	for _, r := range all {
		if r.id != e.Labels["requestId"] {
			continue
		}
		switch {
		case r.status < 500 || r.user.token == "" || r.user.token != e.Token():
			v.fault("%s %s was answered %d for %q, and arrived as an answer alone under %q", r.method, r.target, r.status, r.user.token, e.Token())
		case lone[r]:
			v.fault("%s %s arrived twice as an answer alone", r.method, r.target)
		}
		lone[r] = true
		return
	}
	v.fault("an answer alone names request %q, which nobody sent", e.Labels["requestId"])
}

// judgeBytes compares where the entry says that its record stands with where it stands. Blank lines belong to either side.
func (v *verdict) judgeBytes(r *record, e *stage.Entry) {
	start, end := int(e.JSONPayload.Source.Offset), int(e.JSONPayload.Source.Offset+e.JSONPayload.Source.Length)
	if start == r.start && end >= r.end && end <= r.end+8 {
		v.grouped++
	} else {
		v.cut++
		v.note("%s stands at %d to %d and was taken from %d to %d:\n%.300s", r.file, r.start, r.end, start, end, r.text)
	}
}

// judgeOwner compares whose the entry is with whose it should be.
func (v *verdict) judgeOwner(s *stack, r *record, e *stage.Entry, seen map[string]bool) {
	if r.of != nil && (r.of.kind == "" || r.of.kind == "warn") {
		v.fault("is no error, and arrived as one:\n%.300s", r.text)
	}
	if e.Token() == "" {
		return
	}
	way, kind := e.Labels["matchedBy"], &v.inferred
	if e.Labels["match"] == "exact" {
		kind = &v.exact
	}
	switch {
	case r.of == nil:
		v.pinned++
		v.note("pinned by %s, %s:\n%.300s", way, e.Labels["match"], r.text)
	case e.Token() == r.of.user.token:
		kind.right++
		v.ways[way]++
	default:
		kind.wrong++
		v.ways["wrong by "+way]++
		v.note("%s %s %s arrived under somebody else by %s, %s:\n%.300s", r.of.phase, r.of.kind, r.of.target, way, e.Labels["match"], r.text)
	}
	if r.of != nil && seen[r.of.word+r.message(s)] {
		v.fault("arrived twice, here from %s by %s:\n%.300s", e.JSONPayload.Source.File, way, e.JSONPayload.Message)
	}
	if r.of != nil {
		seen[r.of.word+r.message(s)] = true
	}
}

// count counts what should have arrived.
func (v *verdict) count(s *stack, t *truth, all []*request, arrived, sent map[*request]bool) {
	for _, r := range all {
		if s.asks(r.kind) && !sent[r] {
			v.unseen++
			v.note("not seen as an error: %s %s %s %s", r.phase, r.kind, r.word, r.target)
		}
		if r.user.token == "" || !s.asks(r.kind) {
			continue
		}
		v.errors[r.phase]++
		if arrived[r] {
			v.found[r.phase]++
		} else {
			v.note("missed: %s %s %s %s", r.phase, r.kind, r.word, r.target)
		}
		if s.ties(r.kind) {
			v.tied++
			if arrived[r] {
				v.tiedFound++
			}
		}
	}
	for _, records := range t.records { // an app that writes into two files writes the same into both
		n := 0
		for _, r := range records {
			if strings.Contains(r.text, "nightly-sync") {
				n++
			}
		}
		v.nobody = max(v.nobody, n)
	}
}

// judgePrivacy says what an entry shows that must not leave.
func (v *verdict) judgePrivacy(raw []string, all []*request) {
	for _, entry := range raw {
		for what, secret := range map[string]string{"a password": password, "an Authorization header": bearer, "a cookie": cookie} {
			if i := strings.Index(entry, secret); i >= 0 {
				v.fault("%s stands in an entry:\n%s", what, entry[max(0, i-200):i+len(secret)])
			}
		}
		for _, r := range all {
			if r.user.token != "" && strings.Count(entry, r.user.token) > 1 {
				v.fault("a session token stands outside its label:\n%.600s", entry)
				break
			}
		}
	}
}

// report prints the notes for those who ask by -v, and the first faults.
func (v *verdict) report(t *testing.T) {
	t.Helper()
	if testing.Verbose() {
		t.Log(strings.Join(v.notes, "\n"))
	}
	for i, fault := range v.faults {
		if i == 5 {
			t.Errorf("%s: and %d faults more", v.stack, len(v.faults)-i)
			return
		}
		t.Errorf("%s: %s", v.stack, fault)
	}
}

// String is the verdict in one line.
func (v *verdict) String() string {
	return fmt.Sprintf("found %d+%d grouped %d/%d unseen %d exact %d/%d inferred %d/%d pinned %d faults %d", v.found["c1"], v.found["c8"],
		v.grouped, v.grouped+v.cut, v.unseen, v.exact.right, v.exact.wrong, v.inferred.right, v.inferred.wrong, v.pinned, len(v.faults))
}
