package journal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func batch(time int64, keys ...int64) *Batch {
	b := &Batch{Time: time, Sink: "test"}
	for _, k := range keys {
		b.Entries = append(b.Entries, Sealed{Key: Key{"f", k}, Data: fmt.Appendf(nil, "entry %d", k)})
	}
	return b
}

// all is what a caller says whose checkpoint did not move.
func all() func(Key) bool { return func(Key) bool { return true } }

func mustOpen(t testing.TB, path string) *Journal {
	t.Helper()
	j, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j
}

func TestWhatIsNotAcknowledgedIsThereAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j := mustOpen(t, path)
	want := batch(7, 1, 2)
	if err := j.Append(want, all); err != nil {
		t.Fatal(err)
	}
	j.Close()

	j = mustOpen(t, path)
	if diff := cmp.Diff(want, j.Waiting()); diff != "" {
		t.Errorf("Waiting() after a restart (-want +got):\n%s", diff)
	}
	if j.Last() != 7 {
		t.Errorf("Last() = %d, want 7", j.Last())
	}
	if err := j.Ack(); err != nil {
		t.Fatal(err)
	}
	j.Close()

	j = mustOpen(t, path)
	if j.Waiting() != nil {
		t.Errorf("Waiting() after Ack and a restart = %v, want nothing", j.Waiting())
	}
	if !j.Sealed(Key{"f", 2}) {
		t.Error("the key of an acknowledged entry is forgotten, though no checkpoint has passed it")
	}
}

func TestASecondSidecarIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	mustOpen(t, path)
	if second, err := Open(path); err == nil {
		second.Close()
		t.Error("two journals on one file")
	}
}

func TestTheOtherHalfKeepsOnlyWhatIsWanted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j := mustOpen(t, path)
	big := make([]byte, MaxBatch/2)
	forgotten := 0
	forget := func() func(Key) bool {
		forgotten++
		return func(k Key) bool { return k.Offset%2 == 0 }
	}
	for i := range int64(40) { // ten times the file
		b := &Batch{Time: i, Entries: []Sealed{{Key: Key{"f", i}, Data: big}}}
		if err := j.Append(b, forget); err != nil {
			t.Fatalf("batch %d: %v", i, err)
		}
		if err := j.Ack(); err != nil {
			t.Fatal(err)
		}
	}
	if forgotten == 0 {
		t.Fatal("forty half-megabytes fitted into two halves of two")
	}
	j.Close()
	j = mustOpen(t, path)
	for i := int64(0); i < 30; i++ {
		if got, want := j.Sealed(Key{"f", i}), i%2 == 0; got != want {
			t.Errorf("Sealed(%d) = %v, want %v", i, got, want)
		}
	}
}

func TestFullWhenTheCheckpointDoesNotMove(t *testing.T) {
	j := mustOpen(t, filepath.Join(t.TempDir(), "journal"))
	name := string(bytes.Repeat([]byte("n"), 1<<10))
	for i := int64(0); ; i++ {
		b := &Batch{Entries: []Sealed{{Key: Key{name, i}}}}
		err := j.Append(b, all)
		if errors.Is(err, ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		j.Ack()
		if i > 2*half>>10 {
			t.Fatal("it takes more than it has room for")
		}
	}
	if err := j.Append(batch(1, 1), func() func(Key) bool { return func(Key) bool { return false } }); err != nil {
		t.Errorf("after the checkpoint has moved: %v", err)
	}
}

// TestAnyKill cuts the file's content off after any byte that was written, which is what a kill leaves behind, and
// checks that what the calls before it have said still holds.
func TestAnyKill(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		path := filepath.Join(dir, "journal")
		os.Remove(path)
		j, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		var waiting *Batch
		var keys []Key
		for i := range rapid.IntRange(0, 12).Draw(t, "batches") {
			waiting = batch(int64(i), int64(2*i), int64(2*i+1))
			waiting.Entries[0].Data = make([]byte, rapid.SampledFrom([]int{0, 9, 1000, 1 << 16}).Draw(t, "size"))
			if err := j.Append(waiting, all); err != nil {
				t.Fatal(err)
			}
			keys = append(keys, waiting.Entries[0].Key, waiting.Entries[1].Key)
			if rapid.Bool().Draw(t, "last") {
				break
			}
			j.Ack()
			waiting = nil
		}
		// The next call's write is torn: part of a frame stands where it would begin.
		torn := rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "torn")
		j.file.WriteAt(torn, j.at)
		j.Close()

		j, err = Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer j.Close()
		if diff := cmp.Diff(waiting, j.Waiting()); diff != "" {
			t.Fatalf("Waiting() (-want +got):\n%s", diff)
		}
		for _, k := range keys {
			if !j.Sealed(k) {
				t.Fatalf("%v was sealed and is forgotten", k)
			}
		}
	})
}

func FuzzOpen(f *testing.F) {
	path := filepath.Join(f.TempDir(), "seed")
	j := mustOpen(f, path)
	j.Append(batch(1, 1, 2), all)
	j.Close()
	content, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(content[:200])
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(t.TempDir(), "journal")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		j := mustOpen(t, path)
		if j.Waiting() != nil {
			j.Ack()
		}
		if err := j.Append(batch(9, 9), all); err != nil {
			t.Fatalf("a foreign file stops the journal: %v", err)
		}
	})
}
