//go:build e2e

package torture

import (
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/openreplay/log-sidecar/e2e/stage"
)

// A way is how a log is rotated. Each rotation calls between in its middle.
type way struct {
	name   string
	glob   string
	rotate func(w *world)
	keeps  int // rotations after which content is gone for good, or compressed
}

var ways = []way{
	{"rename, keep 3", "", rename(3), 3},
	{"rename, all of them matched", "*", rename(3), 3},
	{"rename, the second one gzipped", "", renameGzip, 2},
	{"logrotate, create", "", logrotate("create\ncompress\ndelaycompress"), 2},
	{"logrotate, copytruncate", "", logrotate("copytruncate"), 5},
	{"copytruncate", "app.log*", copyTruncate, 3},
	{"dated names", "app.*.log", dated, 1000},
	{"symlink current", "current", symlink, 1000},
}

func (w *world) at(format string, args ...any) string {
	return filepath.Join(w.stage.Logs, fmt.Sprintf(format, args...))
}

// must fails the row, except where the file was not there yet.
func (w *world) must(err error) {
	w.t.Helper()
	if err != nil && !os.IsNotExist(err) {
		w.t.Fatal(err)
	}
}

func rename(keep int) func(w *world) {
	return func(w *world) {
		for n := keep - 1; n > 0; n-- {
			w.must(os.Rename(w.at("app.log.%d", n), w.at("app.log.%d", n+1)))
		}
		w.must(os.Rename(w.path, w.at("app.log.1")))
		w.between()
		w.open("app.log")
	}
}

func renameGzip(w *world) {
	w.must(os.Rename(w.at("app.log.2.gz"), w.at("app.log.3.gz")))
	if _, err := os.Stat(w.at("app.log.1")); err == nil {
		w.gzip(w.at("app.log.1"), w.at("app.log.2.gz"))
	}
	w.must(os.Rename(w.path, w.at("app.log.1")))
	w.between()
	w.open("app.log")
}

func (w *world) gzip(from, to string) {
	w.t.Helper()
	in, err := os.Open(from)
	w.must(err)
	defer in.Close()
	out, err := os.Create(to)
	w.must(err)
	defer out.Close()
	packed := gzip.NewWriter(out)
	_, err = io.Copy(packed, in)
	w.must(err)
	w.must(packed.Close())
	w.must(os.Remove(from))
}

// logrotate runs Debian's. Without copytruncate the app learns of it late, as by a signal: it writes to the old file until then.
func logrotate(directives string) func(w *world) {
	return func(w *world) {
		config, state := filepath.Join(w.stage.Dir, "logrotate.conf"), filepath.Join(w.stage.Dir, "logrotate.state")
		text := fmt.Sprintf("%s {\nrotate 5\nmissingok\n%s\n}\n", w.path, directives)
		w.must(os.WriteFile(config, []byte(text), 0o644))
		out, err := exec.Command(stage.Need(w.t, "logrotate", "apt-get install logrotate"), "--force", "--state", state, config).CombinedOutput()
		if err != nil {
			w.t.Fatalf("logrotate: %v\n%s", err, out)
		}
		w.between()
		if directives != "copytruncate" {
			w.some(1)
		}
		w.open("app.log")
	}
}

// copyTruncate is what a script does: cp, then truncate. The app keeps its file open all the time.
func copyTruncate(w *world) {
	w.must(os.Rename(w.at("app.log.2"), w.at("app.log.3")))
	w.must(os.Rename(w.at("app.log.1"), w.at("app.log.2")))
	content, err := os.ReadFile(w.path)
	w.must(err)
	w.must(os.WriteFile(w.at("app.log.1"), content, 0o644))
	w.between()
	w.must(os.Truncate(w.path, 0))
	w.size = 0
}

// betweenCopyAndTruncation has the app write when the copy is made already. That is in neither file afterwards: it arrives if it
// was read before the truncation, and what was in the copy does not come again for it.
func (w *world) betweenCopyAndTruncation(trouble func()) {
	w.begin(200)
	w.open("app.log")
	w.between = func() {
		w.some(3)
		w.arrived()
		trouble()
	}
	for range 4 {
		w.some(20)
		copyTruncate(w)
		w.rotations++
		w.some(5)
	}
}

// dated goes to a file of the next day.
func dated(w *world) {
	w.between()
	day := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, w.rotations+1)
	w.open(day.Format("app.2006-01-02.log"))
}

// symlink goes to a new file and then moves the link to it.
func symlink(w *world) {
	name := fmt.Sprintf("app-%05d.log", w.rotations+1)
	w.open(name)
	w.between()
	w.must(os.Symlink(name, w.at("next")))
	w.must(os.Rename(w.at("next"), w.at("current")))
}
