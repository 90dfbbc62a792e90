package tail

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/zap"
)

// FuzzRead writes any bytes in two halves, with a kill in between or not: all of them are handed out once and in order, but for
// NULs and for the rest of lines that were cut.
func FuzzRead(f *testing.F) {
	f.Add([]byte("one\ntwo\nthree"), uint16(5), uint8(0), true)
	f.Add([]byte("\xff\xfeo\x00n\x00e\x00\n\x00\x0a\x01\n\x00"), uint16(9), uint8(1), false)
	f.Add([]byte("a\n\x00\x00\x00\x00b\n\x00"), uint16(3), uint8(2), false)
	f.Add(bytes.Repeat([]byte("long "), 100), uint16(70), uint8(3), true)
	f.Fuzz(func(t *testing.T, content []byte, half uint16, block uint8, kill bool) {
		l := lifeIn(t, t.TempDir(), filepath.Join(t.TempDir(), "checkpoint"), zap.NewNop())
		defer l.over()
		l.compare = func([]string) {}
		end, cut := int64(0), false
		l.taker = func(b *Block) error {
			l.check(b)
			passed := content[min(end, b.Offset):b.Offset]
			switch {
			case b.Offset < end:
				t.Errorf("bytes %d to %d come twice", b.Offset, end)
			case !cut && len(bytes.Trim(passed, "\x00")) > 0:
				t.Errorf("%q is passed over at %d", passed, end)
			case !bytes.HasPrefix(content[b.Offset:], b.Data):
				t.Errorf("%q is not what stands at %d", b.Data, b.Offset)
			}
			if len(b.Data) > 0 {
				end, cut = b.Offset+int64(len(b.Data)), b.Cut
			}
			return nil
		}
		at := min(int(half), len(content))
		start := fmt.Sprintf("start from=beginning block=%d", 64+int(block))
		follow := func(lines ...string) {
			if err := l.follow(lines); err != nil {
				t.Fatal(err)
			}
		}
		must := func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		must(os.WriteFile(l.path("app.log"), content[:at], 0o600))
		follow(start, "read", "save")
		if kill {
			follow("kill", start)
		}
		must(l.append(l.path("app.log"), string(content[at:])))
		follow("read")
		for range len(content) + 1 { // what stands between two NULs waits for its end each time
			follow("wait 6s", "read")
		}
		if rest := content[min(end, int64(len(content))):]; !cut && len(bytes.Trim(rest, "\x00")) > 0 {
			t.Errorf("%q was not read, behind %d of %d", rest, end, len(content))
		}
	})
}
