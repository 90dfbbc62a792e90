//go:build e2e

package torture

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/openreplay/log-sidecar/e2e/stage"
)

// oddRows are what happens to logs that is no rotation, or one that went wrong.
var oddRows = []row{
	{"deletion and re-creation", "none", "", func(w *world) { w.recreate(nothing, nothing) }},
	{"deletion and re-creation", "outage", "", func(w *world) { w.recreate(w.cloudDown, w.cloudUp) }},
	{"truncated, rewritten to the same size", "none", "", func(w *world) { w.rewrite(0, nothing, nothing) }},
	{"truncated, rewritten to the same size", "SIGKILL", "", func(w *world) { w.rewrite(0, w.kill, w.launch) }},
	{"truncated, rewritten larger", "none", "", func(w *world) { w.rewrite(20, nothing, nothing) }},
	{"truncated, rewritten larger", "SIGKILL", "", func(w *world) { w.rewrite(20, w.kill, w.launch) }},
	{"truncated, rewritten smaller", "none", "", func(w *world) { w.rewrite(-20, nothing, nothing) }},
	{"truncated, rewritten smaller", "SIGKILL", "", func(w *world) { w.rewrite(-20, w.kill, w.launch) }},
	{"copytruncate, written in between", "none", "app.log*", func(w *world) { w.betweenCopyAndTruncation(nothing) }},
	{"copytruncate, written in between", "SIGKILL", "app.log*", func(w *world) {
		w.betweenCopyAndTruncation(func() { w.checkpointed(); w.kill(); w.launch() })
	}},
	{"the same first 2 KB", "none", "", func(w *world) { w.banner(nothing, nothing) }},
	{"the same first 2 KB", "SIGKILL", "", func(w *world) { w.banner(w.kill, w.launch) }},
	{"two rotations between two looks", "none", "", func(w *world) { w.twice(nothing, nothing) }},
	{"two rotations between two looks", "SIGKILL", "", func(w *world) { w.twice(w.kill, w.launch) }},
	{"late writes to the rotated file", "none", "", func(w *world) { w.late(nothing) }},
	{"late writes to the rotated file", "SIGKILL", "", func(w *world) { w.late(func() { w.kill(); w.launch() }) }},
	{"file appears later", "none", "*.log", func(w *world) { w.later("app.log") }},
	{"directory appears later", "none", "deep/er/*.log", func(w *world) { w.later("deep/er/app.log") }},
	{"lines in two halves", "none", "", func(w *world) { w.halves(nothing) }},
	{"lines in two halves", "SIGKILL", "", func(w *world) { w.halves(func() { w.kill(); w.launch() }) }},
	{"lines of 300 kB and 2 MB", "none", "", func(w *world) { w.long(nothing) }},
	{"lines of 300 kB and 2 MB", "SIGKILL", "", func(w *world) { w.long(func() { w.kill(); w.launch() }) }},
	{"rotation while down", "SIGTERM", "", func(w *world) { w.whileDown(w.terminate) }},
	{"rotation while down", "SIGKILL", "", func(w *world) { w.whileDown(w.kill) }},
	{"rotation while down", "SIGTERM in an outage", "", func(w *world) { w.cutOff(w.terminate) }},
	{"deleted while down", "SIGTERM", "", func(w *world) { w.deletedUnread(w.terminate) }},
	{"deleted while down", "SIGKILL", "", func(w *world) { w.deletedUnread(func() { w.checkpointed(); w.kill() }) }},
	{"truncated before it was read", "none", "", func(w *world) { w.truncatedUnread() }},
	{"last line without an end", "none", "", func(w *world) { w.endless() }},
	{"200 files", "SIGKILL", "*.log", func(w *world) { w.many(200) }},
	{"stand-in hangs", "none", "", func(w *world) { w.hang() }},
}

func nothing() {}

// recreate deletes the log while the app writes it; the app makes a new one.
func (w *world) recreate(before, after func()) {
	w.begin(200)
	w.open("app.log")
	before()
	for range 4 {
		w.some(5)
		w.noticed()
		w.some(35)
		w.must(os.Remove(w.path))
		w.some(5)
		w.open("app.log")
		w.rotations++
	}
	after()
}

// noticed waits until the sidecar has read all that was written. What is deleted sooner, it may never have seen.
func (w *world) noticed() {
	w.t.Helper()
	stage.Await(w.t, "the file to be read", func() bool {
		return w.stage.Metric("sidecar_tail_read_bytes_total") >= float64(w.total)
	})
}

// rewrite truncates the log and writes it anew at once, with more lines than before. A truncation takes with it what nobody has
// read, so the row waits before each.
func (w *world) rewrite(more int, before, after func()) {
	w.begin(400)
	w.open("app.log")
	w.some(50)
	for range 3 {
		w.arrived()
		before()
		w.must(os.Truncate(w.path, 0))
		w.rotations++
		w.size = 0
		w.some(50 + more)
		after()
	}
}

// banner begins each file with the same text.
func (w *world) banner(before, after func()) {
	w.begin(200)
	text := strings.Repeat("=== the shop, version 1.0 ===\n", 70)
	w.open("app.log")
	for range 4 {
		w.put(text)
		w.some(30)
		before()
		rename(9)(w)
		w.rotations++
		after()
	}
}

