package tail

import (
	"fmt"
	"os"
	"path/filepath"

	"go.uber.org/zap"
)

const (
	// keptHead and keptTail are what is left of a file at its two ends, so that it is known again.
	keptHead = 4 << 10
	keptTail = 64 << 10
)

// bound looks whether a directory's logs take more room than Config.Bound, and frees what is decided of them where
// Config.Free says so, in the oldest first. It makes a hole in the file and does not truncate it: what the app writes
// meanwhile is never cut off, and nothing moves to another offset.
func (t *Tailer) bound() {
	if t.config.Bound == 0 {
		return
	}
	used := map[string]int64{}
	for _, f := range t.files {
		if !f.spooled && !f.gone {
			used[filepath.Dir(f.Path)] += f.used
		}
	}
	for _, f := range t.files {
		dir := filepath.Dir(f.Path)
		if over := used[dir] - t.config.Bound; over > 0 && t.config.Free && !f.spooled && !f.gone {
			used[dir] -= t.free(f)
		}
	}
	for dir, n := range used {
		about := "the room of " + dir
		if n <= t.config.Bound {
			t.over(about)
			continue
		}
		if _, ok := t.said[about]; !ok {
			t.said[about] = ""
			t.log.Warn("the logs take more room than --logs-room allows; nobody rotates or removes them",
				zap.String("path", dir), zap.Int64("bytes", n), zap.Int64("allowed", t.config.Bound))
		}
	}
}

// free gives back the room of what is decided of f, and says how much that is. It waits until it is worth the while, and until
// the checkpoint says that these bytes are decided and does not know the file by them any more: a life that is killed right
// after would else leave a file that the next one takes for another.
func (t *Tailer) free(f *File) int64 {
	if f.hole == 0 {
		end, held := f.undecided()
		if len(held) > 0 {
			end = min(end, held[0].from)
		}
		f.hole = max(0, (end-keptTail)&^(keptHead-1))
	}
	room := f.used - (f.size - f.hole) - keptHead
	switch {
	case room < min(1<<20, t.config.Bound/4):
		f.hole = 0
		return 0
	case f.kept != f.hole && t.config.Checkpoint != "":
		f.marks = f.marks.without(keptHead, f.hole)
		t.touch()
		return room
	}
	end := f.hole
	f.hole = 0
	n, err := punch(f, keptHead, end)
	if err != nil {
		t.say(f.name, fmt.Errorf("give back the room of what is decided: %w", err))
		return 0
	}
	t.over(f.name)
	f.used -= n
	f.marks = f.marks.without(keptHead, end)
	t.metrics.freed.Add(float64(n))
	t.log.Info("the room of what is decided of a log file was given back", zap.String("path", f.name), zap.Int64("bytes", n))
	t.touch()
	return n
}

// punch gives back the room of a part of f, and says how much it was.
func punch(f *File, from, to int64) (int64, error) {
	file, err := os.OpenFile(f.name, os.O_WRONLY, 0)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	before, err := fstat(file)
	if err != nil || before.key != f.key || before.size < to { // it is another file by now
		return 0, err
	}
	if err := punchHole(file, from, to-from); err != nil {
		return 0, err
	}
	after, err := fstat(file)
	return max(0, before.used-after.used), err
}
