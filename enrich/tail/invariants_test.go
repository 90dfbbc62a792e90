package tail

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// invariants are what holds of a tailer at any time. They are checked at the end of every test, and of every life in it.
func invariants(t testing.TB, tailer *Tailer) {
	t.Helper()
	p, _, err := tailer.snapshot()
	if err == nil {
		_, _, err = decode(p)
	}
	if err != nil {
		t.Errorf("the checkpoint cannot be read again: %v\n%s", err, p)
	}
	tailer.mu.Lock()
	defer tailer.mu.Unlock()
	ids, keys := map[string]bool{}, map[key]bool{}
	for _, f := range tailer.files {
		position, held := f.undecided()
		if position < 0 || position > f.read || f.decided > f.read {
			t.Errorf("%s: decided up to %d, read up to %d, to be read again from %d", f.Path, f.decided, f.read, position)
		}
		for i, h := range held {
			if h.from < 0 || h.to <= h.from || h.to > position || i > 0 && h.to < held[i-1].to {
				t.Errorf("%s: what is held is in disorder before %d: %v", f.Path, position, held)
			}
		}
		if ids[f.ID] {
			t.Errorf("%s: two generations have the ID %s", f.Path, f.ID)
		}
		ids[f.ID] = true
		if f.gone {
			continue
		}
		if keys[f.key] || tailer.byKey[f.key] != f {
			t.Errorf("%s: not the one that is known by %v", f.Path, f.key)
		}
		keys[f.key] = true
	}
	if len(keys) != len(tailer.byKey) {
		t.Errorf("%d files are known, of which %d are followed", len(tailer.byKey), len(keys))
	}
}

// openIn gives the files below dir that this process has open.
func openIn(t testing.TB, dir string) (open []string) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil // not Linux
	}
	for _, fd := range fds {
		if path, err := os.Readlink(filepath.Join("/proc/self/fd", fd.Name())); err == nil && strings.HasPrefix(path, dir+"/") {
			open = append(open, path)
		}
	}
	return open
}
