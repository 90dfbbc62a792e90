//go:build e2e

package apps

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/openreplay/log-sidecar/e2e/stage"
)

// A log of three errors: of Ann, of Bob with a trace, of nobody; and a copy of Ann's in a second file.
const (
	appLog = "E Order KAAAAAAAAA is closed\nE Total KBBBBBBBBB\n\n  at shop\n\nE nightly-sync failed\nW Voucher KCCCCCCCCC\n"
	twin   = "E Order KAAAAAAAAA is closed\n"
)

// The judge must see each thing that may never be: this is what makes the table worth reading.
func TestJudge(t *testing.T) {
	ann, bob := &user{token: "ann"}, &user{token: "bob"}
	all := []*request{
		{phase: "c1", kind: "boom", word: "KAAAAAAAAA", user: ann, status: 500, id: "1"},
		{phase: "c8", kind: "boom", word: "KBBBBBBBBB", user: bob, status: 500, id: "2"},
		{phase: "c8", kind: "warn", word: "KCCCCCCCCC", user: bob, status: 200, id: "3"},
	}
	s := &stack{head: regexp.MustCompile(`^[EW] `), fails: "boom"}
	known := &truth{map[string][]byte{}, map[string][]*record{}}
	for name, text := range map[string]string{"app.log": appLog, "twin.log": twin} {
		known.text[name], known.records[name] = []byte(text), cut(name, []byte(text), s.head)
		own(known.records[name], all, nil)
	}
	entry := func(file, part, token, match string) stage.Entry {
		e := stage.Entry{Severity: "ERROR", Labels: map[string]string{"matchedBy": "path", "match": match, "openReplaySessionToken": token}}
		e.JSONPayload.Source.File = "/logs/" + file
		e.JSONPayload.Source.Offset, e.JSONPayload.Source.Length = int64(strings.Index(appLog, part)), int64(len(part))
		return e
	}
	const first, trace, nightly, warning = "E Order KAAAAAAAAA is closed", "E Total KBBBBBBBBB\n\n  at shop", "E nightly-sync failed", "W Voucher KCCCCCCCCC"
	alone := func(id, token string) stage.Entry {
		return stage.Entry{Labels: map[string]string{"matchedBy": "exchange", "requestId": id, "openReplaySessionToken": token}}
	}
	for _, test := range []struct {
		name    string
		entries []stage.Entry
		want    string
	}{
		{"all is well", []stage.Entry{entry("app.log", first, "ann", "exact"), entry("app.log", trace, "bob", "inferred")},
			"found 1+1 grouped 2/2 unseen 0 exact 1/0 inferred 1/0 pinned 0 faults 0"},
		{"somebody else's", []stage.Entry{entry("app.log", first, "bob", "exact"), entry("app.log", trace, "ann", "inferred")},
			"found 0+0 grouped 2/2 unseen 0 exact 0/1 inferred 0/1 pinned 0 faults 0"},
		{"half a record", []stage.Entry{entry("app.log", "E Total KBBBBBBBBB", "bob", "exact")},
			"found 0+1 grouped 0/1 unseen 1 exact 1/0 inferred 0/0 pinned 0 faults 0"},
		{"twice", []stage.Entry{entry("app.log", first, "ann", "exact"), entry("app.log", first, "ann", "exact")},
			"found 1+0 grouped 2/2 unseen 1 exact 2/0 inferred 0/0 pinned 0 faults 1"},
		{"from two files", []stage.Entry{entry("app.log", first, "ann", "exact"), entry("twin.log", first, "ann", "exact")},
			"found 1+0 grouped 2/2 unseen 1 exact 2/0 inferred 0/0 pinned 0 faults 1"},
		{"nobody's", []stage.Entry{entry("app.log", nightly, "ann", "inferred")},
			"found 0+0 grouped 1/1 unseen 2 exact 0/0 inferred 0/0 pinned 1 faults 0"},
		{"a warning", []stage.Entry{entry("app.log", warning, "bob", "exact")},
			"found 0+0 grouped 1/1 unseen 2 exact 1/0 inferred 0/0 pinned 0 faults 1"},
		{"an answer alone", []stage.Entry{alone("1", "ann")},
			"found 0+0 grouped 0/0 unseen 2 exact 0/0 inferred 0/0 pinned 0 faults 0"},
		{"an answer beside its record", []stage.Entry{alone("1", "ann"), entry("app.log", first, "ann", "exact")},
			"found 1+0 grouped 1/1 unseen 1 exact 1/0 inferred 0/0 pinned 0 faults 1"},
		{"an answer that was none", []stage.Entry{alone("3", "bob")},
			"found 0+0 grouped 0/0 unseen 2 exact 0/0 inferred 0/0 pinned 0 faults 1"},
		{"no label", []stage.Entry{entry("app.log", first, "", "")},
			"found 0+0 grouped 1/1 unseen 1 exact 0/0 inferred 0/0 pinned 0 faults 0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, judge(s, known, all, test.entries).String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestJudgePrivacy(t *testing.T) {
	for _, test := range []struct {
		entry string
		want  int
	}{
		{`{"labels":{"openReplaySessionToken":"ann"}}`, 0},
		{`{"labels":{"openReplaySessionToken":"ann"},"message":"header ann"}`, 1},
		{`{"message":"GET /x?password=` + password + `"}`, 1},
		{`{"message":"Bearer ` + bearer + `; ` + cookie + `"}`, 2},
	} {
		var v verdict
		v.judgePrivacy([]string{test.entry}, []*request{{user: &user{token: "ann"}}})
		if len(v.faults) != test.want {
			t.Errorf("%s: %d faults, want %d: %q", test.entry, len(v.faults), test.want, v.faults)
		}
	}
}

// What people wrote around the table stays.
func TestPublish(t *testing.T) {
	path := filepath.Join(t.TempDir(), "MATCHING.md")
	for _, step := range []struct{ before, table, want string }{
		{"", "one\n", "<!-- apps: begin -->\none\n<!-- apps: end -->\n"},
		{"# Matching\n", "one\n", "# Matching\n<!-- apps: begin -->\none\n<!-- apps: end -->\n"},
		{"# Matching\n<!-- apps: begin -->\none\n<!-- apps: end -->\nMore.\n", "two\n", "# Matching\n<!-- apps: begin -->\ntwo\n<!-- apps: end -->\nMore.\n"},
	} {
		if err := os.WriteFile(path, []byte(step.before), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := publish(path, step.table); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(step.want, string(got)); diff != "" {
			t.Error(diff)
		}
	}
}
