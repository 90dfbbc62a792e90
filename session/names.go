package session

import (
	"hash/crc32"

	"github.com/openreplay/log-sidecar/internal/mapped"
)

// Names under which an app may keep its session although nobody knows them. One counts only after so many sessions have come
// with it, each with a value of its own that looks random, and none with a value that was another's: a language, a balancer's
// route or the bucket of an experiment is never a person. Of a hundred buckets with random names, this many sessions are
// all in different ones once in two hundred times; the first two that share one end it.
const (
	enough   = 32
	maxNames = 64
	// refusedFor is how long a name that two browsers shared a value of is left alone, in nanoseconds.
	refusedFor = 24 * 3600 * 1e9
)

// Each name has a room of 640 bytes: a check word, its state, the hash of the name, when it was seen or refused, and the
// values and sessions that it came with.
const (
	nameSize    = 640
	pairsAt     = 32
	firstName   = headSlots * slotSize
	firstBucket = (firstName + maxNames*nameSize + ways*slotSize - 1) / (ways * slotSize)
)

const (
	studied = iota + 1
	believed
	refused
)

// replacedClass is the worth above which a slot is missed.
const replacedClass = -(int64(1) << 41)

type names struct{ m *Memory }

func (n names) room(i int) []byte {
	return n.m.memory.Bytes[firstName+i*nameSize:][:nameSize:nameSize]
}

func (n names) seal(b []byte) { le.PutUint32(b, crc32.Checksum(b[4:], mapped.Castagnoli)) }

func (n names) intact(b []byte) bool {
	return b[4] != 0 && le.Uint32(b) == crc32.Checksum(b[4:], mapped.Castagnoli)
}

// find gives the room of a name; nil where it has none.
func (n names) find(name string) []byte {
	hash := n.m.hash.of(name)
	for i := range maxNames {
		if b := n.room(i); le.Uint64(b[8:]) == hash && n.intact(b) {
			return b
		}
	}
	return nil
}

// make gives a room to a name, that of the name under study which was not seen for longest.
func (n names) make(name string, now int64) []byte {
	var oldest []byte
	for i := range maxNames {
		b := n.room(i)
		if !n.intact(b) {
			oldest = b
			break
		}
		if b[4] != believed && (oldest == nil || le.Uint64(b[16:]) < le.Uint64(oldest[16:])) {
			oldest = b
		}
	}
	if oldest != nil {
		clear(oldest)
		oldest[4] = studied
		le.PutUint64(oldest[8:], n.m.hash.of(name))
		le.PutUint64(oldest[16:], uint64(now))
	}
	return oldest
}

func (n names) trusts(name string) bool {
	b := n.find(name)
	return b != nil && b[4] == believed
}

// known says whether the name is under study.
func (n names) known(name string) bool {
	b := n.find(name)
	return b != nil && b[4] == studied
}

// trusted gives the first cookie of the request whose name has become known as one of sessions.
func (n names) trusted(lines []string) (string, string) {
	for name, value := range pairs(lines) {
		if random(value) && n.trusts(name) {
			return name, value
		}
	}
	return "", ""
}

func (n names) any() bool {
	for i := range maxNames {
		if n.room(i)[4] == believed {
			return true
		}
	}
	return false
}

// study looks at the cookies of a request of the session with this mark.
func (n names) study(lines []string, mark uint64, now int64) {
	for name, value := range pairs(lines) {
		if !random(value) {
			continue
		}
		b := n.find(name)
		if b == nil || b[4] == refused && now-int64(le.Uint64(b[16:])) > refusedFor {
			b = n.make(name, now)
		}
		if b != nil && b[4] == studied {
			n.add(b, name, n.m.keyOf(name, value, ""), mark, now)
		}
	}
}

func (n names) add(b []byte, name string, value, mark uint64, now int64) {
	le.PutUint64(b[16:], uint64(now))
	count := int(b[5])
	for i := range count {
		p := b[pairsAt+16*i:]
		switch v, s := le.Uint64(p), le.Uint64(p[8:]); {
		case v == value && s == mark:
			n.seal(b)
			return
		case v == value && !n.m.givenOnce(value):
			n.refuse(name, now)
			return
		case v == value || s == mark: // one browser's next session, or one session's next value
			n.seal(b)
			return
		}
	}
	le.PutUint64(b[pairsAt+16*count:], value)
	le.PutUint64(b[pairsAt+16*count+8:], mark)
	b[5] = byte(count + 1)
	if count+1 == enough {
		b[4] = believed
		n.m.believed.Store(true)
	}
	n.seal(b)
}

// refuse ends the study of a name.
func (n names) refuse(name string, now int64) {
	b := n.find(name)
	if b == nil {
		b = n.make(name, now)
	}
	if b != nil {
		b[4] = refused
		le.PutUint64(b[16:], uint64(now))
		n.seal(b)
	}
}

// givenOnce says whether the app was seen to give the value to one browser, and to no other.
func (m *Memory) givenOnce(key uint64) bool {
	s := decode(m.held(key))
	return s.has(flagGiven) && !s.has(flagShared)
}
