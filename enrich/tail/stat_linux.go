package tail

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// stat tells of the file behind path; symbolic links are followed.
func stat(path string) (info, error) { return statx(unix.AT_FDCWD, path, 0) }

// lstat is stat of the link itself, where path is a symbolic link.
func lstat(path string) (info, error) { return statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW) }

// fstat tells of an open file.
func fstat(f *os.File) (i info, err error) {
	c, err := f.SyscallConn()
	if err != nil {
		return info{}, err
	}
	if e := c.Control(func(fd uintptr) { i, err = statx(int(fd), "", unix.AT_EMPTY_PATH) }); e != nil {
		return info{}, e
	}
	return i, err
}

// statx is one call for all of it; Go's own Stat has no birth.
func statx(dir int, path string, flags int) (info, error) {
	var s unix.Statx_t
	const mask = unix.STATX_BASIC_STATS | unix.STATX_BTIME
	if err := unix.Statx(dir, path, flags|unix.AT_STATX_SYNC_AS_STAT, mask, &s); err != nil {
		return info{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	i := info{
		key:      key{dev: unix.Mkdev(s.Dev_major, s.Dev_minor), ino: s.Ino},
		size:     int64(s.Size),
		used:     int64(s.Blocks) * 512,
		modified: nanos(s.Mtime),
		links:    uint64(s.Nlink),
		regular:  s.Mode&unix.S_IFMT == unix.S_IFREG,
		pipe:     s.Mode&unix.S_IFMT == unix.S_IFIFO,
		link:     s.Mode&unix.S_IFMT == unix.S_IFLNK,
		dir:      s.Mode&unix.S_IFMT == unix.S_IFDIR,
	}
	if s.Mask&unix.STATX_BTIME != 0 {
		i.key.born = nanos(s.Btime)
	}
	return i, nil
}

func nanos(t unix.StatxTimestamp) int64 { return t.Sec*1e9 + int64(t.Nsec) }

// data gives the first offset from on at which a sparse file has data; ok is false where the rest is one hole.
func data(f *os.File, from int64) (at int64, ok bool) {
	at, err := f.Seek(from, unix.SEEK_DATA)
	return at, err == nil
}

// reserve keeps room on the disk for n bytes of f, where the file system can.
func reserve(f *os.File, n int64) error {
	err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, n)
	if err == unix.EOPNOTSUPP || err == unix.ENOSYS {
		return nil
	}
	return err
}

// move takes what stands in src, waiting for it, to the end of dst, within the kernel. It can do so if src is a pipe.
func move(dst, src *os.File) (n int, err error) {
	from, err := src.SyscallConn()
	if err != nil {
		return 0, err
	}
	to := int(dst.Fd())
	e := from.Read(func(fd uintptr) bool {
		var k int64
		for k, err = unix.Splice(int(fd), nil, to, nil, bigRead, unix.SPLICE_F_NONBLOCK); err == unix.EINTR; {
			k, err = unix.Splice(int(fd), nil, to, nil, bigRead, unix.SPLICE_F_NONBLOCK)
		}
		n = int(max(0, k))
		return err != unix.EAGAIN
	})
	switch {
	case e != nil:
		return 0, e
	case err == unix.EINVAL:
		return 0, errors.ErrUnsupported
	case err != nil:
		return 0, spoolError{&fs.PathError{Op: "write", Path: dst.Name(), Err: err}}
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// punchHole gives back the room of a part of f, which then reads as NULs.
func punchHole(f *os.File, from, n int64) error {
	return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, from, n)
}

// again opens an open file once more, whatever its name is now.
func again(f *os.File) *os.File {
	n, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	return os.NewFile(uintptr(n), f.Name())
}
