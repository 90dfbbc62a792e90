package tail

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// An app may write before the reading has begun: what it wrote since the survey is read, and what stood there before is not.
func TestWhatIsWrittenAfterTheSurveyIsRead(t *testing.T) {
	dir := t.TempDir()
	old, later := filepath.Join(dir, "old.log"), filepath.Join(dir, "later.log")
	appendTo := func(path, text string) {
		t.Helper()
		f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
	appendTo(old, "before\n")
	survey := Look([]string{filepath.Join(dir, "*.log")}, time.Minute)
	appendTo(old, "since\n")
	appendTo(later, "new\n")
	for _, from := range []From{Auto, End} {
		logs, err := New(Config{Globs: []string{filepath.Join(dir, "*.log")}, From: from, Survey: survey})
		if err != nil {
			t.Fatal(err)
		}
		defer logs.Close()
		ended, end := context.WithCancel(t.Context())
		end()
		read := map[string]string{}
		if err := logs.Run(ended, func(b *Block) error {
			read[b.File.Path] += string(b.Data)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if read[old] != "since\n" || read[later] != "new\n" {
			t.Errorf("from %v: %q", from, read)
		}
	}
}
