package localcloud_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/openreplay/log-sidecar/internal/localcloud"

	"cloud.google.com/go/logging/apiv2/loggingpb"
)

// restarted opens a file that an earlier stand-in kept, with the same clock.
func restarted(t *testing.T, path string) *cloud {
	t.Helper()
	return start(t, localcloud.Config{Now: atNoon, File: path, MaxBytes: 1 << 20})
}

func (c *cloud) stop(t *testing.T) {
	t.Helper()
	if err := c.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func TestARestartKeepsWhatTheFileHas(t *testing.T) {
	path := filepath.Join(t.TempDir(), "entries")
	c := restarted(t, path)
	c.write(t, entry("b", noon.Add(2), labelled("k", "v")), entry("a", noon.Add(1)), entry("gone", noon, in("projects/demo/logs/gone")))
	if err := c.DeleteLog(t.Context(), &loggingpb.DeleteLogRequest{LogName: "projects/demo/logs/gone"}); err != nil {
		t.Fatal(err)
	}
	c.write(t, entry("c", noon.Add(3)))
	c.stop(t)

	c = restarted(t, path)
	c.write(t, entry("a", noon.Add(1)), entry("d", noon.Add(4)))
	if diff := cmp.Diff([]string{"a", "b", "c", "d"}, c.ids(t, "")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"b"}, c.ids(t, `labels.k="v"`)); diff != "" {
		t.Error(diff)
	}
	if s := c.Stats(); s.Written != 1 || s.Duplicates != 1 {
		t.Errorf("%+v", s)
	}
}

// A kill in the middle of a write leaves half a frame behind, a bad disk a
// wrong one: what stands before is kept, and writing goes on from there.
func TestAFileThatEndsBadlyIsReadUpToThere(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(b []byte) []byte
		kept  []string
	}{
		"cut in the header": {func(b []byte) []byte { return append(b, 1, 2, 3) }, []string{"a", "b", "c"}},
		"cut in an entry":   {func(b []byte) []byte { return b[:len(b)-5] }, []string{"a", "b"}},
		"a wrong byte":      {func(b []byte) []byte { b[len(b)-5] ^= 1; return b }, []string{"a", "b"}},
		"a wrong byte amid": {func(b []byte) []byte { b[len(b)/2] ^= 1; return b }, []string{"a"}},
		"an absurd length":  {func(b []byte) []byte { return append(b, 255, 255, 255, 255, 0, 0, 0, 0, 9) }, []string{"a", "b", "c"}},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "entries")
			c := restarted(t, path)
			c.write(t, entry("a", noon), entry("b", noon.Add(1)), entry("c", noon.Add(2)))
			c.stop(t)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, test.spoil(b), 0o600); err != nil {
				t.Fatal(err)
			}

			c = restarted(t, path)
			c.write(t, entry("d", noon.Add(3)))
			c.stop(t)
			if diff := cmp.Diff(append(test.kept, "d"), restarted(t, path).ids(t, "")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTheFileStaysBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "entries")
	c := restarted(t, path)
	for i := range 40 {
		batch := numbered(500)
		for _, e := range batch {
			e.InsertId += string(rune('a' + i))
		}
		c.write(t, batch...)
	}
	if s := c.Stats(); s.Evicted == 0 {
		t.Fatal("nothing was evicted; write more")
	}
	info, err := os.Stat(path)
	if err != nil || info.Size() > 5<<19 { // twice MaxBytes and a batch
		t.Errorf("%d bytes, %v", info.Size(), err)
	}
	left := c.ids(t, "")
	c.stop(t)
	again := restarted(t, path).ids(t, "")
	if len(again) < len(left) || again[len(again)-1] != left[len(left)-1] {
		t.Errorf("%d entries were left, %d after a restart", len(left), len(again))
	}
}

func TestAFileThatCannotBeOpenedIsSaid(t *testing.T) {
	if _, err := localcloud.New(localcloud.Config{File: filepath.Join(t.TempDir(), "no", "such", "place")}); err == nil {
		t.Error("no error")
	}
}