// twice rotates again before anyone can have looked.
func (w *world) twice(before, after func()) {
	w.begin(400)
	w.open("app.log")
	for range 4 {
		w.some(20)
		before()
		for range 2 {
			rename(8)(w)
			w.some(10)
			w.rotations++
		}
		after()
	}
}

// late has the app write to the file for a while that was renamed under it, and to the new one too.
func (w *world) late(trouble func()) {
	w.begin(300)
	w.open("app.log")
	for range 3 {
		w.some(20)
		old := w.file
		w.file = nil
		w.must(os.Rename(w.path, w.at("app.log.%d", w.rotations+1)))
		w.rotations++
		w.open("app.log")
		w.some(10)
		trouble()
		w.up()
		fresh := w.file
		for range 10 {
			w.file = old
			w.some(2)
			w.file = fresh
			w.some(2)
			<-time.After(100 * time.Millisecond)
		}
	}
}

// later makes the file, and its directory, when the sidecar has long been up.
func (w *world) later(name string) {
	w.begin(50)
	w.must(os.MkdirAll(filepath.Dir(w.at("%s", name)), 0o755))
	w.open(name)
	w.some(50)
}

// halves writes a line's second half seconds after its first.
func (w *world) halves(trouble func()) {
	w.begin(20)
	w.open("app.log")
	for range 5 {
		line := w.error()
		w.put(line[:len(line)/2])
		trouble()
		w.up()
		<-time.After(2500 * time.Millisecond)
		w.put(line[len(line)/2:])
		w.put(w.info())
	}
}

// long writes long lines; the record after each must come whole.
func (w *world) long(trouble func()) {
	w.begin(60)
	w.open("app.log")
	for range 3 {
		for _, size := range []int{300_000, 2_000_000} {
			w.put(w.errorWith(strings.Repeat("long ", size/5)))
			trouble()
			w.some(3)
		}
	}
}

// whileDown rotates while the sidecar is not there, and goes on writing.
func (w *world) whileDown(end func()) {
	w.begin(400)
	w.open("app.log")
	for range 3 {
		w.some(30)
		end()
		w.some(10)
		rename(9)(w)
		w.rotations++
		w.some(10)
		w.up()
	}
}

// cutOff is the same with nobody to send to from the beginning on.
func (w *world) cutOff(end func()) {
	w.flags = []string{"--drain", "2s"}
	w.begin(400)
	w.cloudDown()
	w.open("app.log")
	for range 2 {
		w.some(30)
		end()
		w.some(10)
		rename(9)(w)
		w.rotations++
		w.some(10)
		w.up()
	}
}

// deletedUnread deletes the log while the sidecar is not there. What was written to it after the last reading is nowhere: that
// is counted, and named in a log line.
func (w *world) deletedUnread(end func()) {
	w.begin(200)
	w.open("app.log")
	for range 3 {
		w.some(10)
		w.arrived()
		end()
		w.unread10()
		w.must(os.Remove(w.path))
		w.open("app.log")
		w.rotations++
		w.some(10)
		w.up()
		w.counted("deleted")
	}
}

// truncatedUnread truncates the log before anyone can have read it, and makes no copy: the same.
func (w *world) truncatedUnread() {
	w.begin(200)
	w.open("app.log")
	w.some(10)
	w.arrived()
	w.must(w.sidecar.Process.Signal(syscall.SIGSTOP))
	w.unread10()
	w.must(os.Truncate(w.path, 0))
	w.size = 0
	w.rotations++
	w.some(5)
	w.must(w.sidecar.Process.Signal(syscall.SIGCONT))
	w.counted("truncated")
}

// unread10 writes errors of which nobody can know.
func (w *world) unread10() {
	before := maps.Clone(w.written)
	w.some(10)
	w.written = before
}

// counted waits until the sidecar has counted a file whose end it could not read, and expects that it names it.
func (w *world) counted(reason string) {
	w.t.Helper()
	stage.Await(w.t, "the loss to be counted", func() bool { return w.stage.Metric("sidecar_tail_lost_files_total", reason) == 1 })
	if out := w.sidecar.Output(); !strings.Contains(out, "cannot be read any more") || !strings.Contains(out, w.path) {
		w.t.Errorf("nobody said what was lost:\n%s", out)
	}
}

// endless leaves the last line of each file without its end: the app was stopped in the middle.
func (w *world) endless() {
	w.begin(50)
	w.open("app.log")
	for range 3 {
		w.some(10)
		w.put(strings.TrimSuffix(w.error(), "\n"))
		rename(5)(w)
		w.rotations++
	}
	w.put(strings.TrimSuffix(w.error(), "\n"))
}

// many writes to many files in turn.
func (w *world) many(files int) {
	w.begin(files * 3)
	for round := range 3 {
		for n := range files {
			w.open(fmt.Sprintf("app-%03d.log", n))
			w.some(1)
			w.file.Close()
			w.file = nil
		}
		if round < 2 {
			w.kill()
			w.launch()
		}
	}
}

// hang stops the stand-in where it is, as a network that swallows everything does, and lets it go on.
func (w *world) hang() {
	w.begin(200)
	w.open("app.log")
	w.some(20)
	w.must(w.cloud.Process.Signal(syscall.SIGSTOP))
	for range 30 {
		w.some(4)
		<-time.After(100 * time.Millisecond)
	}
	w.must(w.cloud.Process.Signal(syscall.SIGCONT))
	w.some(20)
}
