// Package tail turns log files that others write, rotate and truncate into one resumable stream of blocks.
//
// # What is promised
//
// Every byte that a process writes to a matched file is handed out once, in the file's order, as long as it can still be
// read somewhere: in the file, in the file after it was renamed, or in the copy that was made before it was truncated.
// What cannot be read any more is counted and named. After a crash, what was not decided at the last checkpoint comes
// again; what was decided then does not.
//
// # What is not
//
// A file that is created and deleted between two looks (some 20 ms with inotify, a second without) was never seen. A file
// that is overwritten in place with the bytes that stood there before is not seen to have changed. What a plain truncation
// cuts off before it was read is lost for everyone.
package tail

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// From says where a file is begun that no checkpoint knows.
type From int

const (
	// Auto begins files that are there at the first start at their end, and files that appear later at their beginning.
	Auto From = iota
	// Beginning reads every file from its first byte.
	Beginning
	// End begins every file at its end, except for one that takes the place of a file that was rotated away.
	End
)

// Standard is the glob that stands for standard input.
const Standard = "-"

const (
	// halfLine is how long a line without an end waits for it. Applications flush halves of lines seconds apart.
	halfLine = 5 * time.Second
	// quietRotated is how long a file that was rotated away must be silent before it counts as complete: some apps are
	// told of a rotation much later, and write to the old file until then.
	quietRotated = 30 * time.Second
	// quietDeleted is the same for a file that has no name any more. It is shorter since the open file keeps the disk full.
	quietDeleted = 5 * time.Second
	// manyOpen is how many files may be open however long they are silent, and longQuiet is when the others are closed.
	manyOpen  = 128
	longQuiet = 10 * time.Minute
	// saveEvery is the shortest time between two writes of the checkpoint.
	saveEvery = time.Second
)

// Config is what a Tailer needs.
type Config struct {
	// Globs name the files, in the syntax of path/filepath.Match. "-" is standard input.
	Globs []string
	// From says where a file is begun that no checkpoint knows.
	From From
	// Survey says where the files were begun when it began to matter, if no checkpoint does. nil: where they end when the
	// tailer looks first.
	Survey *Survey
	// Checkpoint is the path of the checkpoint; "" keeps none.
	Checkpoint string
	// Spool is a directory in which what streams give is kept until it is decided; "" keeps nothing: what was handed out
	// of a stream is then gone with a crash.
	Spool string
	// Bound is how much room the logs of a directory may take before that is said; 0: any. With Free, room is given back.
	Bound      int64
	Free       bool
	Log        *zap.Logger           // nil: silent
	Registerer prometheus.Registerer // nil: the counts are kept to ourselves

	block    int  // the longest line and block in bytes; 0: maxBlock
	noNotify bool // behave as on a file system without inotify
	stdin    *os.File
	wall     func() time.Time // the clock that stamps files; nil: the system's
	stamp    func(info) int64 // when a file came to be, by that clock; nil: as the system says
}

// A Tailer follows files. One that was stopped is not started again: make a new one, which begins where it ended.
type Tailer struct {
	config  Config
	log     *zap.Logger
	metrics *metrics
	first   bool // no checkpoint was found: nothing is known of any file
	started time.Time

	mu       sync.Mutex // guards what follows, and what File says that it guards
	files    []*File    // oldest first
	byKey    map[key]*File
	binary   map[key]bool        // files that are no logs
	pipes    []entry             // the pipes of the last look
	said     map[string]string   // problems that are not over, so that each is said once
	looked   time.Time           // when the last look began, by the clock that stamps files
	known    int64               // what came to be before this is known, or was there before us: nanoseconds since 1970
	listings map[string]*listing // the directories as the last look read them
	dirs     []string            // directories in which a change may concern us
	active   time.Time           // when something was read last
	busy     time.Time           // since when there was never long nothing to read
	alone    bool                // nobody hears of changes: whoever reads looks
	prompt   time.Time           // until then files are read as soon as they are written, where that is not often
	paced    time.Time           // until then that is too often
	hears    bool                // all changes are told of
	sights   map[string]sighting // the directories, as whoever reads has found them
	buf      []byte

	bell    chan struct{} // something may be there to read
	changed chan struct{} // the checkpoint on disk is out of date
	saving  sync.Mutex    // one writer of the checkpoint at a time
	saved   []byte

	kept, keptBefore kept // what the checkpoint on disk says, and the one before it; guarded by mu
}

