package tail

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap/zaptest"
)

// TestRun follows a file as the program does, with its own goroutines.
func TestRun(t *testing.T) {
	for _, mode := range []string{"inotify", "poll"} {
		t.Run(mode, func(t *testing.T) {
			dir := t.TempDir()
			app := filepath.Join(dir, "sub", "app.log")
			tailer, err := New(Config{Globs: []string{app}, From: Beginning, Log: zaptest.NewLogger(t), noNotify: mode == "poll",
				Checkpoint: filepath.Join(dir, "checkpoint")})
			if err != nil {
				t.Fatal(err)
			}
			defer tailer.Close()
			ctx, cancel := context.WithCancel(t.Context())
			got := make(chan string, 100)
			done := make(chan error)
			go func() {
				done <- tailer.Run(ctx, func(b *Block) error {
					got <- string(b.Data)
					return nil
				})
			}()
			must := func(err error) {
				if err != nil {
					t.Error(err)
				}
			}
			expect := func(want string) {
				var all strings.Builder
				for all.Len() < len(want) {
					all.WriteString(<-got)
				}
				if all.String() != want {
					t.Errorf("got %q, want %q", all.String(), want)
				}
			}
			must(os.Mkdir(filepath.Dir(app), 0o755))
			must(os.WriteFile(app, []byte("one\n"), 0o644))
			expect("one\n")
			must(os.Rename(app, app+".1"))
			must(os.WriteFile(app, []byte("two\n"), 0o644))
			expect("two\n")
			must(os.WriteFile(app, []byte("two\nhalf"), 0o644))
			cancel()
			expect("half")
			must(<-done)
		})
	}
}
