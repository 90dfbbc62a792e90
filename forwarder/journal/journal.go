// Package journal keeps what is sealed on disk until it is acknowledged.
//
// The file is reserved whole when it is opened, so that a disk that fills up later cannot stop a delivery. It survives a
// SIGKILL at any moment; what the kernel had not written yet is lost with the node, as the log files themselves are.
package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// half is the size in bytes of each of the file's two halves. One is written from its beginning to its end, then the other.
const half = 2 << 20

// MaxBatch is the most bytes that the data of one batch may have: it must fit beside what a half starts with.
const MaxBatch = 1 << 20

// ErrFull says that so much was sealed since the last checkpoint of the log files that nothing more can be kept.
var ErrFull = errors.New("the journal is full: the checkpoint of the log files has not moved for too long; look for a full disk under --state")

// A Key names the bytes of a log file that an entry was made of.
type Key struct {
	File   string // the file generation's ID
	Offset int64
}

// A Sealed entry never changes again: the same bytes go out until they are acknowledged.
type Sealed struct {
	Key  Key
	Data []byte
}

// A Batch is what goes out in one request.
type Batch struct {
	Time    int64  // of sealing, Unix nanoseconds
	Sink    string // whose bytes these are
	Entries []Sealed
	Folded  []Key // bytes that are told of in another one's entry
}

// A Journal is one file, for one writer: but for Sealed, its methods are called by one goroutine.
type Journal struct {
	file    *os.File
	epoch   uint64 // of the half being written
	at      int64  // where in the file the next frame goes
	end     int64  // of the half being written
	waiting *Batch // appended, not acknowledged
	// sealed holds the keys that a checkpoint of the log files may not have passed yet. Those of the present half are
	// there for its length; when the halves change, only what the caller still wants is carried over.
	sealed map[Key]struct{}
	mu     sync.Mutex // guards sealed: who reads the files asks while a batch is appended
	last   int64      // the latest Batch.Time seen
	buf    []byte
}

var crcTable = crc32.MakeTable(crc32.Castagnoli)

// Frames: length uint32, CRC-32C uint32 over epoch, kind and payload; kind byte; payload.
const (
	frameHead = 4 + 4 + 1

	kindKeys  = 'k' // what the half starts with: the keys that are still wanted
	kindBatch = 'b'
	kindAck   = 'a'
)

// headSize is that of a half's header: magic, epoch, CRC-32C of both.
const headSize = 8 + 8 + 4

const magic = "ORSJRNL1"

// Open opens or makes the journal at path. What an earlier life sealed and did not get acknowledged is in Waiting.
// Anything that was not written whole counts as not written: it was never sent.
func Open(path string) (*Journal, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	j := &Journal{file: file, sealed: map[Key]struct{}{}}
	if err := j.open(); err != nil {
		file.Close()
		return nil, fmt.Errorf("open journal %s: %w", path, err)
	}
	return j, nil
}

func (j *Journal) open() error {
	if err := unix.Flock(int(j.file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return fmt.Errorf("another sidecar uses it (give each its own --state): %w", err)
	}
	if err := unix.Fallocate(int(j.file.Fd()), 0, 0, 2*half); err != nil && err != unix.EOPNOTSUPP {
		return fmt.Errorf("reserve %d MiB: %w", 2*half>>20, err)
	}
	newest := -1
	for side := range 2 {
		if epoch, ok := j.readHeader(side); ok && epoch > j.epoch {
			newest, j.epoch = side, epoch
		}
	}
	if newest < 0 {
		return j.begin(0, 1, nil)
	}
	j.at, j.end = int64(newest)*half+headSize, int64(newest+1)*half
	for j.replay() {
	}
	return nil
}

func (j *Journal) readHeader(side int) (epoch uint64, ok bool) {
	var head [headSize]byte
	if _, err := j.file.ReadAt(head[:], int64(side)*half); err != nil || string(head[:8]) != magic {
		return 0, false
	}
	sum := crc32.Checksum(head[:16], crcTable)
	return binary.LittleEndian.Uint64(head[8:]), sum == binary.LittleEndian.Uint32(head[16:])
}

// replay takes in the next frame; false: there is none that is whole.
func (j *Journal) replay() bool {
	var head [frameHead]byte
	if _, err := j.file.ReadAt(head[:], j.at); err != nil {
		return false
	}
	size := int64(binary.LittleEndian.Uint32(head[:]))
	if size > j.end-j.at-frameHead {
		return false
	}
	payload := make([]byte, size)
	if _, err := j.file.ReadAt(payload, j.at+frameHead); err != nil {
		return false
	}
	if j.sum(head[8], payload) != binary.LittleEndian.Uint32(head[4:]) || !j.take(head[8], payload) {
		return false
	}
	j.at += frameHead + size
	return true
}

func (j *Journal) take(kind byte, payload []byte) bool {
	switch kind {
	case kindKeys:
		return j.takeKeys(payload)
	case kindBatch:
		batch, ok := decodeBatch(payload)
		if !ok {
			return false
		}
		j.note(&batch)
		return true
	case kindAck:
		j.waiting = nil
		return true
	}
	return false
}

func (j *Journal) takeKeys(payload []byte) bool {
	r := reader{b: payload}
	j.last = int64(r.uvarint())
	for n := r.uvarint(); n > 0 && !r.bad; n-- {
		j.sealed[Key{File: string(r.bytes()), Offset: int64(r.uvarint())}] = struct{}{}
	}
	return !r.bad
}

func (j *Journal) note(b *Batch) {
	j.waiting, j.last = b, max(j.last, b.Time)
	j.mu.Lock()
	defer j.mu.Unlock()
	for i := range b.Entries {
		j.sealed[b.Entries[i].Key] = struct{}{}
	}
	for _, k := range b.Folded {
		j.sealed[k] = struct{}{}
	}
}

// Waiting is the batch that was appended and not acknowledged, or nil.
func (j *Journal) Waiting() *Batch { return j.waiting }

// Sealed says whether the bytes at k have been sealed, so that reading them again must not make a second entry.
// It may be called from any goroutine.
func (j *Journal) Sealed(k Key) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	_, ok := j.sealed[k]
	return ok
}

