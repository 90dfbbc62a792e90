package record

import (
	"math/bits"

	"golang.org/x/sys/cpu"
)

// batch is how many times 32 places find4 looks at in one call.
const batch = 32

// find4 looks at 32 places at a time, as long as 35 bytes are left and hits has room. Where four bytes fit the masks, it
// puts the first place, and in the upper half a bit for each of the 32. The search is to go on at at.
//
//go:noescape
func find4(p *byte, n int, t *masks, hits *[batch]uint64) (found, at int)

var wide = cpu.X86.HasAVX2

// find gives the first place in data, not before from, that shows a sign; -1 where none does.
func find(data []byte, from int) int {
	var hits [batch]uint64
	for wide && len(data)-from >= 35 {
		found, at := find4(&data[from], len(data)-from, signMasks, &hits)
		for _, hit := range hits[:found] {
			first := from + int(uint32(hit))
			for places := uint32(hit >> 32); places != 0; places &= places - 1 {
				if i := first + bits.TrailingZeros32(places); accepted(data, i) {
					return i
				}
			}
		}
		from += at
	}
	return findPlain(data, from)
}
