package proxy

import "encoding/binary"

// frames follows a stream of WebSocket frames (RFC 6455, 5.2) just far enough to know where one ends.
type frames struct {
	head [14]byte
	got  int    // how much of the head has come
	left uint64 // how much of the payload has not
}

// between says whether the last frame is complete and no other has begun.
func (f *frames) between() bool { return f.got == 0 && f.left == 0 }

// pass takes p as the next bytes of the stream. With stop it goes to the end of the frame that is under way and no
// further. It gives how far it went.
func (f *frames) pass(p []byte, stop bool) (n int) {
	for n < len(p) && !(stop && f.between()) {
		if f.left > 0 {
			step := min(f.left, uint64(len(p)-n))
			f.left -= step
			n += int(step)
			continue
		}
		f.head[f.got] = p[n]
		f.got++
		n++
		if size, ok := f.size(); ok {
			f.got, f.left = 0, size
		}
	}
	return n
}

// size is the payload's, once the head is complete.
func (f *frames) size() (uint64, bool) {
	if f.got < 2 {
		return 0, false
	}
	size, head := uint64(f.head[1]&0x7f), 2
	switch size {
	case 126:
		head += 2
	case 127:
		head += 8
	}
	mask := head
	if f.head[1]&0x80 != 0 {
		head += 4
	}
	if f.got < head {
		return 0, false
	}
	switch mask {
	case 4:
		size = uint64(binary.BigEndian.Uint16(f.head[2:]))
	case 10:
		size = binary.BigEndian.Uint64(f.head[2:])
	}
	return size, true
}
