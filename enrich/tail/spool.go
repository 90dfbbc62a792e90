package tail

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What a stream gives is written to a file before anything else is done with it, and read from there as any log is: then
// all that holds for files, holds for streams. The bytes go from the pipe to the file within the kernel, so that there is
// no moment at which a kill could take them along.
const (
	// segment is how large such a file gets before the next one begins. Its room on the disk is reserved when it is made.
	segment = 4 << 20
	// maxSpool is the most that a stream's files may hold; beyond, the stream waits, and its writer with it.
	maxSpool = 64 << 20
)

// A spool is the files of one stream: DIR/NAME.1, DIR/NAME.2, ... Only the newest is written to.
type spool struct {
	t    *Tailer
	base string // DIR/NAME
	file *os.File
	size int64
}

// openSpool gives the spool of a stream, or nil where none is kept.
func (t *Tailer) openSpool(path string) *spool {
	if t.config.Spool == "" {
		return nil
	}
	return &spool{t: t, base: filepath.Join(t.config.Spool, url.PathEscape(path))}
}

// take moves what stands in src to the spool, waiting for it. Of what the spool cannot take nothing is read.
func (s *spool) take(src *os.File) (n int, err error) {
	if s.file == nil || s.full() {
		if err := s.next(); err != nil {
			return 0, spoolError{err}
		}
	}
	n, err = move(s.file, src)
	s.added(n)
	return n, err
}

// put adds what was read of a stream already, and says how much of it.
func (s *spool) put(p []byte) (n int, err error) {
	if s.file == nil || s.full() {
		if err := s.next(); err != nil {
			return 0, spoolError{err}
		}
	}
	n, err = s.file.Write(p)
	s.added(n)
	if err != nil {
		return n, spoolError{err}
	}
	return n, nil
}

// added says that the newest file has n more bytes.
func (s *spool) added(n int) {
	if n > 0 {
		s.size += int64(n)
		s.t.written(s.file.Name(), time.Now())
		s.t.ring()
	}
}

// A spoolError is one of the spool, and not of the stream.
type spoolError struct{ error }

// full says whether the next file is to begin. A line is in one file, unless there is no end of it.
func (s *spool) full() bool {
	var p [1]byte
	if s.size < segment {
		return false
	}
	n, _ := s.file.ReadAt(p[:], s.size-1)
	return n == 1 && p[0] == '\n' || s.size >= 2*segment
}

// next goes on in the newest file, or begins one.
func (s *spool) next() error {
	if err := os.MkdirAll(filepath.Dir(s.base), 0o700); err != nil {
		return err
	}
	var n int
	for _, path := range spooled(filepath.Dir(s.base)) {
		if base, k, ok := parseSpooled(path); ok && base == s.base {
			n = max(n, k)
		}
	}
	if s.file != nil || n == 0 {
		n++
	}
	file, err := os.OpenFile(fmt.Sprintf("%s.%d", s.base, n), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	size, err := file.Seek(0, 2)
	if err == nil && size < segment {
		err = reserve(file, segment)
	}
	if err != nil {
		file.Close()
		return err
	}
	s.close()
	s.file, s.size = file, size
	s.t.look(time.Now())
	return nil
}

func (s *spool) close() {
	if s != nil && s.file != nil {
		s.file.Close()
		s.file = nil
	}
}

// spooled gives the paths of all streams' files, oldest first.
func spooled(dir string) []string {
	names, _ := readNames(dir)
	var paths []string
	for _, name := range names {
		if path := filepath.Join(dir, name); isSpooled(path) {
			paths = append(paths, path)
		}
	}
	slices.SortFunc(paths, func(a, b string) int {
		_, n, _ := parseSpooled(a)
		_, m, _ := parseSpooled(b)
		return n - m
	})
	return paths
}

func isSpooled(path string) bool {
	_, _, ok := parseSpooled(path)
	return ok
}

// parseSpooled tells a stream from the path of one of its files.
func parseSpooled(path string) (base string, n int, ok bool) {
	ext := filepath.Ext(path)
	n, err := strconv.Atoi(strings.TrimPrefix(ext, "."))
	return strings.TrimSuffix(path, ext), n, err == nil && n > 0
}

// lookAtSpool finds the files of streams. All but the newest of each are complete.
func (t *Tailer) lookAtSpool(here map[*File]bool, now time.Time) {
	if t.config.Spool == "" {
		return
	}
	newest := map[string]*File{}
	for _, path := range spooled(t.config.Spool) {
		i, err := stat(path)
		if err != nil || !i.regular {
			continue
		}
		base, _, _ := parseSpooled(path)
		f := t.byKey[i.key]
		if f == nil {
			if f = t.meetSpooled(base, entry{path: path, info: i}); f == nil {
				continue
			}
		}
		f.spooled, here[f] = true, true
		f.seen(entry{path: path, info: i})
		if before := newest[base]; before != nil && before.away.IsZero() {
			before.away, before.dirty = now, true
		}
		newest[base] = f
	}
}

func (t *Tailer) meetSpooled(base string, e entry) *File {
	stream, err := url.PathUnescape(filepath.Base(base))
	if err != nil {
		return nil
	}
	src, err := os.Open(e.path)
	if err != nil {
		t.say(e.path, err)
		return nil
	}
	t.over(e.path)
	return t.begin(stream, e, src, 0)
}

// sweepSpool removes the files of streams that are decided, once the checkpoint says so.
func (t *Tailer) sweepSpool() {
	done := t.decidedSpool()
	if len(done) == 0 || !t.trySave() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range done {
		if err := os.Remove(f.name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.say(f.name, err)
			continue
		}
		t.forget(f)
	}
}

func (t *Tailer) decidedSpool() (done []*File) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range t.files {
		if f.spooled && f.ended && !f.away.IsZero() && !f.isHeld() {
			done = append(done, f)
		}
	}
	return done
}

// await waits while the files hold too much.
func (s *spool) await(ctx context.Context) {
	for s.undecided() > maxSpool && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(pollBusy):
		}
	}
}

func (s *spool) undecided() (n int64) {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	for _, f := range s.t.files {
		if base, _, _ := parseSpooled(f.name); f.spooled && base == s.base {
			position, _ := f.undecided()
			n += f.length() - position
		}
	}
	return n
}
