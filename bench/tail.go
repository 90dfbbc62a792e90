package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

// A reading is what it cost someone to go through a file.
type reading struct {
	cpu  time.Duration
	peak int64 // bytes of RSS
}

// A reader is someone who is compared. It fails where it does not find the errors.
type reader struct {
	name string
	read func(b *bench, path string, f format, errors int) (reading, error)
}

var readers = []reader{
	{"sidecar, end to end", (*bench).readOurs},
	{"rg -c", search("rg", "ripgrep", "-c")},
	{"rg -c --no-mmap", search("rg", "ripgrep", "-c", "--no-mmap")},
	{"grep -c", search("grep", "grep", "-c")},
	{"wc -l", (*bench).readWC},
	{"rsyslog imfile", (*bench).readRsyslog},
	{"OpenTelemetry Collector", (*bench).readCollector},
}

// slow is who is measured once.
const slow = 5 * time.Second

// measureTail goes through generated files with everyone in turn.
func (b *bench) measureTail() (string, error) {
	page := fmt.Sprintf("# The reading of logs\n\n`go run ./bench -tail`. Files of %d MiB. Ours is measured whole: found, cut, matched to its request, "+
		"sent to the stand-in and acknowledged;\nthe others look for one word, or count lines. GB/CPU-s is file size by CPU time of all threads; medians of %d rounds\n"+
		"in which everyone took turns; ratios were taken within a round.\n\n", b.size, b.rounds)
	for _, every := range []int{10_000, 100} {
		table := &table{head: []string{fmt.Sprintf("%g %% errors", 100/float64(every)), "reader", "GB/CPU-s", "against rg", "peak RSS, MiB"}}
		for _, f := range formats {
			if !b.anyOf(f, every) {
				continue
			}
			if err := b.readAll(table, f, every); err != nil {
				return "", fmt.Errorf("%s: %w", f.name, err)
			}
		}
		page += table.String() + "\n"
	}
	return page, nil
}

// wants says whether a reader is to go through a file.
func (b *bench) wants(r reader, f format, every int) bool {
	return b.only.MatchString(fmt.Sprintf("%g %% %s %s", 100/float64(every), f.name, r.name))
}

func (b *bench) anyOf(f format, every int) bool {
	return slices.ContainsFunc(readers, func(r reader) bool { return b.wants(r, f, every) })
}

func (b *bench) readAll(t *table, f format, every int) error {
	path := filepath.Join(b.dir, "generated")
	defer os.Remove(path)
	errors, err := generate(path, f, b.size<<20, every, sentIDs(1000))
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	all := map[string][]reading{}
	for range b.rounds {
		for _, r := range readers {
			if !b.wants(r, f, every) || len(all[r.name]) > 0 && all[r.name][0].cpu > slow {
				continue
			}
			got, err := r.read(b, path, f, errors)
			if err != nil {
				return fmt.Errorf("%s: %w", r.name, err)
			}
			all[r.name] = append(all[r.name], got)
		}
	}
	for _, r := range readers {
		if len(all[r.name]) == 0 {
			continue
		}
		t.add(append([]string{f.name, r.name}, speeds(all[r.name], all["rg -c"], info.Size())...)...)
	}
	return nil
}

func speeds(all, rg []reading, size int64) []string {
	var speed, against []float64
	var peak int64
	for i, r := range all {
		speed = append(speed, float64(size)/1e9/r.cpu.Seconds())
		if i < len(rg) {
			against = append(against, rg[i].cpu.Seconds()/r.cpu.Seconds())
		}
		peak = max(peak, r.peak)
	}
	return []string{fmt.Sprintf("%.2f", median(speed)), ratio(against), mib(peak)}
}

// search looks for the format's word, as a fixed string.
func search(program, pkg string, flags ...string) func(*bench, string, format, int) (reading, error) {
	return func(_ *bench, path string, f format, errors int) (reading, error) {
		found, err := tool(program, pkg)
		if err != nil {
			return reading{}, err
		}
		return run(exec.Command(found, append(slices.Clone(flags), "-F", "-e", f.error, path)...), errors)
	}
}

func (b *bench) readWC(path string, _ format, _ int) (reading, error) {
	return run(exec.Command("wc", "-l", path), -1)
}

// run takes what a program cost that ends by itself, and holds the number that it prints against the one that is right; -1
// is any.
func run(cmd *exec.Cmd, want int) (r reading, err error) {
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		return r, err
	}
	ended := make(chan struct{})
	peak := make(chan int64)
	go func() { peak <- watchPeak(&process{cmd: cmd}, ended) }()
	err = cmd.Wait()
	close(ended)
	r = reading{cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), <-peak}
	var got int
	if fmt.Sscan(out.String(), &got); err == nil && want >= 0 && got != want {
		err = fmt.Errorf("found %d errors, there are %d", got, want)
	}
	return r, err
}

// watchPeak looks at a process until it has ended. The kernel's own figure at its end would not do: it begins with the
// memory of the process that started it, which is this one.
func watchPeak(p *process, ended chan struct{}) (peak int64) {
	for {
		select {
		case <-ended:
			return peak
		case <-time.After(time.Millisecond):
			peak = max(peak, field(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid), "VmHWM:")<<10)
		}
	}
}

