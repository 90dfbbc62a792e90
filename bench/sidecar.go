package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"cloud.google.com/go/logging/apiv2/loggingpb"

	"github.com/openreplay/log-sidecar/internal/localcloud"
)

// The goals that the figures are held against.
const (
	goalIdle = 20 << 20 // bytes of RSS
	goalSize = 22e6     // bytes of the stripped program
	goalP99  = 100 * time.Millisecond
)

// A cloud is the stand-in inside this process, so that its work is in nobody's figures.
type cloud struct {
	*localcloud.Server
	addr string

	mu      sync.Mutex
	arrived map[string]time.Time // when the entry of each request could first be read; of noted ones alone
}

func startCloud() (*cloud, error) {
	server, err := localcloud.New(localcloud.Config{})
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &cloud{Server: server, addr: l.Addr().String(), arrived: map[string]time.Time{}}
	go server.Serve(l)
	return c, nil
}

// startNotedCloud also notes when entries arrive, for which it has to look at each.
func startNotedCloud() (*cloud, error) {
	c, err := startCloud()
	if err == nil {
		c.Interpose(c.note)
	}
	return c, err
}

func (c *cloud) note(_ context.Context, r *loggingpb.WriteLogEntriesRequest, apply func() (*loggingpb.WriteLogEntriesResponse, error)) (*loggingpb.WriteLogEntriesResponse, error) {
	answer, err := apply()
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range r.Entries {
		c.arrived[e.Labels["requestId"]] = now
	}
	return answer, err
}

// count gives the entries so far.
func (c *cloud) count() int { return int(c.Stats().Written) }

func (c *cloud) end() { c.Shutdown(context.Background()) }

// measureSidecar takes what one sidecar costs its pod.
func (b *bench) measureSidecar() (string, error) {
	info, err := os.Stat(b.sidecar)
	if err != nil {
		return "", err
	}
	t := &table{head: []string{"what one sidecar costs", "measured", "goal"}}
	t.add("program, stripped", fmt.Sprintf("%.1f MB", float64(info.Size())/1e6), goal(float64(info.Size()) <= goalSize, "22 MB"))
	at, err := address()
	if err != nil {
		return "", err
	}
	if _, err := b.start("upstream", at, pinned(1, self("upstream", at, ""))); err != nil {
		return "", err
	}
	for _, part := range []struct {
		name    string
		measure func(t *table, app string) error
	}{{"idle", b.idle}, {"requests", b.requests}, {"live", b.live}} {
		if !b.only.MatchString(part.name) {
			continue
		}
		if err := part.measure(t, at); err != nil {
			return "", err
		}
	}
	return "# What the sidecar costs\n\n`go run ./bench`. CPU time is the scheduler's, memory is resident (the table of exchanges in it);\n" +
		"medians of " + fmt.Sprint(b.rounds) + " rounds.\n\n" + t.String(), nil
}

func goal(met bool, text string) string {
	if met {
		return "≤ " + text + ", met"
	}
	return "≤ " + text + ", **missed**"
}

func goalAtLeast(met bool, text string) string {
	if met {
		return "≥ " + text + ", met"
	}
	return "≥ " + text + ", **missed**"
}

// idle looks at a sidecar that nobody asks, with 20 files that nobody writes.
func (b *bench) idle(t *table, app string) error {
	const length = 10 * time.Second
	cloud, err := startCloud()
	if err != nil {
		return err
	}
	defer cloud.end()
	logs, err := b.quietLogs(20)
	if err != nil {
		return err
	}
	p, err := b.runSidecar(app, cloudFlags(cloud, filepath.Join(logs, "*.log"))...)
	if err != nil {
		return err
	}
	defer b.end(p)
	time.Sleep(length)
	t.add("memory, 10 s after the start", mib(p.rss())+" MiB", goal(p.rss() <= goalIdle, "20 MiB"))
	ran, woke := p.cpu(), p.wakeUps()
	time.Sleep(length)
	ran, woke = p.cpu()-ran, p.wakeUps()-woke
	share := 100 * float64(ran) / float64(length)
	t.add("CPU, idle with 20 quiet files", fmt.Sprintf("%.3f %% of a core", share), goal(share <= 0.05, "0.05 %"))
	t.add("thread wake-ups, idle", fmt.Sprintf("%.1f a second", float64(woke)/length.Seconds()), "")
	return nil
}

func (b *bench) quietLogs(n int) (string, error) {
	dir, err := os.MkdirTemp(b.dir, "logs-")
	if err != nil {
		return "", err
	}
	for i := range n {
		text := fmt.Sprintf("2026-11-23 10:15:02,123 INFO  [main] - quiet file %d\n", i)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("quiet-%02d.log", i)), []byte(text), 0o644); err != nil {
			return "", err
		}
	}
	return dir, nil
}

func cloudFlags(c *cloud, glob string) []string {
	return []string{"--logs", glob, "--endpoint", c.addr, "--plaintext", "--pace", "0"}
}

