package tail

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/google/renameio/v2"
	"go.uber.org/zap"
)

// version is that of the checkpoint's form.
const version = 1

// A checkpoint is what a next life needs to know. It is kept as one JSON object, one file a line:
//
//	{"version":1,"looked":1764000000000000000,"files":[
//	{"id":"...","path":"/logs/app.log","position":1204,"held":[[100,180]],"marks":[{"at":256,"sum":1},...],...}
//	],"check":123}
type checkpoint struct {
	Version int             `json:"version"`
	Looked  int64           `json:"looked"` // when the directories were last looked at: what was born later is new
	Files   json.RawMessage `json:"files"`
	Check   uint32          `json:"check"` // CRC-32C of the bytes of Files
}

// A saved is one file in the checkpoint.
type saved struct {
	ID       string     `json:"id"`
	Path     string     `json:"path"`
	Name     string     `json:"now,omitempty"` // where it was last seen, if elsewhere
	Dev      uint64     `json:"dev"`
	Inode    uint64     `json:"inode"`
	Born     int64      `json:"born,omitempty"`
	Position int64      `json:"position"`       // the lowest undecided byte outside Held
	Held     [][2]int64 `json:"held,omitempty"` // undecided records below Position: from, to
	Size     int64      `json:"size"`
	Marks    marks      `json:"marks,omitempty"`
	Skipping bool       `json:"skipping,omitempty"`
	Away     bool       `json:"away,omitempty"`
	Ended    bool       `json:"ended,omitempty"`
	Unsure   bool       `json:"unsure,omitempty"`
	Cuts     int        `json:"cuts,omitempty"`
	Note     []byte     `json:"note,omitempty"`
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encode gives the checkpoint's bytes.
func encode(looked int64, files []saved) ([]byte, error) {
	list := []byte("[")
	for i, f := range files {
		line, err := json.Marshal(f)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			list = append(list, ',')
		}
		list = append(append(list, '\n'), line...)
	}
	list = append(list, "\n]"...)
	return fmt.Appendf(nil, "{\"version\":%d,\"looked\":%d,\"files\":%s,\"check\":%d}\n",
		version, looked, list, crc32.Checksum(list, castagnoli)), nil
}

// decode reads a checkpoint and makes sure that it is whole.
func decode(p []byte) (looked int64, files []saved, err error) {
	var c checkpoint
	if err := json.Unmarshal(p, &c); err != nil {
		return 0, nil, fmt.Errorf("the checkpoint is damaged: %w", err)
	}
	if c.Version != version {
		return 0, nil, fmt.Errorf("the checkpoint has version %d, this program reads version %d", c.Version, version)
	}
	if crc32.Checksum(c.Files, castagnoli) != c.Check {
		return 0, nil, errors.New("the checkpoint is damaged: its checksum does not fit")
	}
	if err := json.Unmarshal(c.Files, &files); err != nil {
		return 0, nil, fmt.Errorf("the checkpoint is damaged: %w", err)
	}
	for _, f := range files {
		if err := f.valid(); err != nil {
			return 0, nil, err
		}
	}
	return c.Looked, files, nil
}

func (s saved) valid() error {
	bad := s.ID == "" || s.Position < 0 || len(s.Note) > NoteSize
	for i, m := range s.Marks {
		bad = bad || m.At <= 0 || i > 0 && m.At <= s.Marks[i-1].At
	}
	for _, h := range s.Held {
		bad = bad || h[0] < 0 || h[1] <= h[0] || h[1] > s.Position
	}
	if bad {
		return fmt.Errorf("the checkpoint is damaged: the entry of %q makes no sense", s.Path)
	}
	return nil
}

// previous is the checkpoint before the one at path.
func previous(path string) string { return path + ".previous" }

// load reads the checkpoint, or else the one before it. ok is false where there is none of use.
func (t *Tailer) load() (looked int64, files []saved, ok bool) {
	for _, path := range []string{t.config.Checkpoint, previous(t.config.Checkpoint)} {
		p, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			looked, files, err = decode(p)
		}
		if err == nil {
			return looked, files, true
		}
		t.log.Error("the checkpoint cannot be used; the one before it is tried, and what came since then is read again",
			zap.String("path", path), zap.Error(err))
		os.Rename(path, path+".damaged") // it must not take the place of the one before it
	}
	return 0, nil, false
}

