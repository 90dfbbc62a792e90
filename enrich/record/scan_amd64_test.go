package record

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// Each search that the processor can do finds what the plain one finds, from wherever it begins and however little is left.
func TestSearchesAgree(t *testing.T) {
	if len(searches) == 0 {
		t.Log("this processor has neither AVX2 nor AVX-512: the plain search is all there is")
	}
	random := rand.New(rand.NewPCG(7, 7))
	for _, log := range benchLogs {
		block := logOf(16<<10, 20, log.line)
		for range 300 {
			from := random.IntN(len(block))
			data := bytes.Clone(block[from : from+min(len(block)-from, random.IntN(3000))])
			for range random.IntN(3) { // signs amid lines, at the end, and broken ones
				at := random.IntN(len(data) + 1)
				for place, class := range signs[random.IntN(len(signs))].bytes {
					if i := at + place; class != "" && i < len(data) {
						data[i] = class[random.IntN(len(class))]
					}
				}
			}
			start := random.IntN(len(data) + 1)
			want := findPlain(data, start)
			for _, s := range searches {
				got, next := s.run(data, start)
				if got < 0 {
					got = findPlain(data, next)
				}
				if got != want {
					t.Fatalf("with %d bytes needed: %d, want %d, from %d in %q", s.needs, got, want, start, data)
				}
			}
		}
	}
}