// requests looks at a sidecar on 64 connections.
func (b *bench) requests(t *table, app string) error {
	cloud, err := startCloud()
	if err != nil {
		return err
	}
	defer cloud.end()
	logs, err := b.quietLogs(1)
	if err != nil {
		return err
	}
	p, err := b.runSidecar(app, cloudFlags(cloud, filepath.Join(logs, "*.log"))...)
	if err != nil {
		return err
	}
	defer b.end(p)
	clients, err := dialAll(p.addr, 64)
	if err != nil {
		return err
	}
	t.add("memory, with 64 idle connections", mib(p.rss())+" MiB", "")
	closeAll(clients)
	for _, rate := range []int{1000, 5000} {
		var per []float64
		for range b.rounds {
			before := p.cpu()
			took, err := atRate(p.addr, 64, rate, b.length)
			if err != nil {
				return err
			}
			per = append(per, float64(p.cpu()-before)/float64(time.Millisecond)/float64(len(took))*1000)
		}
		t.add(fmt.Sprintf("CPU for 1000 requests, at %d a second", rate), fmt.Sprintf("%.0f ms", median(per)), "")
	}
	t.add("memory, after these", mib(p.rss())+" MiB", "")
	return nil
}

// live writes 2,000 lines a second, one in a hundred an error, and takes the time from each write to its entry.
func (b *bench) live(t *table, app string) error {
	const rate, every = 2000, 100
	length := max(2*b.length, 5*time.Second)
	var p50, p99, share []float64
	var peak int64
	for range b.rounds {
		l, err := b.liveRound(app, rate, every, length)
		if err != nil {
			return err
		}
		p50 = append(p50, float64(quantile(l.took, .5)))
		p99 = append(p99, float64(quantile(l.took, .99)))
		share = append(share, 100*float64(l.cpu)/float64(length))
		peak = max(peak, l.peak)
	}
	t.add("from a log line to its entry, p50", ms(time.Duration(median(p50)))+" ms", goal(median(p50) <= float64(15*time.Millisecond), "15 ms"))
	t.add("from a log line to its entry, p99", ms(time.Duration(median(p99)))+" ms", goal(median(p99) <= float64(goalP99), "100 ms"))
	t.add("CPU at 2,000 lines/s, 1 % errors", fmt.Sprintf("%.2f %% of a core", median(share)), goal(median(share) <= 1.5, "1.5 %"))
	t.add("memory, at most, meanwhile", mib(peak)+" MiB", "")
	return nil
}

type lived struct {
	took []time.Duration
	cpu  time.Duration
	peak int64
}

func (b *bench) liveRound(app string, rate, every int, length time.Duration) (lived, error) {
	cloud, err := startNotedCloud()
	if err != nil {
		return lived{}, err
	}
	defer cloud.end()
	logs, err := b.quietLogs(1)
	if err != nil {
		return lived{}, err
	}
	p, err := b.runSidecar(app, cloudFlags(cloud, filepath.Join(logs, "*.log"))...)
	if err != nil {
		return lived{}, err
	}
	defer b.end(p)
	ids, err := register(p.addr, int(length.Seconds())*rate/every+rate/every)
	if err != nil {
		return lived{}, err
	}
	before := p.cpu()
	wrote, err := writeLive(filepath.Join(logs, "quiet-00.log"), rate, every, length, ids)
	if err != nil {
		return lived{}, err
	}
	if err := await("the entries", func() bool { return cloud.count() >= len(wrote) }); err != nil {
		return lived{}, fmt.Errorf("%w: %d of %d", err, cloud.count(), len(wrote))
	}
	l := lived{cpu: p.cpu() - before, peak: p.peak()}
	for id, at := range wrote {
		l.took = append(l.took, cloud.arrived[id].Sub(at))
	}
	return l, nil
}

// register makes n requests, under the IDs that lines then name.
func register(front string, n int) (ids []string, err error) {
	ids = sentIDs(n)
	for i, id := range ids {
		r, err := http.NewRequest("GET", "http://"+front+"/64", nil)
		if err != nil {
			return nil, err
		}
		r.Header.Set("X-Request-ID", id)
		r.Header.Set("X-OpenReplay-SessionToken", fmt.Sprintf("session-%d", i))
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			return nil, err
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return nil, errors.New("register a request: " + answer.Status)
		}
	}
	return ids, nil
}

// writeLive appends to a log as an app does, a line a write, and says when it wrote the error of each request.
func writeLive(path string, rate, every int, length time.Duration, ids []string) (map[string]time.Time, error) {
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	out := bufio.NewWriter(file)
	wrote := map[string]time.Time{}
	begin := time.Now()
	for n := 1; time.Since(begin) < length; n++ {
		time.Sleep(time.Until(begin.Add(time.Second * time.Duration(n) / time.Duration(rate))))
		now := time.Now()
		line := logLine{level: "INFO", id: "-", at: now, n: n}
		if n%every == 0 && n/every <= len(ids) {
			line.level, line.id = "ERROR", ids[n/every-1]
			wrote[line.id] = now
		}
		out.Write(line.plain(nil))
		if err := out.Flush(); err != nil {
			return nil, err
		}
	}
	return wrote, nil
}