// restore takes up what the checkpoint says. The files are looked for when reading begins.
func (t *Tailer) restore() error {
	if t.config.Checkpoint == "" {
		t.first = true
		return nil
	}
	looked, files, ok := t.load()
	t.first = !ok
	if ok {
		t.looked, t.known = time.Unix(0, looked), looked
	}
	t.kept = kept{}
	for _, s := range files {
		t.adopt(s)
		t.kept[s.ID] = s
	}
	return t.sweep()
}

// sweep removes what writings of the checkpoint have left behind that a crash has ended.
func (t *Tailer) sweep() error {
	dir, base := filepath.Split(t.config.Checkpoint)
	left, err := filepath.Glob(filepath.Join(dir, "."+base+"[0-9]*"))
	for _, path := range left {
		os.Remove(path)
	}
	return err
}

func (t *Tailer) adopt(s saved) {
	f := t.newFile(s.Path)
	f.ID, f.name, f.note = s.ID, s.Name, s.Note
	if f.name == "" {
		f.name = s.Path
	}
	f.key = key{dev: s.Dev, ino: s.Inode, born: s.Born}
	f.read, f.decided, f.marks, f.size = s.Position, s.Position, s.Marks, s.Size
	f.known = max(s.Position, s.Size)
	f.unsure, f.wasAway, f.cuts = s.Unsure, s.Away, s.Cuts
	f.skipping, f.ended, f.asleep, f.verified = s.Skipping, s.Ended, s.Ended, t.known
	for _, h := range s.Held {
		f.again = append(f.again, span{h[0], h[1]})
	}
	t.files = append(t.files, f)
	t.byKey[f.key] = f
}

// Checkpoint writes what is decided now, durably: when it returns nil, nothing of it is read again.
func (t *Tailer) Checkpoint() error {
	if t.config.Checkpoint == "" {
		return nil
	}
	t.saving.Lock()
	defer t.saving.Unlock()
	p, files, err := t.snapshot()
	if err == nil && bytes.Equal(p, t.saved) {
		return nil
	}
	if err == nil {
		err = keep(t.config.Checkpoint, p)
	}
	if err != nil {
		t.metrics.unsaved.Inc()
		return fmt.Errorf("write the checkpoint of the logs: %w", err)
	}
	t.saved = p
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range t.files {
		f.kept = f.offered
	}
	t.keptBefore, t.kept = t.kept, files
	return nil
}

// keep replaces the file at path, and keeps the one that was there. At every moment one of the two is whole.
func keep(path string, p []byte) error {
	spare := previous(path) + ".new"
	os.Remove(spare)
	err := os.Link(path, spare)
	if err == nil {
		err = os.Rename(spare, previous(path))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	if err := renameio.WriteFile(path, p, 0o600, renameio.WithTempDir(filepath.Dir(path))); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes a renaming durable, where the file system can.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}

// snapshot is the checkpoint as of now.
func (t *Tailer) snapshot() ([]byte, kept, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	files, byID := make([]saved, 0, len(t.files)), kept{}
	for _, f := range t.files {
		s := f.saved()
		files, byID[s.ID] = append(files, s), s
		f.offered = f.hole
	}
	p, err := encode(t.known, files)
	return p, byID, err
}

func (f *File) saved() saved {
	position, held := f.undecided()
	s := saved{
		ID: f.ID, Path: f.Path, Dev: f.key.dev, Inode: f.key.ino, Born: f.key.born,
		Position: position, Size: f.size, Marks: f.marks, Away: !f.away.IsZero(), Ended: f.ended, Unsure: f.unsure, Cuts: f.cuts, Note: f.Note(),
	}
	s.Skipping = f.skipping && position == f.read
	if f.name != f.Path {
		s.Name = f.name
	}
	for _, h := range held {
		s.Held = append(s.Held, [2]int64{h.from, h.to})
	}
	return s
}

// save writes the checkpoint when it is out of date, and at most every second: writing it costs a flush of the disk.
func (t *Tailer) save(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.changed:
		}
		if !t.trySave() {
			t.touch()
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(saveEvery):
		}
	}
}

// trySave writes the checkpoint, and says where it cannot be written.
func (t *Tailer) trySave() (ok bool) {
	err := t.Checkpoint()
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.say(t.config.Checkpoint, err)
		return false
	}
	t.over(t.config.Checkpoint)
	return true
}
