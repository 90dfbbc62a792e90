package record

import (
	"math/bits"

	"golang.org/x/sys/cpu"
)

// find4 looks at 32 places at a time, as long as 35 bytes are left. hits has a bit for each of the 32 places from at on
// whose four bytes fit the masks; without a hit at is where the search stopped.
//
//go:noescape
func find4(p *byte, n int, t *masks) (at int, hits uint32)

var wide = cpu.X86.HasAVX2

// find gives the first place in data, not before from, that shows a sign; -1 where none does.
func find(data []byte, from int) int {
	for wide && len(data)-from >= 35 {
		at, hits := find4(&data[from], len(data)-from, signMasks)
		from += at
		for h := hits; h != 0; h &= h - 1 {
			if i := from + bits.TrailingZeros32(h); accepted(data, i) {
				return i
			}
		}
		if hits == 0 {
			break
		}
		from += 32
	}
	return findPlain(data, from)
}
