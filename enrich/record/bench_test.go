package record

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"
)

// logOf writes size bytes of lines, one in every rare of them an error.
func logOf(size, rare int, line func(n int, level string) string) []byte {
	random := rand.New(rand.NewPCG(1, 2))
	var b bytes.Buffer
	for n := 0; b.Len() < size; n++ {
		level := "INFO"
		if rare > 0 && random.IntN(rare) == 0 {
			level = "ERROR"
		}
		b.WriteString(line(n, level))
	}
	return b.Bytes()
}

var benchLogs = []struct {
	name string
	line func(int, string) string
}{
	{"java", func(n int, level string) string {
		return fmt.Sprintf("2026-11-23 22:29:%02d.%03d %-5s [http-nio-8080-exec-%d] com.acme.shop.OrderController - order %d of customer %d was read from the store, %d positions, total %d.00 EUR, warehouse north, carrier post\n",
			n/1000%60, n%1000, level, n%20, n*7919%100000, n*31%5000, n%9+1, n%1000)
	}},
	{"json", func(n int, level string) string {
		return fmt.Sprintf(`{"time":"2026-11-23T22:29:%02d.%03d1Z","level":"%s","msg":"order was read from the store","request_id":"%08x-1111-4222-8333-%012x","method":"GET","path":"/orders/%d","status":200,"duration":0.0123}`+"\n",
			n/1000%60, n%1000, level, n*7919, n*104729, n%5000)
	}},
	{"pino", func(n int, level string) string {
		return fmt.Sprintf(`{"level":%d,"time":1795474289%03d,"pid":29203,"hostname":"shop","reqId":"req-%d","req":{"method":"GET","url":"/orders/%d","remoteAddress":"127.0.0.1","remotePort":40196},"msg":"incoming request"}`+"\n",
			map[string]int{"INFO": 30, "ERROR": 50}[level], n%1000, n, n%5000)
	}},
	{"logfmt", func(n int, level string) string {
		return fmt.Sprintf("time=2026-11-23T22:29:%02dZ level=%s msg=\"order was read from the store\" order=%d customer=%d request_id=%08x path=/orders/%d duration=12ms\n",
			n/1000%60, bytes.ToLower([]byte(level)), n*7919%100000, n%5000, n*7919, n%5000)
	}},
	{"access", func(n int, level string) string {
		if level == "ERROR" {
			return fmt.Sprintf("2026/11/23 22:29:%02d [error] 4808#4808: *%d upstream timed out, client: 10.0.0.1\n", n/1000%60, n)
		}
		return fmt.Sprintf("10.0.%d.%d - - [23/Nov/2026:22:29:%02d +0000] \"GET /orders/%d HTTP/1.1\" 200 %d \"https://shop.example/\" \"Mozilla/5.0 (X11; Linux x86_64; rv:125.0) Gecko/20100101 Firefox/125.0\"\n",
			n%256, n%251, n/1000%60, n%5000, n%9000)
	}},
	{"cri", func(n int, level string) string {
		return fmt.Sprintf("2026-11-23T22:29:%02d.%09dZ stdout F 2026-11-23 22:29:%02d.%03d %-5s [exec-%d] com.acme.shop.OrderController - order %d of customer %d was read from the store\n",
			n/1000%60, n%1000*1000000, n/1000%60, n%1000, level, n%20, n*7919%100000, n*31%5000)
	}},
}

// cpuTime is the processor time of the process in seconds: other work on the machine does not count.
func cpuTime() float64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// BenchmarkFeed is the cost of a block: without a candidate, with errors in one of ten thousand lines, in one of a hundred.
func BenchmarkFeed(b *testing.B) {
	for _, log := range benchLogs {
		for _, rare := range []int{0, 10000, 100} {
			block := logOf(1<<20, rare, log.line)
			b.Run(fmt.Sprintf("%s/%d", log.name, rare), func(b *testing.B) {
				s := New(Options{Min: Error}, nil)
				b.SetBytes(int64(len(block)))
				b.ReportAllocs()
				offset, n, begin := int64(0), 0, cpuTime()
				for b.Loop() {
					s.Feed(offset, block, time.Time{}, func(*Record) { n++ })
					offset += int64(len(block))
				}
				b.ReportMetric(float64(n)/float64(b.N), "records/op")
				b.ReportMetric(float64(offset)/1e9/(cpuTime()-begin), "GB/cpu-s")
			})
		}
	}
}

// BenchmarkCandidate is the search alone.
func BenchmarkCandidate(b *testing.B) {
	for _, log := range benchLogs {
		block := logOf(1<<20, 0, log.line)
		b.Run(log.name, func(b *testing.B) {
			b.SetBytes(int64(len(block)))
			begin := cpuTime()
			defer func() { b.ReportMetric(float64(b.N)*float64(len(block))/1e9/(cpuTime()-begin), "GB/cpu-s") }()
			for b.Loop() {
				if at := candidate(block, 0); at >= 0 {
					b.Fatalf("candidate at %d: %q", at, block[at:at+40])
				}
			}
		})
	}
}