// New gives a tailer that begins where the checkpoint says. A checkpoint that is damaged is replaced by the one before it;
// where that is no use either, the files begin as if there had been none, and the log says so.
func New(c Config) (*Tailer, error) {
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	if c.block == 0 {
		c.block = maxBlock
	}
	if c.stdin == nil {
		c.stdin = os.Stdin
	}
	if c.wall == nil {
		c.wall = time.Now
	}
	if c.stamp == nil {
		c.stamp = info.stamp
	}
	for _, g := range c.Globs {
		if err := checkGlob(g); err != nil {
			return nil, err
		}
	}
	t := &Tailer{
		config:   c,
		log:      c.Log,
		metrics:  newMetrics(c.Registerer),
		started:  c.wall(),
		byKey:    map[key]*File{},
		listings: map[string]*listing{},
		binary:   map[key]bool{},
		said:     map[string]string{},
		sights:   map[string]sighting{},
		bell:     make(chan struct{}, 1),
		changed:  make(chan struct{}, 1),
	}
	return t, t.restore()
}

// Run reads until ctx is done, and hands each block to handle: one at a time, from the goroutine that called Run. A block
// is decided once handle has returned nil, except for what it holds. While handle waits nothing is read, so that the
// pressure ends at the files; rotations are noticed all the same. When ctx is done the files are read once more to the
// end that they have then, and the checkpoint is written; where that fails it is counted and said, and does not fail Run.
// An error of handle ends Run and is returned as it is.
func (t *Tailer) Run(ctx context.Context, handle func(*Block) error) error {
	t.look(time.Now())
	t.trySave()
	err := t.follow(ctx, handle)
	if err == nil {
		err = t.finish(time.Now(), handle)
	}
	t.trySave()
	return err
}

// follow reads until ctx is done.
func (t *Tailer) follow(parent context.Context, handle func(*Block) error) (err error) {
	ctx, fail := context.WithCancelCause(parent)
	s := newStreams(t)
	defer s.wait()
	defer fail(nil)
	s.helpers.Go(func() { fail(guard(func() { t.watch(ctx, s) })) })
	s.helpers.Go(func() { fail(guard(func() { t.save(ctx) })) })
	for {
		busy, err := t.round(ctx, time.Now(), handle)
		switch {
		case err != nil:
			return err
		case ctx.Err() != nil && parent.Err() == nil:
			return context.Cause(ctx)
		case ctx.Err() != nil:
			return s.drain(handle)
		case busy:
			continue
		}
		var soon <-chan time.Time
		if now := time.Now(); t.isActive(now) && !t.isPrompt(now) || t.isAlone() {
			soon = time.After(pace)
		}
		select {
		case <-ctx.Done():
		case now := <-soon:
			t.stir(now)
		case p := <-s.pieces:
			if err := p.hand(handle); err != nil {
				return err
			}
		case <-t.bell:
		}
	}
}

// guard makes an error of a panic, so that it ends Run and not the program.
func guard(f func()) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("follow the logs: panic: %v\n%s", v, debug.Stack())
		}
	}()
	f()
	return context.Canceled
}

// isActive says whether something was read a moment ago.
func (t *Tailer) isActive(now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return now.Sub(t.active) < lively
}

// fewFiles are so few that to look at all of them costs less than to hear of them.
const fewFiles = 16

// isBusy says whether a file has been written all the time for a while, and there are few of them.
func (t *Tailer) isBusy(now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return now.Sub(t.active) < lively && now.Sub(t.busy) > time.Second && len(t.files) <= fewFiles && !t.isPromptNow(now)
}

// Prompt asks for blocks as soon as they are written, for ten minutes from now: when bytes arrive tells when they were written. Where
// that would be often they come at a pace all the same.
func (f *File) Prompt(now time.Time) {
	f.t.mu.Lock()
	defer f.t.mu.Unlock()
	f.t.prompt = now.Add(promptly)
}

// isPrompt says whether files are read as soon as they are written.
func (t *Tailer) isPrompt(now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.isPromptNow(now)
}

func (t *Tailer) isPromptNow(now time.Time) bool {
	return t.hears && now.Before(t.prompt) && !now.Before(t.paced)
}

// setPace has files read at a pace for a while, by whoever waited to hear of them.
func (t *Tailer) setPace(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.paced = now.Add(paced)
	t.ring()
}

func (t *Tailer) setHears(hears bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.hears = hears
}

func (t *Tailer) isAlone() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.alone
}

func (t *Tailer) leaveAlone(alone bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.alone = alone
}

