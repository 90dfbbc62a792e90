package record

import "golang.org/x/sys/cpu"

//go:noescape
func find4(p *byte, n int, t *masks) (at int, found bool)

var wide = cpu.X86.HasAVX2

// find gives the first place in data, not before from, where four bytes fit the masks. There may be nothing behind it:
// the masks are coarse. Without a hit it gives -1.
func find(data []byte, from int, t *masks) int {
	if wide && len(data)-from >= 35 {
		at, found := find4(&data[from], len(data)-from, t)
		if from += at; found {
			return from
		}
	}
	return findPlain(data, from, t)
}
