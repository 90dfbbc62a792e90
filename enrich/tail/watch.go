package tail

import (
	"context"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
	"go.uber.org/zap"
	"golang.org/x/time/rate"
)

const (
	// pace is the time between two readings of a file that is written all the time. What costs is each wake-up, not the
	// reading.
	pace = 20 * time.Millisecond
	// often is how many readings a second, and oftenAtOnce how many at once, are too many for files that are to be read as soon as
	// they are written; for paced they are read at the pace then.
	often, oftenAtOnce = 100, 300
	paced              = 2 * time.Second
	// promptly is for how long Prompt asks.
	promptly = 10 * time.Minute
	// lively is how long a file is read at that pace after its last byte; then it is waited for again.
	lively = 100 * time.Millisecond
	// lull is how often it is asked whether files that were written all the time still are.
	lull = 250 * time.Millisecond
	// poll is how often the directories are looked at although nothing was heard of them.
	poll = time.Second
	// pollIdle is the same while nothing is read, for calm long.
	pollIdle = 2 * time.Second
	calm     = 10 * time.Second
	// pollBusy is the same without inotify, while something is being written.
	pollBusy = 100 * time.Millisecond
)

// A watcher hears of changes in directories, or polls where it cannot.
type watcher struct {
	t       *Tailer
	notify  *fsnotify.Watcher // nil: only polls
	watched map[string]key
	deaf    bool // some directory cannot be watched
	prompt  *rate.Limiter
	quiet   time.Time // events that wait are of after this moment
}

// watch looks and rings until ctx is done.
func (t *Tailer) watch(ctx context.Context, s *streams) {
	w := t.newWatcher()
	defer w.close()
	timer := time.NewTimer(poll)
	defer timer.Stop()
	moved := true
	var last, looked time.Time
	for {
		if w.away(ctx, s) {
			moved = true
		}
		if w.rest() || moved || time.Since(looked) >= poll {
			looked = time.Now()
			w.look()
			s.open(ctx)
		}
		last = time.Now()
		if t.wanted(last) {
			t.ring()
		}
		timer.Reset(w.interval())
		moved = false
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			w.quiet = time.Now()
			moved = true
			continue
		case e := <-w.events():
			w.quiet = time.Now()
			moved = w.heard(e)
		case err := <-w.errors():
			w.failed(err)
			moved = true
		}
		w.pause(ctx, last)
	}
}

// away stays away from the files as long as they are busy: of a file that is written all the time the kernel has something to
// say all the time, and to hear it costs more than to read what was written. Whoever reads looks meanwhile.
func (w *watcher) away(ctx context.Context, s *streams) (was bool) {
	for ctx.Err() == nil && w.hears() && w.t.isBusy(time.Now()) {
		if !was {
			was = true
			w.t.leaveAlone(true)
			w.forget()
		}
		select {
		case <-ctx.Done():
		case <-time.After(lull):
		}
		s.open(ctx)
	}
	if was {
		w.t.leaveAlone(false)
	}
	return was
}

// forget ends all watches.
func (w *watcher) forget() {
	for dir := range w.watched {
		w.notify.Remove(dir)
	}
	clear(w.watched)
}

// pause waits until pace has passed since the last time, so that events gather. While a file is being read at that pace
// anyway, only the others are waited for, and what is renamed.
func (w *watcher) pause(ctx context.Context, last time.Time) {
	t, now := w.t, time.Now()
	if t.isPrompt(now) {
		if w.prompt.AllowN(now, 1) {
			return
		}
		t.setPace(now)
	}
	wait := pace - now.Sub(last)
	if t.isActive(now) {
		wait += pace
	}
	if wait <= 0 {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(wait):
	}
}

// look looks, and again where it came upon directories that were not watched before: they may have changed meanwhile.
func (w *watcher) look() {
	for range 3 {
		w.t.look(time.Now())
		if !w.sync() {
			return
		}
	}
}

