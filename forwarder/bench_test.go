package forwarder

import (
	"strings"
	"testing"
	"time"

	"github.com/openreplay/log-sidecar/enrich"
	"github.com/openreplay/log-sidecar/enrich/record"
	"github.com/openreplay/log-sidecar/session"
)

// BenchmarkEntry is what a finding costs before it is sealed.
func BenchmarkEntry(b *testing.B) {
	build := builder{state: "0123456789abcdef", redact: true, link: func(session.ID, time.Time) string { return "" }}
	f := &enrich.Finding{File: "01234567", Path: "/var/log/app/app.log", By: "requestId",
		Record: &record.Record{Offset: 1 << 20, Length: 500, Severity: record.Error, Time: time.Now(),
			Text: "2026-11-25 10:31:07,412 ERROR [worker-2] Shipping - order 1011 cannot be shipped\n" + strings.Repeat("\tat com.acme.shop.Warehouse.take(Warehouse.java:118)\n", 8)},
		Exchange: &enrich.Exchange{ID: "6f1c9d3e-95a1-4b9e-8f0e-0c2a54d3a111", Session: "jw4wdfpgqhoj.3az.lrraavgc.ovJ2jwk7BEAZr3hB1GgCdXkXTF3W4c4sndRrpZevt3q",
			SessionBy: "header", Method: "POST", Target: "/orders/1011/ship", Status: 500, Begin: time.Now(), End: time.Now()}}
	b.ReportAllocs()
	for b.Loop() {
		build.entry(f)
	}
}
