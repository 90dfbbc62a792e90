package tail

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"
)

// An app may write before the reading has begun: what it wrote since the survey is read, and what stood there before is not.
// So it is in the next life too, where the first was killed before it read anything.
func TestWhatIsWrittenAfterTheSurveyIsRead(t *testing.T) {
	for name, c := range map[string]Config{
		"auto":               {From: Auto, Checkpoint: "checkpoint"},
		"auto, killed":       {From: Auto, Checkpoint: "checkpoint"},
		"auto, not kept":     {From: Auto, Checkpoint: "no directory/checkpoint"},
		"auto, kept nowhere": {From: Auto},
		"end":                {From: End, Checkpoint: "checkpoint"},
		"end, kept nowhere":  {From: End},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			old, later := filepath.Join(dir, "old.log"), filepath.Join(dir, "later.log")
			c.Globs, c.Log = []string{filepath.Join(dir, "*.log")}, zaptest.NewLogger(t)
			if c.Checkpoint != "" {
				c.Checkpoint = filepath.Join(dir, c.Checkpoint)
			}
			appendTo(t, old, "before\n")
			c.Survey = Look(c, time.Minute)
			appendTo(t, old, "since\n")
			appendTo(t, later, "new\n")
			if strings.HasSuffix(name, "killed") {
				c.Survey = Look(c, time.Minute)
			}
			read := readOnce(t, c)
			if read[old] != "since\n" || read[later] != "new\n" {
				t.Errorf("it read %q", read)
			}
		})
	}
}

func appendTo(t *testing.T, path, text string) {
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

// readOnce is a short life: it reads what is there, and gives it by path.
func readOnce(t *testing.T, c Config) map[string]string {
	t.Helper()
	logs, err := New(c)
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
	return read
}
