package mapped

import (
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Memory is what is mapped, and the file behind it if there is one.
type Memory struct {
	Bytes []byte
	// SetAside says in a sentence which file could not be trusted, why, and where it is now; "" where that did not happen.
	SetAside string
	file     *os.File
}

// Open maps a file of size bytes, or memory where path is empty. used says that the file was there and is of this kind.
func Open(k Kind, path string, size int) (m *Memory, used bool, err error) {
	m = &Memory{}
	if path == "" {
		if m.Bytes, err = unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE); err != nil {
			return nil, false, fmt.Errorf("memory for %s: %w", k.What, err)
		}
		return m, false, nil
	}
	if m.file, err = k.openLocked(path); err != nil {
		return nil, false, fmt.Errorf("open %s: %w", k.What, err)
	}
	if used, err = m.prepare(k, path, size); err == nil {
		err = m.mapFile(size)
	}
	if err != nil {
		m.file.Close()
		return nil, false, fmt.Errorf("open %s %s: %w", k.What, path, err)
	}
	if !used {
		m.writeHeader(k)
	}
	return m, used, nil
}

// openLocked opens a file that no other sidecar has open.
func (k Kind) openLocked(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := k.lock(file, path); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// lock makes sure, too, that the file is still the one at path: another sidecar may have set it aside before it let go.
func (k Kind) lock(file *os.File, path string) error {
	err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err != nil && !errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("lock %s: %w", path, err)
	}
	opened, openedErr := file.Stat()
	present, presentErr := os.Stat(path)
	if err != nil || openedErr != nil || presentErr != nil || !os.SameFile(opened, present) {
		return fmt.Errorf("%s is used by another sidecar: give each its own %s", path, k.Path)
	}
	if !opened.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file: give %s the path of one, or of none", path, k.Path)
	}
	return nil
}

// prepare sees to it that the file is empty or ours, is nobody else's to read, and has its room on the disk: a disk that is
// full is an error now and never a fault later.
func (m *Memory) prepare(k Kind, path string, size int) (used bool, err error) {
	reason, used := k.inspect(m.file, size)
	if reason != "" {
		if err := m.replace(k, path, reason); err != nil {
			return false, err
		}
	}
	if err := m.file.Chmod(0o600); err != nil {
		return false, err
	}
	if err := reserve(m.file, size); err != nil {
		if !used {
			os.Remove(path) // with what it could reserve
		}
		return false, fmt.Errorf("reserve %d KiB: %w; make room, or choose a smaller %s or another %s", size>>10, err, k.Size, k.Path)
	}
	return used, nil
}

// inspect says why a file is not to be trusted, or whether it has been used before.
func (k Kind) inspect(file *os.File, size int) (reason string, used bool) {
	info, err := file.Stat()
	switch {
	case err != nil:
		return err.Error(), false
	case info.Size() == 0:
		return "", false
	}
	var header [HeaderSize]byte
	if _, err := file.ReadAt(header[:], 0); err != nil || string(header[:8]) != k.Magic ||
		le.Uint32(header[16:]) != crc32.Checksum(header[:16], Castagnoli) {
		return "it is not " + k.What + " of this version, or is damaged", false
	}
	if le.Uint64(header[8:]) != uint64(size) || info.Size() != int64(size) {
		return "it was made for another " + k.Size, false
	}
	return "", true
}

// replace renames the file that cannot be trusted and makes a new one. There is one such name, lest a sidecar that fails
// again and again fills the disk.
func (m *Memory) replace(k Kind, path, reason string) error {
	aside := path + ".set-aside"
	if err := os.Rename(path, aside); err != nil {
		return fmt.Errorf("set it aside, since %s: %w", reason, err)
	}
	file, err := k.openLocked(path)
	if err != nil {
		return err
	}
	m.file.Close()
	m.file, m.SetAside = file, fmt.Sprintf("%s was set aside as %s: %s", path, aside, reason)
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

func (m *Memory) mapFile(size int) (err error) {
	if m.Bytes, err = unix.Mmap(int(m.file.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return fmt.Errorf("map it: %w", err)
	}
	return nil
}

func (m *Memory) writeHeader(k Kind) {
	copy(m.Bytes, k.Magic)
	le.PutUint64(m.Bytes[8:], uint64(len(m.Bytes)))
	le.PutUint32(m.Bytes[16:], crc32.Checksum(m.Bytes[:16], Castagnoli))
}

func (m *Memory) contains(addr uintptr) bool {
	first := uintptr(unsafe.Pointer(unsafe.SliceData(m.Bytes)))
	return addr >= first && addr < first+uintptr(len(m.Bytes))
}

// Rest gives back the memory of the pages that were looked at once. They stay in the file, and come back when they are used.
func (m *Memory) Rest() {
	if m.file != nil {
		unix.Madvise(m.Bytes, unix.MADV_DONTNEED)
	}
}

// Close unmaps the memory and lets go of the file.
func (m *Memory) Close() error {
	err := unix.Munmap(m.Bytes)
	if m.file != nil {
		err = errors.Join(err, m.file.Close())
	}
	return err
}
