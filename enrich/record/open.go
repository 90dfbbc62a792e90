package record

import (
	"bytes"
	"time"
)

// A line is one of the file's, unwrapped.
type line struct {
	offset, end int64 // where its bytes stand, without the line end
	number      int64
	last        int64 // the number of its last part, where a runtime cut it
	text        []byte
	sign        bool // something in it may say "error"
	arrived     time.Time
}

// with gives the line its whole text.
func (l line) with(text []byte) line {
	l.text, l.sign = text, candidate(text, 0) >= 0
	return l
}

// A part is a line within an open record.
type part struct {
	offset, end, number, last int64
	start                     int // where its text begins in the record's
	sign                      bool
}

type kind byte

const (
	stamped  kind = iota // it has a head
	object1              // a JSON object on one line
	pretty               // a JSON object over lines, not whole yet
	unheaded             // no head: only the line's look tells what belongs to it
)

// maxParts bounds how far back an open record can be taken apart again.
const maxParts = 200

// open is a record that may go on.
type open struct {
	kind    kind
	head    head
	text    []byte
	cut     int // bytes taken out of the text's middle
	parts   []part
	lines   int
	offset  int64
	end     int64
	first   int64
	last    int64
	arrived time.Time
	sign    bool
	blanks  int

	language language
	frames   int
	depth    int  // of brackets left open
	guess    int  // from this part on the lines belong to it only if a frame follows; 0: none
	soft     bool // lines without a head followed a head below Warning
	done     bool // python: the exception's line was seen
	trace    int  // the part where its stack trace begins, +1
	closed   bool // it was given out or passed over: what continues it now is counted
	given    bool
}

// begin opens a record, in the memory of one before it where there is some.
func (s *Splitter) begin(l line, h head, k kind) *open {
	r := s.spare
	if s.spare = nil; r == nil {
		r = new(open)
	}
	*r = open{kind: k, head: h, offset: l.offset, first: l.number, arrived: l.arrived, text: r.text[:0], parts: r.parts[:0]}
	r.add(l, l.text)
	return r
}

// reuse keeps the memory of a record that was left out of the open ones, unless that is much.
func (s *Splitter) reuse(r *open) {
	if cap(r.text) <= 16<<10 {
		s.spare = r
	}
}

const (
	keepHead = MaxText * 3 / 4
	keepTail = MaxText - keepHead
)

// add takes a line in. text is what of it belongs to the record's text.
func (r *open) add(l line, text []byte) {
	for ; r.blanks > 0; r.blanks-- {
		r.text = append(r.text, '\n')
	}
	if r.lines > 0 {
		r.text = append(r.text, '\n')
	}
	if len(r.parts) < maxParts {
		r.parts = append(r.parts, part{l.offset, l.end, l.number, l.last, len(r.text), l.sign})
	}
	r.lines++
	r.last = l.last
	r.append(text)
	r.end, r.sign = l.end, r.sign || l.sign
}

// addBlank takes a blank line in. One behind the last line is the record's, but not its text's.
func (r *open) addBlank(l line) {
	r.blanks++
	if !r.closed {
		r.end, r.last = l.end, l.last
	}
}

// extend takes the rest of the last line in.
func (r *open) extend(l line) {
	r.append(l.text)
	r.end, r.sign = l.end, r.sign || l.sign
}

// append keeps the text's head and tail, so that a record is never much larger than MaxText.
func (r *open) append(text []byte) {
	if room := MaxText + keepTail - len(r.text); len(text) > room && len(text) > keepTail {
		fill := max(0, keepHead-len(r.text))
		r.text = append(r.text, text[:fill]...)
		r.cut += len(text) - fill - keepTail
		text = text[len(text)-keepTail:]
	}
	r.text = append(r.text, text...)
	if over := len(r.text) - MaxText; over > keepTail {
		r.text = append(r.text[:keepHead], r.text[len(r.text)-keepTail:]...)
		r.cut += over
	}
}

// splitAt takes the parts from n on away, and gives them back as lines.
func (r *open) splitAt(n int) []line {
	var lines []line
	for i := n; i < len(r.parts); i++ {
		p := r.parts[i]
		end := len(r.text)
		if i+1 < len(r.parts) {
			end = r.parts[i+1].start - 1
		}
		text := bytes.Clone(r.text[min(p.start, len(r.text)):end])
		lines = append(lines, line{p.offset, p.end, p.number, p.last, text, p.sign, r.arrived})
	}
	last := r.parts[n-1]
	r.text = bytes.TrimRight(r.text[:r.parts[n].start], "\n")
	r.parts = r.parts[:n]
	r.lines, r.end, r.last, r.blanks, r.guess = n, last.end, last.last, 0, 0
	r.sign = false
	for _, p := range r.parts {
		r.sign = r.sign || p.sign
	}
	return lines
}

