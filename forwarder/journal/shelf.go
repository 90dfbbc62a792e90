package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// A Shelf keeps small things that cannot be read again, each under a key, until they are done with. Its file is reserved whole,
// and survives a SIGKILL as the Journal's does. Its methods are safe from any goroutine.
type Shelf struct {
	file *os.File
	mu   sync.Mutex
	at   map[string]int64 // a key's slot
	free []int64
}

// A slot has: length uint32, 0 where it is free; CRC-32C uint32 of what follows; length of the key uint32; key; thing.
const (
	slotSize  = 1 << 10
	slots     = 4096
	slotsHead = 4 + 4 + 4
)

// MaxThing is the most bytes that a thing and its key may have.
const MaxThing = slotSize - slotsHead

// ErrShelfFull says that so many things are not done with that there is no room for another.
var ErrShelfFull = errors.New("the shelf is full")

// OpenShelf opens or makes the shelf at path.
func OpenShelf(path string) (*Shelf, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open shelf: %w", err)
	}
	if err := unix.Fallocate(int(file.Fd()), 0, 0, slots*slotSize); err != nil && err != unix.EOPNOTSUPP {
		file.Close()
		return nil, fmt.Errorf("open shelf %s: reserve %d MiB: %w", path, slots*slotSize>>20, err)
	}
	s := &Shelf{file: file, at: map[string]int64{}}
	s.walk(func(at int64, key string, _ []byte, ok bool) {
		if !ok {
			s.free = append(s.free, at)
			return
		}
		s.at[key] = at
	})
	return s, nil
}

// All gives what was put there and is not done with, by key.
func (s *Shelf) All() map[string][]byte {
	all := map[string][]byte{}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.walk(func(_ int64, key string, thing []byte, ok bool) {
		if ok {
			all[key] = thing
		}
	})
	return all
}

func (s *Shelf) walk(yield func(at int64, key string, thing []byte, ok bool)) {
	slot := make([]byte, slotSize)
	for at := int64(slots-1) * slotSize; at >= 0; at -= slotSize {
		clear(slot)
		s.file.ReadAt(slot, at)
		key, thing, ok := parseSlot(slot)
		yield(at, key, thing, ok)
	}
}

func parseSlot(slot []byte) (key string, thing []byte, ok bool) {
	n, named := binary.LittleEndian.Uint32(slot), binary.LittleEndian.Uint32(slot[8:])
	if n == 0 || n > MaxThing || named > n || crc32.Checksum(slot[8:slotsHead+n], crcTable) != binary.LittleEndian.Uint32(slot[4:]) {
		return "", nil, false
	}
	thing = append(thing, slot[slotsHead+named:slotsHead+n]...)
	return string(slot[slotsHead : slotsHead+named]), thing, true
}

// Put keeps a thing.
func (s *Shelf) Put(key string, thing []byte) error {
	n := len(key) + len(thing)
	if n == 0 || n > MaxThing {
		return fmt.Errorf("a thing of %d bytes does not fit on the shelf", n)
	}
	slot := binary.LittleEndian.AppendUint32(make([]byte, 8, slotsHead+n), uint32(len(key)))
	slot = append(append(slot, key...), thing...)
	binary.LittleEndian.PutUint32(slot, uint32(n))
	binary.LittleEndian.PutUint32(slot[4:], crc32.Checksum(slot[8:], crcTable))
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.at[key]
	if !ok {
		if len(s.free) == 0 {
			return ErrShelfFull
		}
		at, s.free = s.free[len(s.free)-1], s.free[:len(s.free)-1]
	}
	s.at[key] = at
	if _, err := s.file.WriteAt(slot, at); err != nil {
		return fmt.Errorf("write shelf: %w", err)
	}
	return nil
}

// Done says that a thing need not be kept any longer; one that is not there is none.
func (s *Shelf) Done(key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.at[key]
	if !ok {
		return nil
	}
	delete(s.at, key)
	s.free = append(s.free, at)
	if _, err := s.file.WriteAt(make([]byte, 4), at); err != nil {
		return fmt.Errorf("write shelf: %w", err)
	}
	return nil
}

// Close gives the file back.
func (s *Shelf) Close() error { return s.file.Close() }
