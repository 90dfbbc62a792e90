//go:build unix && !linux

package tail

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

func stat(path string) (info, error) {
	i, err := os.Stat(path)
	if err != nil {
		return info{}, err
	}
	return fromInfo(i), nil
}

func lstat(path string) (info, error) {
	i, err := os.Lstat(path)
	if err != nil {
		return info{}, err
	}
	return fromInfo(i), nil
}

func fstat(f *os.File) (info, error) {
	i, err := f.Stat()
	if err != nil {
		return info{}, err
	}
	return fromInfo(i), nil
}

func fromInfo(i fs.FileInfo) info {
	s := i.Sys().(*syscall.Stat_t)
	return info{
		key:      key{dev: uint64(s.Dev), ino: uint64(s.Ino)},
		size:     i.Size(),
		used:     i.Size(),
		modified: i.ModTime().UnixNano(),
		links:    uint64(s.Nlink),
		regular:  i.Mode().IsRegular(),
		pipe:     i.Mode()&fs.ModeNamedPipe != 0,
		link:     i.Mode()&fs.ModeSymlink != 0,
		dir:      i.IsDir(),
	}
}

func data(_ *os.File, from int64) (int64, bool) { return from, true }

func again(f *os.File) *os.File {
	n, err := syscall.Dup(int(f.Fd()))
	if err != nil {
		return nil
	}
	syscall.CloseOnExec(n)
	return os.NewFile(uintptr(n), f.Name())
}

// reserve keeps room on the disk for n bytes of f.
func reserve(*os.File, int64) error { return nil }

// move takes what stands in src to the end of dst, within the kernel.
func move(_, _ *os.File) (int, error) { return 0, errors.ErrUnsupported }

// punchHole gives back the room of a part of f, which then reads as NULs.
func punchHole(*os.File, int64, int64) error { return errors.ErrUnsupported }