// readOurs lets the file appear under the sidecar's glob, and waits until the stand-in has the entry of every error.
func (b *bench) readOurs(path string, _ format, errors int) (reading, error) {
	app, err := address()
	if err != nil {
		return reading{}, err
	}
	upstream, err := b.start("upstream", app, self("upstream", app, ""))
	if err != nil {
		return reading{}, err
	}
	defer b.end(upstream)
	cloud, err := startCloud()
	if err != nil {
		return reading{}, err
	}
	defer cloud.end()
	logs, err := os.MkdirTemp(b.dir, "logs-")
	if err != nil {
		return reading{}, err
	}
	defer os.RemoveAll(logs)
	p, err := b.runSidecar(app, cloudFlags(cloud, filepath.Join(logs, "*.log"))...)
	if err != nil {
		return reading{}, err
	}
	defer b.end(p)
	if _, err := register(p.addr, 1000); err != nil {
		return reading{}, err
	}
	profiled := b.startProfile(p)
	before := p.cpu()
	if err := os.Link(path, filepath.Join(logs, "app.log")); err != nil {
		return reading{}, err
	}
	if err := await("the entries", func() bool { return cloud.count() >= errors }); err != nil {
		return reading{}, fmt.Errorf("%w: %d of %d", err, cloud.count(), errors)
	}
	r := reading{p.cpu() - before, p.peak()}
	return r, profiled()
}

// startProfile has perf look at a process, if that is asked for, and gives what ends it.
func (b *bench) startProfile(p *process) (end func() error) {
	if b.profile == "" {
		return func() error { return nil }
	}
	perf := exec.Command("perf", "record", "-q", "-g", "-F", "1999", "-o", b.profile, "-p", fmt.Sprint(p.cmd.Process.Pid))
	if err := perf.Start(); err != nil {
		return func() error { return err }
	}
	time.Sleep(300 * time.Millisecond) // until it has attached itself
	return func() error {
		perf.Process.Signal(os.Interrupt)
		perf.Wait() // it ends by the signal
		return nil
	}
}

const collectorConfig = `
receivers:
  filelog:
    include: [%q]
    start_at: beginning
    operators: [{type: filter, expr: 'not (body contains %q)'}]
exporters:
  googlecloud:
    project: bench
    log: {default_log_name: errors, endpoint: %q, use_insecure: true}
service:
  telemetry: {metrics: {level: none}}
  pipelines:
    logs: {receivers: [filelog], exporters: [googlecloud]}
`

// readCollector has the OpenTelemetry Collector send the lines of errors to the stand-in.
func (b *bench) readCollector(path string, f format, errors int) (reading, error) {
	program, err := exec.LookPath("otelcol")
	if err != nil {
		return reading{}, fmt.Errorf("%w; make bin/otelcol builds it", err)
	}
	cloud, err := startCloud()
	if err != nil {
		return reading{}, err
	}
	defer cloud.end()
	config := filepath.Join(b.dir, "collector.yaml")
	if err := os.WriteFile(config, fmt.Appendf(nil, collectorConfig, path, f.error, cloud.addr), 0o600); err != nil {
		return reading{}, err
	}
	cmd := exec.Command(program, "--config", config)
	p, err := b.launch("otelcol", cmd)
	if err != nil {
		return reading{}, err
	}
	defer b.end(p)
	if err := await("the Collector's entries", func() bool { return cloud.count() >= errors }); err != nil {
		return reading{}, fmt.Errorf("%w: %d of %d", err, cloud.count(), errors)
	}
	return reading{p.cpu(), p.peak()}, nil
}

const rsyslogConfig = `
global(workDirectory="%[1]s")
module(load="imfile" mode="inotify")
input(type="imfile" file="%[2]s" tag="bench:" ruleset="errors")
ruleset(name="errors") {
  if $msg contains '%[3]s' then { action(type="omfile" file="%[4]s") }
  stop
}
`

// readRsyslog has the errors copied to a file; it sends nothing.
func (b *bench) readRsyslog(path string, f format, errors int) (reading, error) {
	program, err := tool("rsyslogd", "rsyslog")
	if err != nil {
		return reading{}, err
	}
	dir, err := os.MkdirTemp(b.dir, "rsyslog-")
	if err != nil {
		return reading{}, err
	}
	defer os.RemoveAll(dir)
	config, out := filepath.Join(dir, "conf"), filepath.Join(dir, "out")
	if err := os.WriteFile(config, fmt.Appendf(nil, rsyslogConfig, dir, path, f.error, out), 0o644); err != nil {
		return reading{}, err
	}
	cmd := exec.Command(program, "-n", "-f", config, "-i", filepath.Join(dir, "pid"))
	p, err := b.launch("rsyslogd", cmd)
	if err != nil {
		return reading{}, err
	}
	defer b.end(p)
	err = await("rsyslog", func() bool {
		content, _ := os.ReadFile(out)
		return bytes.Count(content, []byte("\n")) >= errors
	})
	return reading{p.cpu(), p.peak()}, err
}