func (t *Tailer) newWatcher() *watcher {
	w := &watcher{t: t, watched: map[string]key{}, prompt: rate.NewLimiter(often, oftenAtOnce)}
	if t.config.noNotify {
		return w
	}
	n, err := fsnotify.NewWatcher() // without a buffer: the kernel folds equal events that nobody has taken yet
	if err != nil {
		w.failed(err)
		return w
	}
	w.notify = n
	return w
}

// hears says whether all changes are told of.
func (w *watcher) hears() bool { return w.notify != nil && !w.deaf }

func (w *watcher) close() {
	if w.notify != nil {
		w.notify.Close()
	}
}

func (w *watcher) events() <-chan fsnotify.Event {
	if w.notify == nil {
		return nil
	}
	return w.notify.Events
}

func (w *watcher) errors() <-chan error {
	if w.notify == nil {
		return nil
	}
	return w.notify.Errors
}

// failed says that events were lost, or will not come.
func (w *watcher) failed(err error) {
	w.t.metrics.overflow.Inc()
	w.t.log.Warn("file events are missing; the logs are polled, so that errors arrive up to a second later", zap.Error(err))
}

// mostEvents bounds how many are taken before the files are read.
const mostEvents = 8192

// rest takes the events that wait, and says whether one of them asks for a look. They are handed over one by one by a goroutine
// that reads them from the kernel, so that nothing waits only where that one, too, has had its turn.
func (w *watcher) rest() (moved bool) {
	for taken, turns := 0, 0; taken < mostEvents && turns < 3; {
		select {
		case e := <-w.events():
			moved = w.heard(e) || moved
			taken, turns = taken+1, 0
		default:
			turns++
			runtime.Gosched()
		}
	}
	return moved
}

// heard takes an event, and says whether it asks for a look: a file was made, removed or renamed, or may be read now.
func (w *watcher) heard(e fsnotify.Event) (moved bool) {
	if e.Op&^fsnotify.Write != 0 {
		return true
	}
	w.t.written(e.Name, w.quiet)
	return false
}

// written notes that a file was written to, after a moment.
func (t *Tailer) written(path string, after time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	path = filepath.Clean(path)
	for _, f := range t.files {
		if (f.name == path || f.real == path) && !f.dirty {
			f.dirty = true
			if after.After(f.empty) {
				f.empty = after
			}
		}
	}
}

// sync watches the directories of the last look, and says whether one of them is new.
func (w *watcher) sync() (more bool) {
	defer func() { w.t.setHears(w.hears()) }()
	if w.notify == nil {
		return false
	}
	w.t.mu.Lock()
	dirs := slices.Clone(w.t.dirs)
	w.t.mu.Unlock()
	w.deaf = false
	for _, dir := range dirs {
		more = w.add(dir) || more
	}
	for dir := range w.watched {
		if !slices.Contains(dirs, dir) {
			w.notify.Remove(dir)
			delete(w.watched, dir)
		}
	}
	return more
}

// add watches a directory, again if another one has its name now.
func (w *watcher) add(dir string) (added bool) {
	i, err := stat(dir)
	if err != nil || w.watched[dir] == i.key {
		return false
	}
	if _, ok := w.watched[dir]; ok {
		w.notify.Remove(dir)
	}
	err = w.notify.Add(dir)
	w.t.mu.Lock()
	defer w.t.mu.Unlock()
	if err != nil {
		w.deaf = true
		w.t.say(dir, err)
		return false
	}
	w.t.over(dir)
	w.watched[dir] = i.key
	return true
}

// interval is when to look next although nothing was heard.
func (w *watcher) interval() time.Duration {
	w.t.mu.Lock()
	defer w.t.mu.Unlock()
	silent := time.Since(w.t.active)
	switch hears := w.hears(); {
	case !hears && silent < 5*time.Second:
		return pollBusy
	case hears && silent > calm:
		return pollIdle
	}
	return poll
}