// Last is the latest time of sealing that the journal knows, in Unix nanoseconds, or 0.
func (j *Journal) Last() int64 { return j.last }

// Append keeps a batch. There is one at a time: the one before must have been acknowledged. Room is made where needed by
// forgetting the keys below the checkpoint of the log files; for that forget is called, which has to write that
// checkpoint and then say of each key whether it is still wanted.
func (j *Journal) Append(b *Batch, forget func() (wanted func(Key) bool)) error {
	if j.waiting != nil {
		return errors.New("journal: the batch before is not acknowledged")
	}
	j.buf = appendBatch(append(j.buf[:0], make([]byte, frameHead)...), b)
	if int64(len(j.buf)+frameHead) > j.end-j.at { // its acknowledgement has to fit as well
		if err := j.swap(forget()); err != nil {
			return err
		}
		if int64(len(j.buf)+frameHead) > j.end-j.at {
			return ErrFull
		}
	}
	if err := j.frame(kindBatch, j.buf); err != nil {
		return err
	}
	j.note(b)
	return nil
}

// Ack says that nothing is left to do for the batch.
func (j *Journal) Ack() error {
	j.waiting = nil
	return j.frame(kindAck, make([]byte, frameHead))
}

// swap goes over to the other half. Until its header stands, which is written last, the present half is the one that
// counts.
func (j *Journal) swap(wanted func(Key) bool) error {
	j.mu.Lock()
	maps.DeleteFunc(j.sealed, func(k Key, _ struct{}) bool { return !wanted(k) })
	j.mu.Unlock()
	other := int64(0)
	if j.end == half {
		other = 1
	}
	return j.begin(other, j.epoch+1, j.sealed)
}

func (j *Journal) begin(side int64, epoch uint64, keys map[Key]struct{}) error {
	oldEpoch, oldAt, oldEnd := j.epoch, j.at, j.end
	back := func() { j.epoch, j.at, j.end = oldEpoch, oldAt, oldEnd }
	j.epoch, j.at, j.end = epoch, side*half+headSize, (side+1)*half
	b := binary.AppendUvarint(make([]byte, frameHead), uint64(j.last))
	b = binary.AppendUvarint(b, uint64(len(keys)))
	for k := range keys {
		b = appendKey(b, k)
	}
	if int64(len(b)) > j.end-j.at {
		back()
		return ErrFull
	}
	if err := j.frame(kindKeys, b); err != nil {
		back()
		return err
	}
	head := binary.LittleEndian.AppendUint64([]byte(magic), epoch)
	head = binary.LittleEndian.AppendUint32(head, crc32.Checksum(head, crcTable))
	if _, err := j.file.WriteAt(head, side*half); err != nil {
		back()
		return fmt.Errorf("write journal: %w", err)
	}
	return nil
}

// frame writes a payload, in front of which there is room for the frame's head.
func (j *Journal) frame(kind byte, b []byte) error {
	payload := b[frameHead:]
	binary.LittleEndian.PutUint32(b, uint32(len(payload)))
	binary.LittleEndian.PutUint32(b[4:], j.sum(kind, payload))
	b[frameHead-1] = kind
	if _, err := j.file.WriteAt(b, j.at); err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	j.at += int64(len(b))
	return nil
}

// sum has the epoch in it: what an older life of the same half left behind does not pass for a frame.
func (j *Journal) sum(kind byte, payload []byte) uint32 {
	var head [9]byte
	binary.LittleEndian.PutUint64(head[:], j.epoch)
	head[8] = kind
	return crc32.Update(crc32.Checksum(head[:], crcTable), crcTable, payload)
}

// Close gives the file back.
func (j *Journal) Close() error { return j.file.Close() }
