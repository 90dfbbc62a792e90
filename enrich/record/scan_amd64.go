package record

import (
	"math/bits"

	"golang.org/x/sys/cpu"
)

// batch is how many times a search looks before what it hit is looked at.
const batch = 32

// A hit is where a search looked, and a bit for each of the places from there on whose four bytes fit the masks.
type hit struct {
	at     int
	places uint64
}

// find32 looks at 32 places at a time, as long as 35 bytes are left and hits has room. The search is to go on at at.
//
//go:noescape
func find32(p *byte, n int, t *masks, hits *[batch]hit) (found, at int)

// find64 is find32 with 64 places at a time and 67 bytes.
//
//go:noescape
func find64(p *byte, n int, t *masks, hits *[batch]hit) (found, at int)

// A search is one of the two that the processor can do, and how many bytes it needs.
type search struct {
	find  func(p *byte, n int, t *masks, hits *[batch]hit) (found, at int)
	needs int
}

var searches = func() (can []search) {
	if cpu.X86.HasAVX512BW {
		can = append(can, search{find64, 67})
	}
	if cpu.X86.HasAVX2 {
		can = append(can, search{find32, 35})
	}
	return can
}()

// find gives the first place in data, not before from, that shows a sign; -1 where none does.
func find(data []byte, from int) int {
	for i := range searches {
		at, next := searches[i].run(data, from)
		if at >= 0 {
			return at
		}
		from = next
	}
	return findPlain(data, from)
}

// run searches as long as there are bytes enough, and says where to go on.
func (s *search) run(data []byte, from int) (at, next int) {
	var hits [batch]hit
	for len(data)-from >= s.needs {
		found, looked := s.find(&data[from], len(data)-from, signMasks, &hits)
		for _, hit := range hits[:found] {
			for places := hit.places; places != 0; places &= places - 1 {
				if i := from + hit.at + bits.TrailingZeros64(places); accepted(data, i) {
					return i, 0
				}
			}
		}
		from += looked
	}
	return -1, from
}
