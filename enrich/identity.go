package enrich

import (
	"bytes"
	"sort"
	"strings"
	"time"

	"github.com/openreplay/log-sidecar/enrich/tail"
)

const (
	// identifies is how many bits of chance make a word an ID wherever it stands. IDs come from clients: what a client can
	// guess to stand in a log must not catch other people's errors.
	identifies = 60
	// identifiesNamed is enough under a key that names an ID: eight digits.
	identifiesNamed = 26
	// lookBehind is how many bytes before an exchange's begin must not have its ID.
	lookBehind = 64 << 10
)

// identity says whether a word may be an ID at all.
func identity(word string, named bool) bool {
	if len(word) < 6 || len(word) < 12 && !named {
		return false // whatever it is made of
	}
	bits := chance(word)
	return bits >= identifies || named && bits >= identifiesNamed
}

// mayBeSession says whether a word may be an app's session ID although chance shows too little: in one of sixteen of PHP's most
// letters happen to stand in runs.
func mayBeSession(word string) bool {
	return len(word) >= 16 && len(word) <= 128 && strings.ContainsAny(word, "0123456789") && chance(word) >= identifiesNamed
}

// chance estimates the bits of a word that could not be foretold. Runs of letters of one case are taken for parts of words,
// runs of digits for numbers, unless the whole of it is hexadecimal, and a character that keeps coming back counts little.
func chance(word string) float64 {
	var seen [256]bool
	distinct, digits, letters := 0, 0, 0
	for i := range len(word) {
		c := word[i]
		if c == '-' {
			continue
		}
		if !seen[c] {
			seen[c] = true
			distinct++
		}
		switch {
		case '0' <= c && c <= '9':
			digits++
		case 'a' <= c && c <= 'f', 'A' <= c && c <= 'F':
			letters++
		}
	}
	bits := 4 * float64(digits+letters)
	if hex := len(word) == digits+letters+strings.Count(word, "-"); !hex || digits < 2 || letters < 2 {
		bits = byRuns(word)
	}
	return min(bits, 15*float64(distinct))
}

func hexadecimal(word string) bool {
	for i := range len(word) {
		if c := word[i]; kindOfByte(c) == 0 || 'f' < c || 'F' < c && c < 'a' {
			return false
		}
	}
	return true
}

func byRuns(word string) (bits float64) {
	for part := range strings.FieldsFuncSeq(word, func(r rune) bool { return r > 'z' || kindOfByte(byte(r)) == 0 }) {
		bits += ofPart(part)
	}
	return bits
}

// plainWord is what a run of letters counts that may be a word of a language.
const plainWord = 6

func ofPart(part string) (bits float64) {
	for i := 0; i < len(part); {
		kind := kindOfByte(part[i])
		n := 1
		for i+n < len(part) && (kindOfByte(part[i+n]) == kind || n == 1 && kind == 'u' && kindOfByte(part[i+n]) == 'l') {
			if n == 1 {
				kind = kindOfByte(part[i+n]) // a capital and what it leads are one
			}
			n++
		}
		i += n
		switch {
		case kind == 'd':
			bits += 3.3 * float64(n)
		case n == len(part):
			return plainWord
		case n <= 3:
			bits += 4.7 * float64(n)
		default:
			bits += plainWord + float64(n)/2
		}
	}
	return bits
}

func kindOfByte(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return 'd'
	case 'a' <= c && c <= 'z':
		return 'l'
	case 'A' <= c && c <= 'Z':
		return 'u'
	}
	return 0
}

// sameID compares as the table does: without regard to case and hyphens.
func sameID(a, b string) bool {
	return strings.EqualFold(strings.ReplaceAll(a, "-", ""), strings.ReplaceAll(b, "-", ""))
}

// A history remembers how far a file had been written at what moments.
type history struct {
	marks []moment
}

type moment struct {
	end   int64 // of the bytes that had arrived
	at    time.Time
	since time.Time // when those behind the moment before did not stand there yet
}

// maxMoments bounds a history. What is long ago is kept ever more coarsely.
const maxMoments = 512

func (h *history) note(end int64, at, since time.Time) {
	if n := len(h.marks); n > 0 && at.Sub(h.marks[n-1].at) < 2*time.Millisecond {
		h.marks[n-1] = moment{end, at, h.marks[n-1].since}
		return
	}
	if len(h.marks) == maxMoments {
		kept := h.marks[:0]
		for i, m := range h.marks {
			if i%2 == 0 || i >= maxMoments/2 {
				kept = append(kept, m)
			}
		}
		h.marks = kept
	}
	h.marks = append(h.marks, moment{end, at, since})
}

// before gives how many bytes surely stood in the file at t, or 0.
func (h *history) before(t time.Time) int64 {
	if i := sort.Search(len(h.marks), func(i int) bool { return h.marks[i].at.After(t) }); i > 0 {
		return h.marks[i-1].end
	}
	return 0
}

// momentOf gives the moment in which the byte at offset was read, as far as it is remembered.
func (h *history) momentOf(offset int64) (m moment, ok bool) {
	for i := len(h.marks) - 1; i >= 0 && h.marks[i].end > offset; i-- {
		m, ok = h.marks[i], true
	}
	return m, ok
}

// late gives by how much earlier the byte at offset may have been written than it was read.
func (h *history) late(offset int64) time.Duration {
	m, _ := h.momentOf(offset)
	if m.since.IsZero() {
		return 0
	}
	return max(0, m.at.Sub(m.since))
}

// stood says whether word stood in the file's last bytes before t: it cannot be the ID of something that began then.
func (s *source) stood(word string, t time.Time) bool {
	end := s.history.before(t)
	from := max(0, end-lookBehind)
	if end == 0 {
		return false
	}
	data := readAt(s.file, from, end-from)
	return bytes.Contains(data, []byte(word))
}

func readAt(f *tail.File, from, n int64) []byte {
	data := make([]byte, n)
	got, _ := f.ReadAt(data, from)
	return data[:got]
}
