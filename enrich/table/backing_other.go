//go:build !linux

package table

import "errors"

// backing is memory of the process: only on Linux does the table survive a crash.
type backing struct {
	slots
	setAside string
}

func openBacking(path string, size int) (backing, bool, error) {
	if path != "" {
		return backing{}, false, errors.New("only on Linux can the table be kept in a file")
	}
	return backing{slots: make([]byte, size)}, false, nil
}

func (b *backing) contains(uintptr) bool { return false }

func (b *backing) rest() {}

func (b *backing) close() error { return nil }

func array[T any](n int) ([]T, error) { return make([]T, n), nil }

func release[T any]([]T) {}
