package journal

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func mustShelf(t *testing.T, path string) *Shelf {
	t.Helper()
	s, err := OpenShelf(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func put(t *testing.T, s *Shelf, key, thing string) {
	t.Helper()
	if err := s.Put(key, []byte(thing)); err != nil {
		t.Fatal(err)
	}
}

func TestShelfKeepsWhatIsNotDoneWith(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shelf")
	s := mustShelf(t, path)
	put(t, s, "a", "one")
	put(t, s, "b", "two")
	put(t, s, "b", "two, as it is now")
	put(t, s, "c", "three")
	for _, key := range []string{"a", "unknown"} {
		if err := s.Done(key); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	left := mustShelf(t, path).All()
	if diff := cmp.Diff(map[string][]byte{"b": []byte("two, as it is now"), "c": []byte("three")}, left); diff != "" {
		t.Errorf("left by the last life (-want +got):\n%s", diff)
	}
}

func TestShelfIsBounded(t *testing.T) {
	s := mustShelf(t, filepath.Join(t.TempDir(), "shelf"))
	for i := range slots {
		put(t, s, fmt.Sprint(i), "x")
	}
	if err := s.Put("one more", []byte("x")); !errors.Is(err, ErrShelfFull) {
		t.Errorf("Put on a full shelf: %v", err)
	}
	if err := s.Done("7"); err != nil {
		t.Fatal(err)
	}
	put(t, s, "one more", "x")
	if err := s.Put("large", make([]byte, MaxThing)); err == nil {
		t.Error("a thing that does not fit was taken")
	}
}

// TestShelfPassesOverWhatIsDamaged: what was not written whole counts as not written.
func TestShelfPassesOverWhatIsDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shelf")
	s := mustShelf(t, path)
	put(t, s, "a", "one")
	put(t, s, "b", "two")
	if _, err := s.file.WriteAt([]byte("X"), slotsHead+1); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = mustShelf(t, path)
	left := s.All()
	if diff := cmp.Diff(map[string][]byte{"b": []byte("two")}, left); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
	put(t, s, "c", "three")
}
