package tail

import (
	"cmp"
	"io"
	"slices"
)

// window is how many bytes a mark looks at: long enough to hold a line with its time.
const window = 256

// A mark remembers what stood right before an offset.
type mark struct {
	At  int64  `json:"at"`
	Sum uint64 `json:"sum"`
}

// marks are what we know of a file's content without keeping it: by them a file is known again when its inode is not
// enough, since inodes are used again and files are rewritten in place. The first mark is in the file's first bytes, the
// last is where we have read to, and in between they grow denser towards the end: a copy that was made a moment ago has
// most of them.
type marks []mark

// sum is FNV-1a; p is at most a window long.
func sum(p []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range p {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}

// before gives the bytes that a mark at the offset looks at.
func before(at int64) (from int64, length int) {
	length = int(min(at, window))
	return at - int64(length), length
}

// add remembers what stands before at. What is known beyond stays known: a file that is read again from a record that waited
// is told from others by what follows it.
func (m marks) add(at int64, sum uint64) marks {
	i, found := slices.BinarySearchFunc(m, at, func(k mark, at int64) int { return cmp.Compare(k.At, at) })
	if found {
		m[i].Sum = sum
		return m
	}
	return slices.Insert(m, i, mark{at, sum}).thin()
}

// thin drops marks so that their distances from the end double.
func (m marks) thin() marks {
	const enough = 12
	if len(m) <= enough {
		return m
	}
	end := m.end()
	for i := len(m) - 2; i > 0; i-- { // the first stays, and so does the last
		if end-m[i-1].At < 2*(end-m[i+1].At) || i == 1 {
			return slices.Delete(m, i, i+1)
		}
	}
	return m
}

// at gives the mark at an offset.
func (m marks) at(offset int64) (uint64, bool) {
	for i := len(m) - 1; i >= 0; i-- {
		if m[i].At == offset {
			return m[i].Sum, true
		}
	}
	return 0, false
}

// end is how much of the file the marks know.
func (m marks) end() int64 {
	if len(m) == 0 {
		return 0
	}
	return m[len(m)-1].At
}

// match says whether content of the given size has all the marks that it is long enough for.
func (m marks) match(content io.ReaderAt, size int64) bool {
	var p [window]byte
	for _, k := range m {
		if k.At > size {
			return true
		}
		from, n := before(k.At)
		if got, _ := content.ReadAt(p[:n], from); got < n || sum(p[:n]) != k.Sum {
			return false
		}
	}
	return true
}

// take reads the mark at an offset. There is none behind NULs: they may not be written yet.
func (m marks) take(content io.ReaderAt, at int64) marks {
	var p [window]byte
	from, n := before(at)
	if got, _ := content.ReadAt(p[:n], from); got < n || n == 0 || p[n-1] == 0 {
		return m
	}
	return m.add(at, sum(p[:n]))
}

// within gives how much of content of the given size the marks know.
func (m marks) within(size int64) int64 {
	for i := len(m) - 1; i >= 0; i-- {
		if m[i].At <= size {
			return m[i].At
		}
	}
	return 0
}

// line gives the last mark that is at the beginning of a line; 0 where none is.
func (m marks) line(content io.ReaderAt) int64 {
	var p [1]byte
	for _, k := range slices.Backward(m) {
		if n, _ := content.ReadAt(p[:], k.At-1); n == 1 && p[0] == '\n' {
			return k.At
		}
	}
	return 0
}

// without drops the marks that look at bytes from from to to.
func (m marks) without(from, to int64) marks {
	return slices.DeleteFunc(slices.Clone(m), func(k mark) bool { return k.At > from && k.At-window < to })
}

// upTo gives the marks within a size.
func (m marks) upTo(size int64) marks {
	return slices.DeleteFunc(slices.Clone(m), func(k mark) bool { return k.At > size })
}
