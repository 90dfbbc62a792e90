package tail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"
)

// lastDrop is how long a stream is listened to after the stop.
const lastDrop = 50 * time.Millisecond

// streams are the pipes and the standard input. Each has a goroutine, since reading them waits; their blocks are handed out
// by Run's goroutine as all others are.
//
// A pipe is opened for reading and writing: so the opening waits for nobody, and writers that come and go neither end the
// stream nor are ended by it. What stands in a pipe while no sidecar runs is the system's to keep. While handle waits the
// pipe fills up, and then its writer waits too: whoever handles a Stream had better not wait long.
type streams struct {
	t       *Tailer
	helpers sync.WaitGroup // all goroutines of Run
	readers sync.WaitGroup
	pieces  chan piece
	quit    chan struct{} // closed when nobody takes pieces any more
	begun   bool
	pipes   map[key]context.CancelFunc
}

// A piece is a block that its reader wants back.
type piece struct {
	*Block
	done chan<- struct{}
}

func (p piece) hand(handle func(*Block) error) error {
	defer func() { p.done <- struct{}{} }()
	err := handle(p.Block)
	p.File.t.metrics.read.Add(float64(len(p.Data)))
	return err
}

func newStreams(t *Tailer) *streams {
	return &streams{t: t, pieces: make(chan piece), quit: make(chan struct{}), pipes: map[key]context.CancelFunc{}}
}

// wait waits for all goroutines of Run.
func (s *streams) wait() {
	close(s.quit)
	s.helpers.Wait()
	s.readers.Wait()
}

// drain hands out what the streams still give after the stop.
func (s *streams) drain(handle func(*Block) error) error {
	done := make(chan struct{})
	go func() {
		s.helpers.Wait()
		s.readers.Wait()
		close(done)
	}()
	for {
		select {
		case p := <-s.pieces:
			if err := p.hand(handle); err != nil {
				return err
			}
		case <-done:
			return nil
		}
	}
}

// open begins to read the streams that the last look found. Only watch calls it.
func (s *streams) open(ctx context.Context) {
	s.t.sweepSpool()
	s.t.mu.Lock()
	pipes := append([]entry(nil), s.t.pipes...)
	s.t.mu.Unlock()
	if !s.begun {
		s.begun = true
		for _, g := range s.t.config.Globs {
			if g == Standard {
				s.read(ctx, Standard, unblock(s.t.config.stdin))
			}
		}
	}
	present := map[key]bool{}
	for _, e := range pipes {
		present[e.key] = true
		if s.pipes[e.key] == nil {
			s.openPipe(ctx, e)
		}
	}
	for k, stop := range s.pipes {
		if !present[k] {
			stop()
			delete(s.pipes, k)
		}
	}
}

func (s *streams) openPipe(ctx context.Context, e entry) {
	src, err := os.OpenFile(e.path, os.O_RDWR|syscall.O_NONBLOCK, 0)
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	if err != nil {
		s.t.say(e.path, err)
		return
	}
	s.t.over(e.path)
	ctx, stop := context.WithCancel(ctx)
	s.pipes[e.key] = stop
	s.read(ctx, e.path, src)
}

// unblock gives a reader of the same stream whose reading can be ended. Where the system has none, an end of the program
// is what ends it.
func unblock(f *os.File) *os.File {
	if f.SetReadDeadline(time.Time{}) == nil {
		return f
	}
	if again, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), os.O_RDONLY|syscall.O_NONBLOCK, 0); err == nil {
		return again
	}
	return f
}

// read begins to read a stream.
func (s *streams) read(ctx context.Context, path string, src *os.File) {
	s.t.log.Info("a stream is followed", zap.String("path", path))
	f := s.t.newFile(path)
	f.Stream = true
	r := &reader{s: s, f: f, src: src, spool: s.t.openSpool(path), done: make(chan struct{})}
	s.readers.Go(func() {
		defer src.Close()
		defer r.spool.close()
		stop := context.AfterFunc(ctx, func() { src.SetReadDeadline(time.Now().Add(lastDrop)) })
		defer stop()
		if err := r.run(ctx); err != nil && !errors.Is(err, io.EOF) {
			s.t.log.Error("a stream cannot be read any more", zap.String("path", path), zap.Error(err))
		}
	})
}

