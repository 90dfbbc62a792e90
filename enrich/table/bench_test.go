package table

import (
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/openreplay/log-sidecar/enrich"
)

const someToken = "jw4wdfpgqhoj.3az.lrraavgc.ovJ2jwk7BEAZr3hB1GgCdXkXTF3W4c4sndRrpZevt3q"

// BenchmarkExchange is the life of an exchange: three calls. The table is full all the time.
func BenchmarkExchange(b *testing.B) {
	table := opened(b, Config{Path: filepath.Join(b.TempDir(), "table")})
	b.ReportAllocs()
	x := exchange(1, someToken, time.Now())
	for b.Loop() {
		live(table, x)
	}
}

// BenchmarkExchangeParallel runs it in 8 goroutines for each CPU that the test was given.
func BenchmarkExchangeParallel(b *testing.B) {
	table := opened(b, Config{Path: filepath.Join(b.TempDir(), "table")})
	b.ReportAllocs()
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		x := exchange(1, someToken, time.Now())
		for pb.Next() {
			live(table, x)
		}
	})
}

func live(table *Table, x *enrich.Exchange) {
	x.Upstream, x.End = netip.AddrPort{}, time.Time{}
	table.Begin(x)
	x.Upstream = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 40001)
	table.Update(x)
	x.Status, x.End = 200, x.Begin
	table.End(x)
}

func full(b *testing.B) *Table {
	table := opened(b, Config{})
	for n := range 20_000 {
		x := exchange(n, someToken, time.Now())
		x.IDs = append(x.IDs, "main")
		x.Upstream = netip.MustParseAddrPort("127.0.0.1:40001")
		table.Begin(x)
		x.End = time.Now()
		table.End(x)
	}
	b.ReportAllocs()
	return table
}

func first(enrich.Exchange) bool { return false }

func BenchmarkByIDHit(b *testing.B) {
	table := full(b)
	id := exchange(19_000, "", epoch).ID
	for b.Loop() {
		table.ByID(id, first)
	}
}

func BenchmarkByIDMiss(b *testing.B) {
	table := full(b)
	for b.Loop() {
		table.ByID("6f1c9d3e-95a1-4b9e-8f0e-0c2a54d3a111", first)
	}
}

// BenchmarkByIDOfAll asks for an ID that 20,000 exchanges share, as a reader does that stops at the first two.
func BenchmarkByIDOfAll(b *testing.B) {
	table := full(b)
	for b.Loop() {
		n := 0
		table.ByID("main", func(enrich.Exchange) bool { n++; return n < 2 })
	}
}

func BenchmarkByUpstream(b *testing.B) {
	table := full(b)
	for b.Loop() {
		table.ByUpstream(netip.MustParseAddrPort("127.0.0.1:40001"), time.Now(), first)
	}
}

func BenchmarkDuring(b *testing.B) {
	table := full(b)
	for b.Loop() {
		table.During(time.Now().Add(-time.Hour), time.Now(), first)
	}
}

// BenchmarkOpen is a restart over a full table.
func BenchmarkOpen(b *testing.B) {
	path := filepath.Join(b.TempDir(), "table")
	table := opened(b, Config{Path: path})
	for range 30_000 {
		live(table, exchange(1, someToken, time.Now()))
	}
	table.Close()
	b.ReportAllocs()
	for b.Loop() {
		opened(b, Config{Path: path}).Close()
	}
}
