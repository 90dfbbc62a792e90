//go:build e2e

package torture

import (
	"fmt"
	"os"
	"time"
)

// full is the size at which the app rotates its log, in bytes.
const full = 1 << 20

// A trouble is what befalls the sidecar and the stand-in while a log is written and rotated.
type trouble struct {
	name     string
	kills    bool // SIGKILL at random moments; started again after up to 300 ms
	outage   bool // the stand-in is killed after a quarter of the lines and started after three quarters
	inRotate bool // SIGKILL in the middle of each rotation
}

var troubles = []trouble{
	{name: "none"},
	{name: "SIGKILL", kills: true},
	{name: "outage", outage: true},
	{name: "SIGKILL in an outage", kills: true, outage: true},
	{name: "SIGKILL in rotation", inRotate: true},
}

// steady writes lines at a rate, every errorsEach-th an error, and rotates whenever the file is full.
func (w *world) steady(way way, trouble trouble, rate, lines, errorsEach int) {
	w.begin(lines/errorsEach + 100)
	w.first(way)
	if trouble.inRotate {
		w.between = w.kill
	}
	const tick = 5 * time.Millisecond
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	burst := rate * int(tick) / int(time.Second)
	next := w.moment(rate)
	for n := 1; n <= lines; n++ {
		if n%burst == 0 {
			<-ticker.C
		}
		if n%errorsEach == 0 {
			w.put(w.error())
		} else {
			w.put(w.info())
		}
		if trouble.outage {
			w.outage(n, lines)
		}
		if trouble.kills && n >= next {
			next = n + w.strike(rate)
		}
		w.rotateWhenFull(way, trouble)
	}
}

// first makes the first file.
func (w *world) first(way way) {
	switch way.name {
	case "dated names":
		w.open("app.2026-01-01.log")
	case "symlink current":
		w.open("app-00000.log")
		w.must(os.Symlink("app-00000.log", w.at("current")))
	default:
		w.open("app.log")
	}
}

// moment is a number of lines up to a second of them.
func (w *world) moment(rate int) int { return rate/10 + w.rand.IntN(rate) }

// strike kills the sidecar, or starts it again where it is down, and says after how many lines comes the next.
func (w *world) strike(rate int) int {
	if w.sidecar == nil {
		w.launch()
		return w.moment(rate)
	}
	w.kill()
	return w.rand.IntN(rate * 3 / 10)
}

func (w *world) outage(line, lines int) {
	switch line {
	case lines / 4:
		w.cloudDown()
	case lines * 3 / 4:
		w.cloudUp()
	}
}

// rotateWhenFull rotates, but does not delete what a sidecar that was killed has not read: nobody could find it again. One
// that was not killed holds its files open, and must find it all the same.
func (w *world) rotateWhenFull(way way, trouble trouble) {
	if w.size < full {
		return
	}
	if (trouble.kills || trouble.inRotate) && w.unread >= way.keeps-1 {
		if w.size%(64<<10) > 200 || !w.caughtUp() {
			return
		}
		w.unread = 0
	}
	w.unread++
	way.rotate(w)
	w.rotations++
	if trouble.inRotate {
		w.launch()
	}
}

// caughtUp says whether the last error that was written has arrived.
func (w *world) caughtUp() bool {
	return w.cloud != nil && len(w.stage.Entries(fmt.Sprintf("labels.requestId=%q", w.last))) > 0
}
