package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Each generated log has as many errors as it says, where the comparison's searches find them and nowhere else.
func TestGenerate(t *testing.T) {
	for _, f := range formats {
		t.Run(f.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "log")
			errors, err := generate(path, f, 400_000, 100, []string{"id-1", "id-2"})
			if err != nil {
				t.Fatal(err)
			}
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			lines := bytes.Count(content, []byte("\n"))
			if errors != lines/100 || errors < 4 {
				t.Errorf("%d errors in %d lines, want one in a hundred", errors, lines)
			}
			if found := bytes.Count(content, []byte(f.error)); found != errors {
				t.Errorf("%q is found %d times, want %d", f.error, found, errors)
			}
			if ids := bytes.Count(content, []byte("id-1")); ids != (errors+1)/2 {
				t.Errorf("the first request is named %d times, want %d", ids, (errors+1)/2)
			}
			if last := content[bytes.LastIndexByte(content[:len(content)-1], '\n'):]; bytes.Contains(last, []byte(f.error)) {
				t.Errorf("the last line is an error: %s", last)
			}
		})
	}
}

func TestQuantile(t *testing.T) {
	var took []time.Duration
	for n := range 101 {
		took = append(took, time.Duration(100-n))
	}
	for q, want := range map[float64]time.Duration{0: 0, .5: 50, .99: 99, 1: 100} {
		if got := quantile(took, q); got != want {
			t.Errorf("quantile %g is %d, want %d", q, got, want)
		}
	}
}

func TestTable(t *testing.T) {
	table := &table{head: []string{"a", "b"}}
	table.add("x", "1")
	if got, want := table.String(), "| a | b |\n| --- | --: |\n| x | 1 |\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
