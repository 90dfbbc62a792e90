package record

import (
	"bytes"
	"encoding/binary"
	"unicode/utf16"
)

// feed is one block on its way through.
type feed struct {
	s         *Splitter
	data      []byte
	at        int64 // the offset of data[0]
	pos       int
	candidate int // the next candidate's place; -1: none; -2: not looked for yet
}

func (f *feed) run() {
	s := f.s
	everything := s.options.All || s.options.Min < Error || s.options.Head != nil || s.options.UTF16 != nil
	for f.pos < len(f.data) {
		if everything || s.learned.Seen < learnBytes || s.busy() || s.midline {
			f.line()
			continue
		}
		at := f.nextCandidate()
		if at < 0 {
			f.skipTo(f.lastRecord(len(f.data)))
			for f.pos < len(f.data) {
				f.line()
			}
			return
		}
		f.skipTo(f.lastRecord(at))
		for f.pos <= at {
			f.line()
		}
	}
}

// busy says whether a record is open that may be wanted, or of which this cannot be said yet.
func (s *Splitter) busy() bool {
	for i := range s.streams {
		st := &s.streams[i]
		if st.partial != nil {
			return true
		}
		for _, r := range st.open {
			if !r.closed && r.sign || r.given {
				return true
			}
		}
	}
	return false
}

func (f *feed) nextCandidate() int {
	if f.candidate == -2 || f.candidate >= 0 && f.candidate < f.pos {
		f.candidate = candidate(f.data, f.pos)
	}
	return f.candidate
}

// backLines and backBytes bound how far a record's head is looked for before a candidate.
const (
	backLines = 100
	backBytes = 32 << 10
)

// lastRecord gives where a record surely begins at or before the line that holds data[at-1] or data[at].
func (f *feed) lastRecord(at int) int {
	start := f.lineStart(min(at, len(f.data)-1))
	stream, _ := unwrap(lineAt(f.data, start))
	for n := 0; start > f.pos && n < backLines && at-start < backBytes; n++ {
		if f.s.surelyBegins(lineAt(f.data, start), stream.errors) {
			return start
		}
		start = f.lineStart(start - 1)
	}
	return start
}

func (f *feed) lineStart(at int) int {
	return max(f.pos, bytes.LastIndexByte(f.data[:at], '\n')+1)
}

func lineAt(data []byte, start int) []byte {
	end := bytes.IndexByte(data[start:], '\n')
	if end < 0 {
		return data[start:]
	}
	return data[start : start+end]
}

// skipTo passes over bytes that hold no candidate and no record that is open.
func (f *feed) skipTo(pos int) {
	if pos == f.pos {
		return
	}
	for i := range f.s.streams {
		for _, r := range f.s.streams[i].open {
			r.closed = true
			f.s.reuse(r)
		}
		f.s.streams[i].open = f.s.streams[i].open[:0]
	}
	if f.s.options.Lines {
		f.s.number += int64(bytes.Count(f.data[f.pos:pos], []byte{'\n'}))
	}
	f.pos = pos
}

// line takes the next line of the block.
func (f *feed) line() {
	s := f.s
	start := f.pos
	l := line{offset: f.at + int64(start), number: s.number, last: s.number, arrived: s.arrived}
	if s.options.UTF16 != nil {
		size := 0
		l.text, size, f.pos = wideLine(f.data, start, s.options.UTF16)
		l.end, l.sign = l.offset+int64(size), candidate(l.text, 0) >= 0
	} else {
		l.text = lineAt(f.data, start)
		f.pos += len(l.text) + 1
		l.sign = f.candidate != -1 && f.signIn(start, f.pos)
		l.text = bytes.TrimSuffix(l.text, []byte{'\r'})
		l.end = l.offset + int64(len(l.text))
	}
	if l.offset == 0 {
		l.text = bytes.TrimPrefix(l.text, []byte("\uFEFF"))
	}
	s.learned.Seen = min(s.learned.Seen+f.pos-start, learnBytes)
	if s.midline {
		s.midline = false
		s.tail(l)
	} else {
		s.unwrap(l)
	}
	s.number++
}

// wideLine decodes the line of UTF-16 that begins at data[at]. size is the number of its bytes without the line end.
func wideLine(data []byte, at int, order binary.ByteOrder) (text []byte, size, next int) {
	var units []uint16
	i := at
	for ; i+1 < len(data); i += 2 {
		unit := order.Uint16(data[i:])
		if unit == '\n' {
			break
		}
		units = append(units, unit)
	}
	next = min(i+2, len(data))
	if n := len(units); n > 0 && units[n-1] == '\r' {
		units, i = units[:n-1], i-2
	}
	return []byte(string(utf16.Decode(units))), i - at, next
}

func (f *feed) signIn(start, end int) bool {
	if f.candidate < start {
		f.candidate = candidate(f.data, start)
	}
	return f.candidate >= 0 && f.candidate < end
}

// surelyBegins says whether a line begins a record of the stream whatever stands before it.
func (s *Splitter) surelyBegins(b []byte, errors bool) bool {
	b = bytes.TrimSuffix(b, []byte{'\r'})
	if p, ok := unwrap(b); ok {
		if b = p.text; p.errors != errors {
			return false
		}
	}
	if b = stripColour(b); len(b) == 0 || isSpace(b[0]) {
		return false
	}
	if isObjectLine(b) {
		return true
	}
	h := s.parseHead(b)
	return h.some() && s.learned.begins(&h) && (!h.stampless() || s.learned.count(h.shape) >= max(established, s.learned.most())) && !(h.writer != "" && tracesOn(b[min(h.message, len(b)):]))
}

// parseHead is the function of this name, and remembers the line: a candidate's is read when its record's begin is looked for,
// and again when the record is cut. The bytes are the same ones as long as their block is.
func (s *Splitter) parseHead(b []byte) head {
	if len(b) == 0 || len(b) != len(s.lastLine) || &b[0] != &s.lastLine[0] {
		s.lastHead, s.lastLine = parseHead(b), b
	}
	return s.lastHead
}

// tracesOn says whether a message that stands behind a head of its own only goes on with the writer's stack trace.
func tracesOn(message []byte) bool {
	c, _ := classify(message)
	return c != plain
}
