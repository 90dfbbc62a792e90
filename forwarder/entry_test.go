package forwarder

import (
	"fmt"
	"testing"
)

func TestInsertIDsSortAsTheFile(t *testing.T) {
	before := ""
	for _, offset := range []int64{0, 1, 15, 16, 1 << 20, 1<<44 - 1, 1 << 44, 1<<47 - 1} {
		got := insertID("0123456789abcdef", "FILE", offset)
		if want := fmt.Sprintf("0123456789abcdef-FILE-%012x", offset); got != want {
			t.Errorf("offset %d: %s, want %s", offset, got, want)
		}
		if got <= before {
			t.Errorf("%s does not sort after %s", got, before)
		}
		before = got
	}
}