// A reader reads one stream.
type reader struct {
	s        *streams
	f        *File
	src      *os.File
	spool    *spool // nil: none
	buf      []byte // what was read and not handed out
	offset   int64  // of buf in the stream
	since    time.Time
	skipping bool
	done     chan struct{}
}

var errQuit = errors.New("nobody reads any more")

// run reads until the end of the stream, or a moment after ctx is done.
func (r *reader) run(ctx context.Context) error {
	for {
		if ctx.Err() == nil {
			r.src.SetReadDeadline(r.deadline())
			if ctx.Err() != nil { // it was done just before: its deadline holds
				r.src.SetReadDeadline(time.Now().Add(lastDrop))
			}
		}
		err := r.next(ctx)
		if err == errQuit {
			return err
		}
		switch {
		case err == nil:
		case !errors.Is(err, os.ErrDeadlineExceeded):
			r.rest(true)
			return err
		case ctx.Err() != nil:
			return r.rest(true)
		default:
			if err := r.rest(false); err != nil {
				return err
			}
		}
	}
}

// next takes what stands in the stream, to the spool or else to whoever handles it.
func (r *reader) next(ctx context.Context) error {
	spooling := r.spool != nil && len(r.buf) == 0 && !r.skipping // between two lines
	if spooling {
		r.spool.await(ctx)
		_, err := r.spool.take(r.src)
		if !errors.Is(err, errors.ErrUnsupported) && !r.s.spoolFails(r.spool, err) {
			return err
		}
		spooling = errors.Is(err, errors.ErrUnsupported)
	}
	n, err := r.src.Read(r.space())
	r.buf = r.buf[:len(r.buf)+n]
	if spooling && n > 0 {
		kept, failed := r.spool.put(r.buf)
		r.drop(kept)
		r.s.spoolFails(r.spool, failed)
	}
	if e := r.give(); e != nil {
		return e
	}
	return err
}

// spoolFails says whether it was the spool that failed, and to the operator too.
func (s *streams) spoolFails(p *spool, err error) bool {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	var failed spoolError
	if errors.As(err, &failed) {
		s.t.say(p.base, fmt.Errorf("what the stream gives is not kept, and a crash takes it along: %w", failed.error))
		return true
	}
	s.t.over(p.base)
	return false
}

// deadline is when a line without an end is given out; never while there is none.
func (r *reader) deadline() time.Time {
	if len(r.buf) == 0 {
		return time.Time{}
	}
	return r.since.Add(halfLine)
}

// space is where to read to.
func (r *reader) space() []byte {
	if len(r.buf) == cap(r.buf) {
		next := make([]byte, len(r.buf), min(max(2*cap(r.buf), smallRead), max(r.s.t.config.block, len(r.buf)+1)))
		copy(next, r.buf)
		r.buf = next
	}
	return r.buf[len(r.buf):cap(r.buf)]
}

// give hands out the whole lines, and the beginning of a line that is too long.
func (r *reader) give() error {
	if r.skipping {
		r.skip()
	}
	r.since = time.Now()
	end := bytes.LastIndexByte(r.buf, '\n') + 1
	if end > 0 {
		return r.send(&Block{Data: r.buf[:end]})
	}
	if len(r.buf) >= r.s.t.config.block {
		r.skipping = true
		return r.send(&Block{Data: r.buf, Partial: true, Cut: true})
	}
	return nil
}

// skip drops the rest of a line that was too long.
func (r *reader) skip() {
	n := bytes.IndexByte(r.buf, '\n') + 1
	if r.skipping = n == 0; r.skipping {
		n = len(r.buf)
	}
	r.s.t.metrics.lost.WithLabelValues(lostLongLine).Add(float64(n))
	r.drop(n)
}

// rest hands out a line that has no end.
func (r *reader) rest(last bool) error {
	if len(r.buf) == 0 && !last {
		return nil
	}
	return r.send(&Block{Data: r.buf, Partial: len(r.buf) > 0, Last: last})
}

func (r *reader) send(b *Block) error {
	b.File, b.Offset, b.Arrived = r.f, r.offset, time.Now()
	select {
	case r.s.pieces <- piece{b, r.done}:
		<-r.done
	case <-r.s.quit:
		return errQuit
	}
	r.drop(len(b.Data))
	return nil
}

func (r *reader) drop(n int) {
	r.buf = r.buf[:copy(r.buf, r.buf[n:])]
	r.offset += int64(n)
}