// stir reads the files again that were written to a moment ago, without waiting to hear of it.
func (t *Tailer) stir(now time.Time) {
	if t.isAlone() && t.hasMoved(now) {
		t.look(now)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range t.files {
		if f.src == nil || f.dirty {
			continue
		}
		if f.dirty = now.Sub(f.came) < lively; t.alone && !f.dirty {
			if f.dirty = f.length() != f.size; !f.dirty {
				f.empty = now
			}
		}
	}
}

// hasMoved says whether the directories have to be looked at, as one is told where somebody hears of changes.
func (t *Tailer) hasMoved(now time.Time) (moved bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if moved = t.config.wall().Sub(t.looked) >= poll; moved {
		clear(t.sights) // of directories that are none of ours any more, too
	}
	for _, dir := range t.dirs {
		i, err := stat(dir)
		moved = moved || err != nil || !t.sights[dir].still(i)
		t.sights[dir] = sighting{i, now}
	}
	return moved
}

// wanted says whether there is something to read, something due, or memory to give back.
func (t *Tailer) wanted(now time.Time) bool {
	if len(t.waiting(now)) > 0 {
		return true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf != nil && now.Sub(t.active) > time.Second
}

// round gives every file that may have something one block, so that none starves, and says whether there may be more.
func (t *Tailer) round(ctx context.Context, now time.Time, handle func(*Block) error) (busy bool, err error) {
	for _, f := range t.waiting(now) {
		if ctx.Err() != nil {
			return false, nil
		}
		more, err := t.step(f, now, false, handle)
		if err != nil {
			return false, err
		}
		busy = busy || more
	}
	if !busy {
		t.rest(now)
	}
	return busy, nil
}

// waiting are the files that have something to read, or something due.
func (t *Tailer) waiting(now time.Time) []*File {
	t.mu.Lock()
	defer t.mu.Unlock()
	var files []*File
	for _, f := range t.files {
		if f.dirty || !f.due.IsZero() && !now.Before(f.due) {
			files = append(files, f)
		}
	}
	return files
}

// step reads one block of f and hands it out.
func (t *Tailer) step(f *File, now time.Time, final bool, handle func(*Block) error) (more bool, err error) {
	t.mu.Lock()
	b, again := t.next(f, now, final)
	for again && b == nil { // it was found to be cut off, which makes another file, or to have a hole
		more = true
		b, again = t.next(f, now, final)
	}
	if b == nil {
		t.mu.Unlock()
		return more, nil
	}
	f.ahead = max(f.read, b.next)
	t.mu.Unlock()
	t.keepID(f)
	err = handle(b)
	t.mu.Lock()
	defer t.mu.Unlock()
	f.ahead = 0
	if err == nil {
		f.handled(b)
		if now.Sub(t.active) > lively {
			t.busy = now
		}
		t.active = now
		t.touch()
	}
	return true, err
}

// keepID writes the checkpoint before the first block of a file is handed out: a life that is killed leaves word of every
// file that something was made of. It costs a write for each new file.
func (t *Tailer) keepID(f *File) {
	if !f.newborn {
		return
	}
	f.newborn = false
	t.trySave()
}

// finish reads every file to the end that it has now.
func (t *Tailer) finish(now time.Time, handle func(*Block) error) error {
	t.look(now)
	t.mu.Lock()
	for _, f := range t.files {
		f.dirty, f.limit = true, f.length()
	}
	t.mu.Unlock()
	for busy := true; busy; {
		busy = false
		for _, f := range t.waiting(now) {
			more, err := t.step(f, now, true, handle)
			if err != nil {
				return err
			}
			busy = busy || more
		}
	}
	return nil
}

// rest gives back the memory that reading took.
func (t *Tailer) rest(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Sub(t.active) > time.Second {
		t.buf = nil
		t.doze(now)
	}
}

// doze lets go of what is kept for files that nobody writes to; where there are many, of the files too.
func (t *Tailer) doze(now time.Time) {
	for _, f := range t.files {
		if now.Sub(f.came) > halfLine {
			f.recent, f.recentEnd = nil, 0
		}
		if len(t.files) > manyOpen && f.src != nil && !f.dirty && f.due.IsZero() && now.Sub(f.came) > longQuiet {
			f.close()
			f.asleep = true
		}
	}
}

// Close closes the files. Blocks, holds and the checkpoint outlive Run; after Close no file can be read.
func (t *Tailer) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range t.files {
		f.close()
	}
}

// ring says that there may be something to read.
func (t *Tailer) ring() { poke(t.bell) }

// touch says that the checkpoint on disk is out of date.
func (t *Tailer) touch() { poke(t.changed) }

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// say logs a problem once, until it changes or is over.
func (t *Tailer) say(about string, err error) {
	text := fmt.Sprint(err)
	if t.said[about] == text {
		return
	}
	t.said[about] = text
	t.log.Warn("this cannot be used for now; it is tried again every second", zap.String("path", about), zap.Error(err))
}

// over says that a problem is gone.
func (t *Tailer) over(about string) {
	if _, ok := t.said[about]; ok {
		delete(t.said, about)
		t.log.Info("this can be used again", zap.String("path", about))
	}
}
