package record

import (
	"os"
	"strings"
	"testing"
)

// TestSeverities reads testdata/severity.tsv: a severity, a tab, and a line that is a log of its own.
func TestSeverities(t *testing.T) {
	b, err := os.ReadFile("testdata/severity.tsv")
	if err != nil {
		t.Fatal(err)
	}
	for row := range strings.Lines(string(b)) {
		want, line, _ := strings.Cut(row, "\t")
		records := cut(Options{All: true}, line)
		if len(records) != 1 {
			t.Errorf("%d records in %q", len(records), line)
			continue
		}
		if got := records[0].Severity.String(); got != want {
			t.Errorf("%s, want %s: %q", got, want, line)
		}
		if sev, _ := ParseSeverity(want); sev >= Error && candidate([]byte(line), 0) < 0 {
			t.Errorf("no candidate in %q", line)
		}
	}
}

func TestSeverityNames(t *testing.T) {
	for s := Default; s <= Emergency; s += 100 {
		if got, err := ParseSeverity(strings.ToLower(s.String())); got != s || err != nil {
			t.Errorf("ParseSeverity(%v) = %v, %v", s, got, err)
		}
	}
	if _, err := ParseSeverity("WARN"); err == nil {
		t.Error("WARN is not one of Cloud Logging's names, and was taken")
	}
}
