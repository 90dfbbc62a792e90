//go:build !linux

package mapped

import "fmt"

// Memory is of the process: only on Linux does it survive a crash.
type Memory struct {
	Bytes    []byte
	SetAside string
}

// Open gives memory.
func Open(k Kind, path string, size int) (*Memory, bool, error) {
	if path != "" {
		return nil, false, fmt.Errorf("only on Linux can %s be kept in a file", k.What)
	}
	return &Memory{Bytes: make([]byte, size)}, false, nil
}

func (m *Memory) contains(uintptr) bool { return false }

// Rest does nothing.
func (m *Memory) Rest() {}

// Close does nothing.
func (m *Memory) Close() error { return nil }
