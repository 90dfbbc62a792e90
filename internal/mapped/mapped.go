// Package mapped gives a fixed piece of memory that survives a crash, in a file that nobody else has open.
package mapped

import (
	"encoding/binary"
	"hash/crc32"
	"runtime"
	"runtime/debug"
)

// A Kind tells the files of one purpose and version from all others, and how its users set it, for what is said to them.
type Kind struct {
	Magic      string // eight bytes
	What       string // "the table"
	Path, Size string // the flags that choose them
}

// HeaderSize is how many bytes at the beginning are taken: magic, the file's size, and a check word over both.
const HeaderSize = 8 + 8 + 4

// Castagnoli is the check word's polynomial, for which processors have an instruction.
var Castagnoli = crc32.MakeTable(crc32.Castagnoli)

var le = binary.LittleEndian

// Guard runs f, and says whether it went through. The kernel answers with a fault where the file was cut short by somebody
// or its disk fails: that is no reason to take the process down.
func (m *Memory) Guard(f func()) (ok bool) {
	before := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(before)
		switch reason := recover().(type) {
		case nil:
			ok = true
		case interface {
			runtime.Error
			Addr() uintptr
		}:
			if !m.contains(reason.Addr()) {
				panic(reason)
			}
		default:
			panic(reason)
		}
	}()
	f()
	return
}
