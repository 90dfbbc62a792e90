package main

import (
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"time"
)

// A stretch is one kind of load.
type stretch struct {
	name        string
	size        int // of an answer's body, in bytes
	connections int
	rate        int  // requests a second; 0: as many as go
	load        load // nil: requests of HTTP/1
}

var stretches = []stretch{
	{"1 KiB, saturated, 64 connections", 1 << 10, 64, 0, nil},
	{"64 KiB, saturated, 64 connections", 64 << 10, 64, 0, nil},
	{"1 MiB, saturated, 16 connections", 1 << 20, 16, 0, nil},
	{"1 KiB, 5,000 requests/s, 16 connections", 1 << 10, 16, 5000, nil},
}

// figures are what one stretch cost one server.
type figures struct {
	perSecond float64
	cpu       float64 // seconds a request
	p50, p99  time.Duration
}

// measureProxy holds the proxy against its peers: each round gives every one of them the same load in turn.
func (b *bench) measureProxy() (string, error) {
	if !severalCPUs() {
		return "", fmt.Errorf("the servers need a CPU for themselves: there is one in all")
	}
	app, err := address()
	if err != nil {
		return "", err
	}
	if _, err := b.start("upstream", app, pinned(1, self("upstream", app, ""))); err != nil {
		return "", err
	}
	memory, err := b.connectionMemory(app)
	if err != nil {
		return "", err
	}
	page := "# The proxy against its peers\n\n`go run ./bench -proxy`. Each server has one CPU for itself; load and app share another. " +
		"Every request has ten headers of a browser,\nsome 900 bytes. The servers took turns in " + fmt.Sprint(b.rounds) +
		" rounds of " + b.length.String() + "; figures are medians, ratios were taken within a round.\nOurs records every exchange and follows a log.\n\n"
	var targets []target
	for _, p := range peers {
		up, err := p.start(b, app)
		if err != nil {
			return "", err
		}
		targets = append(targets, target{p.name, up, up.addr})
	}
	targets = append(targets, target{"none", nil, app})
	for _, s := range stretches {
		text, err := b.compare(s, targets)
		if err != nil {
			return "", err
		}
		page += "## " + s.name + "\n\n" + text + "\n"
	}
	streams, err := b.streams(targets)
	if err != nil {
		return "", err
	}
	page += streams
	return page + "## Resident memory, MiB\n\n" + memory, nil
}

// A target is a server that takes part; none is the app asked directly.
type target struct {
	name string
	up   *process
	addr string
}

func (b *bench) compare(s stretch, targets []target) (string, error) {
	all := map[string][]figures{}
	for range b.rounds {
		for _, t := range targets {
			f, err := b.one(s, t)
			if err != nil {
				return "", fmt.Errorf("%s, %s: %w", t.name, s.name, err)
			}
			all[t.name] = append(all[t.name], f)
		}
	}
	table := &table{head: []string{"", "requests/s", "CPU µs/request", "CPU against nginx"}}
	if s.rate > 0 {
		table.head = append(table.head, "p50 µs", "added", "p99 µs", "added")
	}
	for _, t := range targets {
		table.add(b.line(s, t.name, all)...)
	}
	return table.String(), nil
}

func (b *bench) line(s stretch, name string, all map[string][]figures) []string {
	var perSecond, cpu, against []float64
	var p50, p99, added50, added99 []time.Duration
	for i, f := range all[name] {
		perSecond, cpu = append(perSecond, f.perSecond), append(cpu, f.cpu*1e6)
		against = append(against, f.cpu/all["nginx"][i].cpu)
		p50, p99 = append(p50, f.p50), append(p99, f.p99)
		added50, added99 = append(added50, f.p50-all["none"][i].p50), append(added99, f.p99-all["none"][i].p99)
	}
	cells := []string{name, fmt.Sprintf("%.0f", median(perSecond)), fmt.Sprintf("%.1f", median(cpu)), ratio(against)}
	if name == "none" {
		cells[2], cells[3] = "", ""
	}
	if s.rate > 0 {
		cells = append(cells, us(median(p50)), us(median(added50)), us(median(p99)), us(median(added99)))
	}
	return cells
}

// one puts one stretch of load on one server.
func (b *bench) one(s stretch, t target) (figures, error) {
	load := b.saturate
	switch {
	case s.load != nil:
		load = b.exchanging
	case s.rate > 0:
		load = b.paced
	}
	var before time.Duration
	if t.up != nil {
		before = t.up.cpu()
	}
	f, requests, err := load(s, t.addr)
	if err != nil {
		return f, err
	}
	f.perSecond = float64(requests) / b.length.Seconds()
	if t.up != nil {
		f.cpu = (t.up.cpu() - before).Seconds() / float64(requests)
	}
	return f, nil
}

func (b *bench) paced(s stretch, addr string) (f figures, requests int, err error) {
	took, err := atRate(addr, s.connections, s.rate, b.length)
	return figures{p50: quantile(took, .5), p99: quantile(took, .99)}, len(took), err
}

var (
	wrkRequests = regexp.MustCompile(`(\d+) requests in`)
	wrkProblems = regexp.MustCompile(`Socket errors:.*|Non-2xx.*`)
)

// saturate asks as fast as answers come, with wrk.
func (b *bench) saturate(s stretch, addr string) (f figures, requests int, err error) {
	wrk, err := tool("wrk", "wrk")
	if err != nil {
		return f, 0, err
	}
	args := []string{"-t1", "-c" + strconv.Itoa(s.connections), "-d" + strconv.Itoa(int(b.length.Seconds())) + "s"}
	for _, h := range browserHeaders {
		args = append(args, "-H", h)
	}
	out, err := pinned(1, exec.Command(wrk, append(args, fmt.Sprintf("http://%s/%d", addr, s.size))...)).CombinedOutput()
	if err != nil {
		return f, 0, fmt.Errorf("wrk: %w\n%s", err, out)
	}
	if problem := wrkProblems.Find(out); problem != nil {
		return f, 0, fmt.Errorf("wrk: %s", problem)
	}
	found := wrkRequests.FindSubmatch(out)
	if found == nil {
		return f, 0, fmt.Errorf("wrk says something new:\n%s", out)
	}
	requests, err = strconv.Atoi(string(found[1]))
	return f, requests, err
}

// connectionMemory looks at fresh servers with idle connections, each of which has made one request.
func (b *bench) connectionMemory(app string) (string, error) {
	table := &table{head: []string{"", "after the start", "64 idle connections", "2,000 idle connections"}}
	for _, p := range peers {
		up, err := p.start(b, app)
		if err != nil {
			return "", err
		}
		cells := []string{p.name, mib(up.rss())}
		for _, n := range []int{64, 2000} {
			clients, err := dialAll(up.addr, n)
			if err != nil {
				return "", fmt.Errorf("%s, %d connections: %w", p.name, n, err)
			}
			cells = append(cells, mib(up.rss()))
			closeAll(clients)
		}
		table.add(cells...)
		b.end(up)
	}
	return table.String(), nil
}
