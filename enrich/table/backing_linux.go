package table

import (
	"errors"
	"fmt"
	"hash/crc32"
	"os"
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
	if used, err = b.prepareFile(path, size); err == nil {
		err = b.mapFile(size)
	}
	if err != nil {
		b.file.Close()
		return backing{}, false, fmt.Errorf("open the table %s: %w", path, err)
	}
	if !used {
		b.writeHeader()
	}
	return b, used, nil
}

// openLocked opens a file that no other sidecar has open.
func openLocked(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lock(file, path); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// lock makes sure, too, that the file is still the one at path: another sidecar may have set it aside before it let go.
func lock(file *os.File, path string) error {
	err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err != nil && !errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("lock %s: %w", path, err)
	}
	opened, openedErr := file.Stat()
	present, presentErr := os.Stat(path)
	if err != nil || openedErr != nil || presentErr != nil || !os.SameFile(opened, present) {
		return fmt.Errorf("%s is used by another sidecar: give each its own --table", path)
	}
	if !opened.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file: give --table the path of one, or of none", path)
	}
	return nil
}

// prepareFile sees to it that the file is empty or ours, is nobody else's to read, and has its room on the disk: a disk
// that is full is an error now and never a fault later.
func (b *backing) prepareFile(path string, size int) (used bool, err error) {
	reason, used := inspect(b.file, size)
	if reason != "" {
		if err := b.replace(path, reason); err != nil {
			return false, err
		}
	}
	if err := b.file.Chmod(0o600); err != nil {
		return false, err
	}
	if err := reserve(b.file, size); err != nil {
		if !used {
			os.Remove(path) // with what it could reserve
		}
		return false, fmt.Errorf("reserve %d KiB: %w; make room, or choose a smaller --table-size or another --table", size>>10, err)
	}
	return used, nil
}

// inspect says why a file is not to be trusted, or whether it has been used before.
func inspect(file *os.File, size int) (reason string, used bool) {
	info, err := file.Stat()
	switch {
	case err != nil:
		return err.Error(), false
	case info.Size() == 0:
		return "", false
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

// replace renames the file that cannot be trusted and makes a new one. There is one such name, lest a sidecar that fails
// again and again fills the disk.
func (b *backing) replace(path, reason string) error {
	aside := path + ".set-aside"
	if err := os.Rename(path, aside); err != nil {
		return fmt.Errorf("set it aside, since %s: %w", reason, err)
	}
	file, err := openLocked(path)
	if err != nil {
		return err
	}
	b.file.Close()
	b.file, b.setAside = file, fmt.Sprintf("%s was set aside as %s: %s", path, aside, reason)
	return nil
}

func reserve(file *os.File, size int) error {
	for {
		err := unix.Fallocate(int(file.Fd()), 0, 0, int64(size))
		switch {
		case errors.Is(err, unix.EINTR): // by a signal of Go's scheduler
			continue
		case errors.Is(err, unix.EOPNOTSUPP):
			return fill(file, size)
		}
		return err
	}
}

// fill reserves what the file lacks, on file systems that know no other way.
func fill(file *os.File, size int) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	missing := max(int64(size)-info.Size(), 0)
	_, err = file.WriteAt(make([]byte, missing), info.Size())
	return err
}

func (b *backing) mapFile(size int) (err error) {
	b.slots, err = unix.Mmap(int(b.file.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map it: %w", err)
	}
	return nil
}

func (b *backing) writeHeader() {
	copy(b.slots, magic)
	le.PutUint64(b.slots[8:], uint64(len(b.slots)))
	le.PutUint32(b.slots[16:], crc32.Checksum(b.slots[:16], castagnoli))
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
