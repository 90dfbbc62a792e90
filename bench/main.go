// Command bench measures what the sidecar costs, on the machine that it runs on.
//
//	go run ./bench           memory, size, CPU per request, and the time from a log line to its entry
//	go run ./bench -proxy    the proxy against nginx, haproxy and net/http/httputil, in the same run
//	go run ./bench -tail     the reading of logs against rg, wc, grep, rsyslog and the OpenTelemetry Collector, on the same file
//	go run ./bench -send     the sending of entries alone
//
// It takes CPU time from the kernel's books and never from the clock, repeats, and keeps medians; what is compared was
// measured turn by turn in one run. The result is printed and kept in bench/results.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"
)

// options say what is measured and how long.
type options struct {
	proxy, tail, send bool
	rounds            int
	length            time.Duration // of one stretch of load
	size              int64         // of a generated log file, in MiB
	keep              bool
	program           string
	only              *regexp.Regexp
	profile           string
}

func main() {
	var o options
	flag.BoolVar(&o.proxy, "proxy", false, "compare the proxy")
	flag.BoolVar(&o.tail, "tail", false, "compare the reading of logs")
	flag.BoolVar(&o.send, "send", false, "measure the sending alone")
	flag.IntVar(&o.rounds, "rounds", 3, "how often each stretch is measured; the median counts")
	flag.DurationVar(&o.length, "length", 4*time.Second, "how long a stretch of load is")
	flag.Int64Var(&o.size, "size", 1024, "`MiB` of each log file of -tail")
	flag.BoolVar(&o.keep, "keep", true, "keep the result in bench/results")
	flag.StringVar(&o.program, "program", "", "measure this `FILE` and not what make build makes")
	only := flag.String("only", "", "measure only what matches this `PATTERN`: idle, requests or live; of -tail as \"1 % plain sidecar\"")
	flag.StringVar(&o.profile, "profile", "", "keep a profile in this `FILE`: of -send pprof's; of -tail perf's, whose names need a -program that was built without -s")
	role := flag.String("role", "", "internal: be a server of the comparison")
	listen := flag.String("listen", "", "internal: where")
	flag.Parse()
	var err error
	if o.only, err = regexp.Compile(*only); err != nil {
		fmt.Fprintln(os.Stderr, "bench: -only:", err)
		os.Exit(1)
	}
	if *role != "" {
		err = serve(*role, *listen, flag.Arg(0))
	} else {
		err = measure(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// measure does what the options ask for, in a directory that is gone afterwards.
func measure(o options) error {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{options: o, dir: dir}
	defer b.endAll()
	if err := b.build(); err != nil {
		return err
	}
	name, run := "sidecar", b.measureSidecar
	switch {
	case o.proxy:
		name, run = "proxy", b.measureProxy
	case o.tail:
		name, run = "tail", b.measureTail
	case o.send:
		name, run = "send", b.measureSend
	}
	page, err := run()
	if err != nil {
		return err
	}
	page = page + "\n" + machine() + "\n"
	fmt.Print(page)
	if !o.keep || o.only.String() != "" { // a part does not stand for the whole
		return nil
	}
	results := filepath.Join("bench", "results")
	if err := os.MkdirAll(results, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(results, name+".md"), []byte(page), 0o644)
}

// A bench is one run: a directory, and the processes that are up.
type bench struct {
	options
	dir     string
	sidecar string // the program
	up      []*process
}

// build makes the sidecar as it is shipped, except where another program is to be measured.
func (b *bench) build() (err error) {
	if b.program != "" {
		b.sidecar, err = filepath.Abs(b.program)
		return err
	}
	if _, err := os.Stat("go.mod"); err != nil {
		return errors.New("run it from the repository's root: go run ./bench")
	}
	if out, err := exec.Command("make", "build").CombinedOutput(); err != nil {
		return fmt.Errorf("make build: %w\n%s", err, out)
	}
	b.sidecar, err = filepath.Abs("bin/sidecar")
	return err
}
