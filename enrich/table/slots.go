package table

import (
	"encoding/binary"
	"hash/crc32"
	"sync/atomic"
	"unsafe"
)

// The mapped memory is an array of slots. In the room of the first sixteen stand the header and the redo record, so that
// 0 is no slot's number. Each other slot has
//
//	0  the number of the exchange's next slot, 0 in its last one
//	4  its kind
//	8  a part of the exchange's image
//
// Numbers are little-endian.
const (
	slotSize  = 256
	slotHead  = 8
	payload   = slotSize - slotHead
	firstSlot = 16
	maxSlots  = 12 // of one exchange
	maxImage  = maxSlots * payload
)

const (
	kindFree = iota
	kindHead // an exchange begins here
	kindMore // and goes on here
)

// The redo record: a change that a kill may have left half done.
const (
	redoAt     = slotSize
	redoCheck  = redoAt + 4 // of all that stands from redoCount to the image's own check word
	redoCount  = redoAt + 8
	redoLength = redoAt + 12
	redoChain  = redoAt + 16
	redoImage  = redoChain + 4*maxSlots
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	le         = binary.LittleEndian
)

type slots []byte

func (s slots) at(i uint32) []byte { return s[int(i)*slotSize:][:slotSize:slotSize] }

func (s slots) next(i uint32) uint32 { return le.Uint32(s.at(i)) }

func (s slots) endChain(i uint32) {
	if s.next(i) != 0 {
		le.PutUint32(s.at(i), 0)
	}
}

func (s slots) kind(i uint32) byte { return s.at(i)[4] }

func (s slots) setKind(i uint32, kind byte) { s.at(i)[4] = kind }

// start is the part of the image that the first slot has; all fixed fields stand in it.
func (s slots) start(head uint32) []byte { return s.at(head)[slotHead:] }

func (s slots) valid(i uint32) bool { return i >= firstSlot && int(i) < len(s)/slotSize }

// chain appends the numbers of an exchange's slots to dst. A chain that is broken ends where it breaks.
func (s slots) chain(head uint32, dst []uint32) []uint32 {
	dst = append(dst, head)
	for i := s.next(head); s.valid(i) && s.kind(i) == kindMore && len(dst) < maxSlots; i = s.next(i) {
		dst = append(dst, i)
	}
	return dst
}

// read copies an exchange's image into dst and gives its length; 0 where the slots do not make an image.
func (s slots) read(head uint32, dst []byte) int {
	var numbers [maxSlots]uint32
	chain := s.chain(head, numbers[:0])
	size := int(imageSize(s.start(head)))
	if needed(size) > len(chain) {
		return 0
	}
	for i, slot := range chain[:needed(size)] {
		copy(dst[i*payload:], s.start(slot))
	}
	return size
}

// write puts an image into its slots. The chain may have more slots than the image needs.
func (s slots) write(chain []uint32, image []byte) {
	for i := len(chain) - 1; i >= 0; i-- {
		slot := s.at(chain[i])
		kind, next := byte(kindMore), uint32(0)
		if i == 0 {
			kind = kindHead
		}
		if i+1 < len(chain) {
			next = chain[i+1]
		}
		le.PutUint32(slot, next)
		copy(slot[slotHead:], image[min(i*payload, len(image)):])
		slot[4] = kind
	}
}

// rewrite is write for an exchange that must not be lost if the process is killed in between.
func (s slots) rewrite(chain []uint32, image []byte) {
	le.PutUint32(s[redoCount:], uint32(len(chain)))
	le.PutUint32(s[redoLength:], uint32(len(image)))
	for i, slot := range chain {
		le.PutUint32(s[redoChain+4*i:], slot)
	}
	copy(s[redoImage:], image)
	le.PutUint32(s[redoCheck:], s.redoSum())
	s.setRedo(1)
	s.write(chain, image)
	s.setRedo(0)
}

// redo finishes the change that was under way when the process was killed.
func (s slots) redo() {
	if le.Uint32(s[redoAt:]) == 0 {
		return
	}
	count, size := int(le.Uint32(s[redoCount:])), int(le.Uint32(s[redoLength:]))
	if le.Uint32(s[redoCheck:]) == s.redoSum() && count >= 1 && count <= maxSlots && size >= fixedSize && size <= count*payload {
		s.apply(count, s[redoImage:][:size])
	}
	s.setRedo(0)
}

func (s slots) apply(count int, image []byte) {
	chain := make([]uint32, count)
	for i := range chain {
		chain[i] = le.Uint32(s[redoChain+4*i:])
		if !s.valid(chain[i]) {
			return
		}
	}
	if intact(image) {
		s.write(chain, image)
	}
}

func (s slots) redoSum() uint32 { return crc32.Checksum(s[redoCount:redoImage+4], castagnoli) }

// setRedo is an atomic store because no other store may pass it.
func (s slots) setRedo(state uint32) {
	atomic.StoreUint32((*uint32)(unsafe.Pointer(&s[redoAt])), state)
}

func needed(size int) int { return (size + payload - 1) / payload }
