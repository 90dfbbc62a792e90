package enrich

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// BenchmarkShare shares out the errors of one kind in a flood: each of 32 records may be that of 40 exchanges.
func BenchmarkShare(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 2))
	start := time.Unix(1_800_000_000, 0)
	var t traffic
	var exchanges []Exchange
	for i := range 1000 {
		begin := start.Add(time.Duration(random.IntN(4000)) * time.Millisecond)
		end := begin.Add(time.Duration(5+random.IntN(20)) * time.Millisecond)
		x := Exchange{Ref: uint64(i + 1), Method: "GET", Target: fmt.Sprintf("/r%d/7", random.IntN(8)), Status: 200, Begin: begin, Head: end, End: end}
		if random.IntN(3) == 0 {
			x.Status = 500
		}
		t.add(&x)
		exchanges = append(exchanges, x)
	}
	var seen []*sighting
	for range maxSeen {
		x := exchanges[random.IntN(len(exchanges))]
		s := &sighting{at: x.End.Add(-time.Millisecond), rate: 0.25, nobody: 1, shared: true}
		for range 40 {
			s.parts = append(s.parts, t.partOf(&exchanges[random.IntN(len(exchanges))], s, s.at, start.Add(time.Hour)))
		}
		seen = append(seen, s)
	}
	groups := []*group{{}, {whole: true}}
	b.ReportAllocs()
	for b.Loop() {
		share(seen, groups)
	}
}
