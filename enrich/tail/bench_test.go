package tail

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// BenchmarkRead reads a file of 256 MiB and does nothing with it. GB/cpu-s is what the processor has to do for it.
func BenchmarkRead(b *testing.B) {
	const size = 256 << 20
	path := filepath.Join(b.TempDir(), "app.log")
	line := []byte("2026-11-23 10:00:00.123 INFO  [http-nio-8080-exec-7] com.example.shop.OrderService - order 4711 was accepted after 12 ms\n")
	if err := os.WriteFile(path, bytes.Repeat(line, size/len(line)), 0o644); err != nil {
		b.Fatal(err)
	}
	whole := int64(size / len(line) * len(line))
	b.SetBytes(whole)
	var used time.Duration
	for b.Loop() {
		before := cpu(b)
		t, err := New(Config{Globs: []string{path}, From: Beginning, noNotify: true})
		if err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(b.Context())
		var read int64
		err = t.Run(ctx, func(block *Block) error {
			if read += int64(len(block.Data)); read == whole {
				cancel()
			}
			return nil
		})
		if err != nil || read != whole {
			b.Fatal(err, read)
		}
		t.Close()
		cancel()
		used += cpu(b) - before
	}
	b.ReportMetric(float64(whole)*float64(b.N)/used.Seconds()/1e9, "GB/cpu-s")
}

// BenchmarkIdle is what 20 quiet files cost: the part of a core, in thousandths of a percent.
func BenchmarkIdle(b *testing.B) {
	dir := b.TempDir()
	for n := range 20 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("app-%d.log", n)), []byte("one\n"), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	t, err := New(Config{Globs: []string{filepath.Join(dir, "*.log")}, Checkpoint: filepath.Join(dir, "checkpoint")})
	if err != nil {
		b.Fatal(err)
	}
	defer t.Close()
	for b.Loop() {
		t.look(time.Now())
		if _, err := t.round(b.Context(), time.Now(), func(*Block) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}

func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
