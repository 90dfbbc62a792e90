package main

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

func severalCPUs() bool { return runtime.NumCPU() > 1 }

// machine describes where the figures come from.
func machine() string {
	var name unix.Utsname
	unix.Uname(&name)
	release, _, _ := bytes.Cut(name.Release[:], []byte{0})
	return fmt.Sprintf("%s, %d cores (%s), Linux %s, %s, %s.", time.Now().UTC().Format("2006-01-02"), runtime.NumCPU(), model(), release,
		memory(), runtime.Version())
}

func model() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.Trim(name, "\t :\n")
		}
	}
	return runtime.GOARCH
}

func memory() string {
	return fmt.Sprintf("%d GiB of memory", (field("/proc/meminfo", "MemTotal:")+1<<19)>>20)
}

// A table is one of Markdown.
type table struct {
	head  []string
	lines [][]string
}

func (t *table) add(cells ...string) { t.lines = append(t.lines, cells) }

func (t *table) String() string {
	var b strings.Builder
	row := func(cells []string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	row(t.head)
	rule := []string{"---"}
	for range t.head[1:] {
		rule = append(rule, "--:")
	}
	row(rule)
	for _, line := range t.lines {
		row(line)
	}
	return b.String()
}

func median[T cmp.Ordered](values []T) T {
	var none T
	if len(values) == 0 {
		return none
	}
	return slices.Sorted(slices.Values(values))[len(values)/2]
}

func mib(bytes int64) string { return fmt.Sprintf("%.1f", float64(bytes)/(1<<20)) }

// ms and us show a duration in one unit.
func ms(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d)/float64(time.Millisecond)) }
func us(d time.Duration) string { return fmt.Sprintf("%.0f", float64(d)/float64(time.Microsecond)) }

// ratio shows the median and the range of what was measured turn by turn.
func ratio(values []float64) string {
	if len(values) == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f (%.2f-%.2f)", median(values), slices.Min(values), slices.Max(values))
}
