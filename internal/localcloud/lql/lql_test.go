package lql

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/logging/apiv2/loggingpb"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
)

// testCase is a query and what is said of it.
type testCase struct{ query, want string }

func readCases(t testing.TB, path string) []testCase {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var cases []testCase
	var query []string
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSuffix(line, "\n")
		want, isWant := strings.CutPrefix(line, "==>")
		switch {
		case isWant:
			cases = append(cases, testCase{strings.Join(query, "\n"), strings.TrimSpace(want)})
			query = nil
		case line != "" && !strings.HasPrefix(line, "#"):
			query = append(query, line)
		}
	}
	return cases
}

func readEntries(t testing.TB) []*loggingpb.LogEntry {
	t.Helper()
	b, err := os.ReadFile("testdata/entries.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	var entries []*loggingpb.LogEntry
	for line := range strings.Lines(string(b)) {
		e := new(loggingpb.LogEntry)
		if err := protojson.Unmarshal([]byte(line), e); err != nil {
			t.Fatal(err)
		}
		entries = append(entries, e)
	}
	return entries
}

func TestQueriesFindTheEntriesTheyDescribe(t *testing.T) {
	entries := readEntries(t)
	for _, c := range readCases(t, "testdata/queries.txt") {
		t.Run(c.query, func(t *testing.T) {
			f, err := Parse(c.query)
			if err != nil {
				t.Fatal(err)
			}
			found := []string{}
			for _, e := range entries {
				if f.Match(e) {
					found = append(found, e.InsertId)
				}
			}
			if diff := cmp.Diff(strings.Fields(c.want), found); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestErrorsSayWhereAndWhat(t *testing.T) {
	for _, c := range readCases(t, "testdata/errors.txt") {
		t.Run(c.query, func(t *testing.T) {
			_, err := Parse(c.query)
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(c.want, err.Error()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAFilterMayHaveTwentyThousandCharacters(t *testing.T) {
	longest := `textPayload:"` + strings.Repeat("ä", maxLength-14) + `"`
	if _, err := Parse(longest); err != nil {
		t.Error(err)
	}
	if _, err := Parse(longest + " "); err == nil {
		t.Error("20,001 characters are taken")
	}
}

// What a store may skip must follow from the query, never more.
func TestBoundsAndLabelsAreOnlyWhatEveryMatchMustHave(t *testing.T) {
	ten, eleven := "2026-11-25T10:00:00Z", "2026-11-25T11:00:00Z"
	for _, c := range []struct{ query, label, from, to string }{
		{query: ``},
		{query: `labels.a="B"`, label: "a=b"},
		{query: `(labels.a="b" AND severity=ERROR)`, label: "a=b"},
		{query: `labels.a=("c" OR "B" OR "b") severity=ERROR`, label: "a=b,c"},
		{query: `labels.a="b" OR labels.c="d"`},
		{query: `labels.a=("b" OR "c") OR labels.a="d"`},
		{query: `labels.a=("b" AND "c")`, label: "a=b"},
		{query: `labels.a=(NOT "b" OR "c")`},
		{query: `labels.a="b" OR severity=ERROR`},
		{query: `NOT labels.a="b"`},
		{query: `labels.a:"b"`},
		{query: `labels.a!="b"`},
		{query: `labels.a=NULL_VALUE`},
		{query: `resource.labels.a="b"`},
		{query: `timestamp>="` + ten + `" timestamp<"` + eleven + `"`, from: ten, to: eleven},
		{query: `timestamp>"` + ten + `" timestamp>"` + eleven + `"`, from: eleven},
		{query: `timestamp="` + ten + `"`, from: ten, to: ten},
		{query: `timestamp!="` + ten + `"`},
		{query: `NOT timestamp>="` + ten + `"`},
		{query: `receiveTimestamp>="` + ten + `"`},
	} {
		f, err := Parse(c.query)
		if err != nil {
			t.Fatal(err)
		}
		label := ""
		if key, values, ok := f.LabelIn(); ok {
			label = key + "=" + strings.Join(values, ",")
		}
		from, to := f.Bounds()
		got := []string{label, shownTime(from), shownTime(to)}
		if diff := cmp.Diff([]string{c.label, c.from, c.to}, got); diff != "" {
			t.Errorf("%s: %s", c.query, diff)
		}
	}
}

func shownTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.RFC3339Nano)
}

// A sample of a tenth is about a tenth, also of names that differ in one letter.
func TestSampleTakesItsShare(t *testing.T) {
	f, err := Parse(`sample(insertId, 0.1)`)
	if err != nil {
		t.Fatal(err)
	}
	kept := 0
	for i := range 10_000 {
		if f.Match(&loggingpb.LogEntry{InsertId: fmt.Sprintf("5tq0j1%06d", i)}) {
			kept++
		}
	}
	if kept < 900 || kept > 1100 {
		t.Errorf("kept %d of 10,000", kept)
	}
}

// Whatever a client sends, the parser answers, and what it says of a query's
// needs agrees with what the query matches.
func FuzzParse(f *testing.F) {
	for _, file := range []string{"testdata/queries.txt", "testdata/errors.txt"} {
		for _, c := range readCases(f, file) {
			f.Add(c.query)
		}
	}
	entries := readEntries(f)
	f.Fuzz(func(t *testing.T, query string) {
		filter, err := Parse(query)
		if err != nil {
			return
		}
		negated, err := Parse("NOT (" + query + "\n)")
		key, values, byLabel := filter.LabelIn()
		from, to := filter.Bounds()
		for _, e := range entries {
			matches := filter.Match(e)
			if err == nil && filter.root != nil && negated.Match(e) == matches {
				t.Errorf("%q and its negation agree on %s", query, e.InsertId)
			}
			if matches && byLabel && !slices.Contains(values, Fold(e.Labels[key])) {
				t.Errorf("%q matches %s, whose label %s is none of %q", query, e.InsertId, key, values)
			}
			at := e.Timestamp.AsTime()
			if matches && (at.Before(from) || !to.IsZero() && at.After(to)) {
				t.Errorf("%q matches %s outside of its bounds", query, e.InsertId)
			}
		}
	})
}
