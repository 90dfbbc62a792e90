package keypair

import (
	"os"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/openreplay/log-sidecar/internal/testcert"
)

func TestACertificateIsReadAgainWhenItChanges(t *testing.T) {
	dir := t.TempDir()
	write := func(name string) (cert, key string) { return testcert.New(t, name).Write(t, dir) }
	cert, key := write("first")
	synctest.Test(t, func(t *testing.T) {
		pair, err := New(cert, key, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		serves := func(when, want string) {
			t.Helper()
			got, err := pair.Certificate(nil)
			if err != nil {
				t.Fatal(err)
			}
			if name := got.Leaf.Subject.CommonName; name != want {
				t.Errorf("%s: it serves %q, want %q", when, name, want)
			}
		}
		was := "first"
		serves("at the start", was)
		for date, step := range []struct {
			name string
			do   func()
			want string
		}{
			{"a new one", func() { write("second") }, "second"},
			{"half of one", func() { os.WriteFile(cert, []byte("-----BEGIN"), 0o600) }, "second"},
			{"none", func() { os.Remove(key) }, "second"},
			{"the next", func() { write("third") }, "third"},
		} {
			step.do()
			for _, path := range []string{cert, key} { // the file system's clock may be coarser than two writes
				if err := os.Chtimes(path, time.Time{}, time.Unix(int64(date)+1, 0)); err != nil && !os.IsNotExist(err) {
					t.Fatal(err)
				}
			}
			serves("a moment after "+step.name, was)
			time.Sleep(2 * LookEvery)
			serves(step.name, step.want)
			was = step.want
		}
	})
}
