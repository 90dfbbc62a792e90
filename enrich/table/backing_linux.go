package table

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

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