// goesOn says whether a line that has no head belongs to a record that has none either.
func (r *open) goesOn(b []byte, c class, lang language) bool {
	switch {
	case c == indent && r.blanks == 0, r.depth > 0:
		return true
	case c == indent:
		return r.language != 0 && (r.language != python || !r.done)
	case r.language == python && !r.done:
		return c != starts || lang != python || r.lines < 2 || r.done
	}
	switch c {
	case frame:
		return lang != golang || r.language == golang || r.blanks == 0
	case starts:
		return r.startGoesOn(b, lang)
	}
	return r.plainGoesOn(b)
}

// startGoesOn says whether the first line of a stack trace belongs to the record that is open.
func (r *open) startGoesOn(b []byte, lang language) bool {
	switch {
	case r.language == noLanguage: // a message, then Python's trace
		return (lang == python || r.head.level && r.head.sev >= Warning && lang != php) && r.lines == 1 && r.blanks == 0
	case r.language == node || r.language == dart && r.frames == 0:
		return true
	case r.language == golang && lang == golang:
		return r.frames == 0 && bytes.HasPrefix(bytes.TrimLeft(b, "\t"), []byte("panic: "))
	case r.language == python:
		return bytes.HasPrefix(r.lastLine(), []byte("During handling")) || bytes.HasPrefix(r.lastLine(), []byte("The above exception"))
	case r.language == java && r.frames == 0:
		return lang == python || bytes.HasSuffix(r.lastLine(), []byte("nested exception is:"))
	case r.language == ruby: // the cause, or the trace of a thread that ended
		return lang == ruby && r.blanks == 0
	case r.language == rust:
		return r.frames == 0 && lang != rust
	}
	return false
}

func (r *open) lastLine() []byte {
	if len(r.parts) == 0 || len(r.parts) == maxParts {
		return r.text[bytes.LastIndexByte(r.text, '\n')+1:]
	}
	return r.text[min(len(r.text), r.parts[len(r.parts)-1].start):]
}

func (r *open) plainGoesOn(b []byte) bool {
	switch {
	case closesBrace(b) && r.language != 0 && r.blanks == 0:
		return true
	case r.language == golang:
		return goLine(b) || r.frames == 0
	case r.language == python:
		return r.blanks == 0 && pythonGoesOn(b)
	case r.language == node:
		return r.frames == 0
	case r.language == rust:
		return r.lines == 1
	case r.language == java || r.language == dart:
		return r.frames == 0 && r.lines < 40
	case r.language == ruby || r.language == php:
		return r.frames == 0 && r.lines < 40
	}
	return false
}

// guessing says whether plain lines are held only in the hope of a frame.
func (r *open) guessing() bool {
	switch r.language {
	case java, dart, golang, ruby, php:
		return r.frames == 0
	}
	return false
}

// look takes in what a line tells of how the record goes on. It is called before the line is added.
func (r *open) look(b []byte, c class, lang language) {
	if r.language == python && !r.done && lang != python && c == starts {
		c = plain // the exception's own line, which ends the traceback
	}
	switch c {
	case starts:
		if r.trace == 0 {
			r.trace = len(r.parts) + 1
		}
		if r.language = lang; lang == python {
			r.done = false
		}
		r.depth, r.guess = 0, 0
	case indent:
		if len(bytes.Trim(b, " \t^~")) == 0 { // what points at the source line above it
			r.guess = 0
		}
	case frame:
		if r.frames++; r.trace == 0 {
			r.trace = len(r.parts)
		}
		if r.language == noLanguage || lang == golang {
			r.language = lang
		}
		r.guess = 0
		if lang == python {
			r.done = bytes.HasPrefix(b, []byte("During")) || bytes.HasPrefix(b, []byte("The above"))
		}
	}
	if r.language == python && c == plain && !r.done {
		r.done, r.depth = true, max(0, balance(b))
		return
	}
	switch {
	case r.depth > 0 && c != starts:
		r.depth = max(0, r.depth+balance(b))
		if r.lines > 400 {
			r.depth = 0
		}
	case r.language == java && opensBrace(b):
		r.depth = 1
	case r.language == python && r.done && c == plain:
		r.depth = max(0, balance(b))
	}
	if r.guess == 0 && c == plain && r.kind == unheaded && r.guessing() && r.lines > 0 {
		r.guess = len(r.parts)
	}
}
