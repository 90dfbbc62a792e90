package session

import (
	"encoding/binary"
	"hash/crc32"
	"time"

	"github.com/openreplay/log-sidecar/internal/mapped"
)

// The mapped memory is an array of slots of 256 bytes. In the room of the first 16 stands the header; then come the names
// under study, and then buckets of eight slots, each slot one value of one cookie. There is no index and no list: a value's
// hash says its bucket. A slot is written whole, with a check word over it; one that a kill left half written is empty
// when it is found again.
const (
	slotSize  = 256
	headSlots = 16
	ways      = 8
	maxText   = slotSize - textAt // the longest token that is learned; real ones have about 70 bytes
	textAt    = 104
)

const (
	flagSession  = 1 << iota // it has a session
	flagGiven                // the app gave it out, and we saw it
	flagShared               // more than one browser has it
	flagReplaced             // the app has put another value in its place
)

// A slot is what is known of one value of one cookie, out of the mapped memory.
type slot struct {
	key  uint64 // the keyed hash of name and value; 0: empty
	flag byte

	owner     // whose it was when the header last came with it
	since     int64
	seen      int64 // when a header last came with it
	contested int64 // until when another session may be alive on it
	doubt     int64 // when its browser last came in from outside, with no header since; 0: never
	touched   int64
	told      int64 // when the other sidecars were last told of it
	asked     int64 // when they last said what they know
}

// An owner is one of OpenReplay's, as it is compared and kept.
type owner struct {
	mark    uint64 // its number, or a hash of the token where that has none
	number  uint64
	expires int64 // in Unix nanoseconds; 0: nobody knows
	token   string
}

var le = binary.LittleEndian

// decode gives an empty slot where there is none, or none that is whole.
func decode(b []byte) (s slot) {
	if len(b) == 0 || le.Uint64(b[8:]) == 0 || le.Uint32(b) != sum(b) {
		return s
	}
	n := int(le.Uint16(b[6:]))
	if n > maxText {
		return s
	}
	s.key, s.flag = le.Uint64(b[8:]), b[4]
	s.mark, s.number = le.Uint64(b[16:]), le.Uint64(b[24:])
	for i, field := range s.times() {
		*field = int64(le.Uint64(b[32+8*i:]))
	}
	s.token = string(b[textAt:][:n])
	return s
}

func (s *slot) encode(b []byte) {
	clear(b[4:])
	b[4] = s.flag
	le.PutUint16(b[6:], uint16(len(s.token)))
	le.PutUint64(b[8:], s.key)
	le.PutUint64(b[16:], s.mark)
	le.PutUint64(b[24:], s.number)
	for i, field := range s.times() {
		le.PutUint64(b[32+8*i:], uint64(*field))
	}
	copy(b[textAt:], s.token)
	le.PutUint32(b, sum(b))
}

func (s *slot) times() [8]*int64 {
	return [...]*int64{&s.expires, &s.since, &s.seen, &s.contested, &s.doubt, &s.touched, &s.told, &s.asked}
}

func sum(b []byte) uint32 { return crc32.Checksum(b[4:], mapped.Castagnoli) }

func (s *slot) has(flag byte) bool { return s.flag&flag != 0 }

// alive is until when the slot's session may be its user's.
func (s *slot) alive() int64 {
	until := s.seen + int64(idle)
	if s.expires != 0 {
		until = min(until, s.expires)
	}
	return until
}

// worth orders the slots of a bucket by how much they would be missed.
func (s *slot) worth(now int64) int64 {
	const class = int64(1) << 40 // in milliseconds, more than any age
	age := (now - s.touched) / 1e6
	switch {
	case s.key == 0:
		return -4 * class
	case !s.has(flagSession) || now >= s.alive():
		return -3*class - age
	case s.has(flagReplaced) && age > replacedFor.Milliseconds():
		return -2*class - age
	}
	return -age
}

// replacedFor is how long requests may still be under way with a value that the app has replaced.
const replacedFor = 10 * time.Second
