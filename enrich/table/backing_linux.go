package table

import (
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The header stands at the beginning of the file: magic, the file's size, and a check word over both.
const (
	magic      = "ORSTABL1"
	headerSize = 8 + 8 + 4
)

// backing is the mapped memory, and the file behind it if there is one.
type backing struct {
	slots
	file     *os.File
	setAside string
}

// openBacking maps a file of size bytes, or memory where path is empty. used says that the file was there and is ours.
func openBacking(path string, size int) (b backing, used bool, err error) {
	if path == "" {
		b.slots, err = unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
		if err != nil {
			return b, false, fmt.Errorf("memory for the table: %w", err)
		}
		return b, false, nil
	}
	if b.file, err = openLocked(path); err != nil {
		return b, false, fmt.Errorf("open the table: %w", err)
	}
	reason, used := inspect(b.file, size)
	if reason != "" {
		if b, err = b.replace(path, reason); err != nil {
			return b, false, err
		}
	}
	if err := b.mapFile(size); err != nil {
		b.file.Close()
		return b, false, fmt.Errorf("open the table %s: %w", path, err)
	}
	return b, used, nil
}

// openLocked opens a file that no other sidecar has open.
func openLocked(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		file.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s is used by another sidecar: give each its own --table", path)
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return file, nil
}

// inspect says why a file is not to be trusted, or whether it has been used before.
func inspect(file *os.File, size int) (reason string, used bool) {
	info, err := file.Stat()
	switch {
	case err != nil:
		return err.Error(), false
	case info.Size() == 0:
		return "", false
	case !info.Mode().IsRegular():
		return "it is no regular file", false
	}
	var header [headerSize]byte
	if _, err := file.ReadAt(header[:], 0); err != nil || string(header[:8]) != magic ||
		le.Uint32(header[16:]) != crc32.Checksum(header[:16], castagnoli) {
		return "it is no table of this version, or is damaged", false
	}
	if le.Uint64(header[8:]) != uint64(size) || info.Size() != int64(size) {
		return "it was made for another --table-size", false
	}
	return "", true
}

// replace renames the file that cannot be trusted and makes a new one.
func (b backing) replace(path, reason string) (backing, error) {
	aside := fmt.Sprintf("%s.set-aside-%d", path, time.Now().Unix())
	b.file.Close()
	if err := os.Rename(path, aside); err != nil {
		return b, fmt.Errorf("set a table aside that cannot be trusted: %w", err)
	}
	b.setAside = fmt.Sprintf("%s was set aside as %s: %s", path, filepath.Base(aside), reason)
	file, err := openLocked(path)
	b.file = file
	if err != nil {
		return b, fmt.Errorf("open the table: %w", err)
	}
	return b, nil
}

// mapFile reserves the room, so that a full disk is an error now and never a fault later, and maps it.
func (b *backing) mapFile(size int) (err error) {
	if err := reserve(b.file, size); err != nil {
		return fmt.Errorf("reserve %d KiB: %w; make room, or choose a smaller --table-size or another --table", size>>10, err)
	}
	b.slots, err = unix.Mmap(int(b.file.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map: %w", err)
	}
	copy(b.slots, magic)
	le.PutUint64(b.slots[8:], uint64(size))
	le.PutUint32(b.slots[16:], crc32.Checksum(b.slots[:16], castagnoli))
	return nil
}

func reserve(file *os.File, size int) error {
	err := unix.Fallocate(int(file.Fd()), 0, 0, int64(size))
	if !errors.Is(err, unix.EOPNOTSUPP) {
		return err
	}
	info, err := file.Stat()
	if err != nil || info.Size() == int64(size) {
		return err
	}
	_, err = file.WriteAt(make([]byte, size), 0)
	return err
}

func (b *backing) contains(addr uintptr) bool {
	first := uintptr(unsafe.Pointer(unsafe.SliceData(b.slots)))
	return addr >= first && addr < first+uintptr(len(b.slots))
}

// rest gives back the memory of the pages that were looked at once. They stay in the file, and come back when they are used.
func (b *backing) rest() {
	if b.file != nil {
		unix.Madvise(b.slots, unix.MADV_DONTNEED)
	}
}

func (b *backing) close() error {
	err := unix.Munmap(b.slots)
	if b.file != nil {
		err = errors.Join(err, b.file.Close())
	}
	return err
}

// array gives n zero values in memory that costs nothing before it is touched, and that the garbage collector never sees.
func array[T any](n int) ([]T, error) {
	var one T
	b, err := unix.Mmap(-1, 0, n*int(unsafe.Sizeof(one)), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, err
	}
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), n), nil
}

func release[T any](a []T) {
	if len(a) > 0 {
		var one T
		unix.Munmap(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(a))), len(a)*int(unsafe.Sizeof(one))))
	}
}
