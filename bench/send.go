package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/openreplay/log-sidecar/enrich"
	"github.com/openreplay/log-sidecar/enrich/record"
	"github.com/openreplay/log-sidecar/forwarder"
	"github.com/openreplay/log-sidecar/forwarder/cloudlogging"
	"github.com/openreplay/log-sidecar/forwarder/journal"
)

const (
	goalRate    = 50_000
	goalPerSent = 4 * time.Microsecond
	goalSending = 32 << 20 // bytes of RSS
	sent        = 300_000  // entries in a round
)

// measureSend delivers records of 500 bytes as fast as they go: built, sealed, kept in the journal, sent and acknowledged.
func (b *bench) measureSend() (string, error) {
	var rate, per []float64
	var peak int64
	for range b.rounds {
		cloud, err := startCloud()
		if err != nil {
			return "", err
		}
		cmd := self("sender", cloud.addr, b.profile)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		arrived := cloud.Stats().Written
		cloud.end()
		if err != nil {
			return "", fmt.Errorf("sender: %w", err)
		}
		var n, took, ran, rss int64
		if _, err := fmt.Sscan(string(out), &n, &took, &ran, &rss); err != nil {
			return "", fmt.Errorf("sender said %q: %w", out, err)
		}
		if arrived != n {
			return "", fmt.Errorf("%d entries arrived of %d", arrived, n)
		}
		rate = append(rate, float64(n)/time.Duration(took).Seconds())
		per = append(per, float64(ran)/float64(n))
		peak = max(peak, rss)
	}
	t := &table{head: []string{"from record to wire, 500 bytes each", "measured", "goal"}}
	t.add("entries a second, one request in flight", fmt.Sprintf("%.0f", median(rate)), goalAtLeast(median(rate) >= goalRate, "50,000"))
	t.add("our CPU for an entry", fmt.Sprintf("%.1f µs", median(per)/1000), goal(median(per) <= float64(goalPerSent), "4 µs"))
	t.add("memory, at most", mib(peak)+" MiB", goal(peak <= goalSending, "32 MiB"))
	return fmt.Sprintf("# The sending of entries\n\n`go run ./bench -send`. %d entries in each of %d rounds, from a process that has the forwarder, the journal and the\n"+
		"gRPC client, and nothing else, to the stand-in in another one on the same machine. CPU is user and system time of the first, its start\n"+
		"included.\n\n%s", sent, b.rounds, t), nil
}

// send is the process that is measured.
func send(addr, profile string) error {
	dir, err := os.MkdirTemp("", "bench-send-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	books, err := journal.Open(filepath.Join(dir, "journal"))
	if err != nil {
		return err
	}
	defer books.Close()
	sink := cloudlogging.New(cloudlogging.Config{Project: "bench", LogName: "errors", Endpoint: addr, Plaintext: true})
	defer sink.Close()
	passed := func() func(journal.Key) bool { return func(journal.Key) bool { return false } }
	f := forwarder.New(forwarder.Config{Sink: sink, State: "0123456789abcdef", Journal: books, Positions: passed, Unsent: os.Stderr, Redact: true, Log: zap.NewNop()})
	ended := make(chan error, 1)
	ctx := context.Background()
	go func() { ended <- f.Run(ctx, ctx) }()
	if profile != "" {
		out, err := os.Create(profile)
		if err != nil {
			return err
		}
		defer out.Close()
		if err := pprof.StartCPUProfile(out); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	ring := make([]*enrich.Finding, 2048) // more than are ever on their way: to make them is not what is measured
	for i := range ring {
		ring[i] = newFinding()
	}
	begin := time.Now()
	for n := range sent {
		finding := ring[n%len(ring)]
		finding.Record.Offset = int64(n) * 500
		if err := f.Put(ctx, finding); err != nil {
			return err
		}
	}
	f.Close()
	if err := <-ended; err != nil {
		return err
	}
	took := time.Since(begin)
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return err
	}
	_, err = fmt.Println(sent, int64(took), u.Utime.Nano()+u.Stime.Nano(), field("/proc/self/status", "VmHWM:")<<10)
	return err
}

var sentText = "2026-11-25 10:31:07,412 ERROR [worker-2] [6f1c9d3e-95a1-4b9e-8f0e-0c2a54d3a111] Shipping - order 1011 cannot be shipped\n" +
	strings.TrimSuffix(strings.Repeat("\tat com.acme.shop.Warehouse.take(Warehouse.java:118)\n", 7), "\n")

func newFinding() *enrich.Finding {
	now := time.Now()
	return &enrich.Finding{File: "ABCDEFGHIJKLMNOPQRSTUVWXYZ", Path: "/var/log/app/app.log", By: "requestId", Release: func() {},
		Record: &record.Record{Length: 500, Severity: record.Error, Time: now, Text: sentText},
		Exchange: &enrich.Exchange{ID: "6f1c9d3e-95a1-4b9e-8f0e-0c2a54d3a111", Session: "jw4wdfpgqhoj.3az.lrraavgc.ovJ2jwk7BEAZr3hB1GgCdXkXTF3W4c4sndRrpZevt3q",
			SessionBy: "header", Method: "POST", Target: "/orders/1011/ship", Status: 500, Begin: now, End: now}}
}
