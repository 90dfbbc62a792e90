package shared

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/openreplay/log-sidecar/session"
)

// The talk with a real server is tested in e2e/shared.

func TestRead(t *testing.T) {
	read := func(text string) (*Server, error) {
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return Read(file)
	}
	var keys []string
	for _, text := range []string{"redis://u:p@host:6379/2", "rediss://u:q@host", "redis://host\nrandom", "redis://host\nother\n"} {
		s, err := read(text)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if strings.Contains(s.url, "\n") {
			t.Errorf("%q: the address is %q", text, s.url)
		}
		keys = append(keys, string(s.Key))
	}
	for i, key := range keys {
		if i > 0 && key == keys[i-1] {
			t.Error("two secrets make one key")
		}
	}
	if s, _ := read("\nredis://host\r\nrandom\n\n"); s == nil || s.url != "redis://host" {
		t.Errorf("white space around it: %v", s)
	}
	for text, want := range map[string]string{"": "no address", "host:6379": "no address", "http://host\nx": "no address", "redis://host": "neither a password nor a second line"} {
		if _, err := read(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if _, err := Read("no such file"); !os.IsNotExist(err) {
		t.Errorf("there is no file: %v", err)
	}
}

// FuzzAnswered: whatever the server says, only what is whole is taken in.
func FuzzAnswered(f *testing.F) {
	f.Add("m7", "1795472914000000000 7 a.b.c.d", "s7", "1795472914000000000")
	f.Add("d", "1", "m", "x")
	f.Fuzz(func(t *testing.T, name, text, other, more string) {
		c := New(&Server{}, nil, prometheus.NewRegistry())
		c.answered(1, []any{[]byte(name), []byte(text), []byte(other), []byte(more)}, func(_ uint64, all []session.News) {
			for _, n := range all {
				if n == (session.News{}) {
					t.Error("news of nothing")
				}
				if n.Doubt.IsZero() && n.Seen.IsZero() {
					t.Errorf("%+v", n)
				}
			}
		})
	})
}

func BenchmarkTellWhileNobodyAnswers(b *testing.B) {
	c := New(&Server{}, nil, prometheus.NewRegistry())
	b.ReportAllocs()
	for b.Loop() {
		c.Tell(1, session.News{})
	}
}
