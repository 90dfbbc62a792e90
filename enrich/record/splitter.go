package record

import (
	"bytes"
	"time"
)

// A Splitter cuts one file into records. It is for one generation of the file and one goroutine.
type Splitter struct {
	options Options
	learned learned
	streams [2]stream
	next    int64 // the offset behind what was fed
	number  int64 // of the next line
	midline bool  // what was fed last had no line end
	arrived time.Time
	latest  time.Time // what the last head's stamp said, in its own zone
	emit    func(*Record)

	lastLine []byte // what parseHead read last; nil between two blocks
	lastHead head
	spare    *open // one that nothing refers to any more

	continued int64
}

// stream is what one writer's lines go through: standard output and standard error have one each where they are told apart.
type stream struct {
	open    []*open // the last one is the one that lines without a head go to
	partial []byte  // parts of a wrapped line
	begin   line    // its first part
}

// New begins a file. learned is what Learned gave for the same file before, or nil.
func New(options Options, learned []byte) *Splitter {
	s := &Splitter{options: options}
	s.learned.decode(learned)
	return s
}

// Continued counts the lines that came after their record was closed by Flush and given out.
func (s *Splitter) Continued() int64 { return s.continued }

// Learned is what is known of the file, in at most 4 KiB, for a checkpoint: a second reading from a record's start
// that begins with it cuts the same records.
func (s *Splitter) Learned() []byte {
	return s.learned.encode()
}

// Open says where the first record begins that is not closed yet. Its bytes are undecided.
func (s *Splitter) Open() (offset int64, ok bool) {
	for i := range s.streams {
		st := &s.streams[i]
		if st.partial != nil && (!ok || st.begin.offset < offset) {
			offset, ok = st.begin.offset, true
		}
		for _, r := range st.open {
			if !r.closed && (!ok || r.offset < offset) {
				offset, ok = r.offset, true
			}
		}
	}
	return offset, ok
}

// learnBytes is how much of a file is read line by line before blocks are passed over.
const learnBytes = 32 << 10

// Feed takes the next block of whole lines, which stands at offset. emit is called for each record that is closed by it,
// before Feed returns. The block may be used again afterwards.
func (s *Splitter) Feed(offset int64, data []byte, arrived time.Time, emit func(*Record)) {
	if len(data) == 0 {
		return
	}
	s.emit, s.arrived = emit, arrived
	if offset != s.next && s.next != 0 {
		s.close(true)
		s.midline = false
	}
	f := feed{s: s, data: data, at: offset, candidate: -2}
	f.run()
	s.next = offset + int64(len(data))
	s.midline = data[len(data)-1] != '\n' && s.options.UTF16 == nil
	s.lastLine = nil
	s.emit = nil
}

// Flush closes what is open: after 300 ms of silence behind a line end, at rotation, at the end.
func (s *Splitter) Flush(emit func(*Record)) {
	s.emit = emit
	s.close(false)
	s.emit = nil
}

func (s *Splitter) close(forget bool) {
	for i := range s.streams {
		st := &s.streams[i]
		if st.partial != nil {
			s.endPartial(st)
		}
		for _, r := range st.open {
			s.finish(st, r)
		}
		if forget {
			st.open = st.open[:0]
		} else if n := len(st.open); n > 1 {
			st.open = append(st.open[:0], st.open[n-1])
		}
	}
}

// tail takes the rest of a line that was too long for one block.
func (s *Splitter) tail(l line) {
	s.number--
	st := &s.streams[0]
	if n := len(st.open); n == 0 || st.open[n-1].closed && !st.open[n-1].given {
		l.number, l.last = s.number, s.number
		s.unwrap(l)
	} else if r := st.open[n-1]; !s.late(r) {
		r.extend(l)
	}
}

func (s *Splitter) unwrap(l line) {
	st := &s.streams[0]
	p, ok := unwrap(l.text)
	if !ok {
		if st.partial != nil {
			s.endPartial(st)
		}
		l.text = stripColour(l.text)
		s.take(st, l)
		return
	}
	if p.errors {
		st = &s.streams[1]
	}
	if l.text = p.text; st.partial != nil || p.partial {
		if st.partial == nil {
			st.begin, st.partial = l, []byte{}
		}
		st.begin.end, st.begin.last = l.end, l.last
		if room := MaxText - len(st.partial); room >= 0 {
			st.partial = append(st.partial, p.text[:min(room, len(p.text))]...)
		}
		if p.partial {
			return
		}
		l, st.partial = st.begin.with(st.partial), nil
	}
	l.text = stripColour(l.text)
	s.take(st, l)
}

// endPartial gives a part whose rest never came.
func (s *Splitter) endPartial(st *stream) {
	l := st.begin.with(stripColour(st.partial))
	st.partial = nil
	s.take(st, l)
}

// take decides where a line belongs.
func (s *Splitter) take(st *stream, l line) {
	var r *open
	if n := len(st.open); n > 0 {
		r = st.open[n-1]
	}
	c, lang := classify(l.text)
	if c == blank {
		if r != nil {
			r.addBlank(l)
		}
		return
	}
	if r != nil && r.kind == pretty && s.takePretty(st, r, l) {
		return
	}
	if l.text[0] == '{' {
		if s.takeObject(st, r, l) {
			return
		}
	}
	h := s.headOf(l.text)
	if h.some() {
		s.learned.see(&h)
		if (!h.stampless() || (c == plain || c == starts && lang == php) && (r == nil || r.mayEndAtLevel(&h, &s.learned))) && (s.learned.begins(&h) || s.isNow(&h)) {
			s.takeHead(st, l, h)
			return
		}
	}
	if r == nil {
		s.start(st, l, head{}, unheaded, c, lang)
		return
	}
	s.takeRest(st, r, l, c, lang)
}

// onOneLine says whether a logger escapes line ends, so that what follows is another's.
func (h *head) onOneLine() bool { return h.access || h.format == "logfmt" }

// mayEndAtLevel says whether a line that only begins with a level can begin the next record.
func (r *open) mayEndAtLevel(h *head, m *learned) bool {
	if r.kind != stamped {
		return !(r.guessing() && r.lines < 40)
	}
	return r.head.stampless() || r.head.level && r.head.sev < Warning && (m.mixed() || h.sev >= Warning)
}

func (h *head) stampless() bool { return h.stamp.kind == "" && !h.strong }

// takeHead takes a line with a head: a new record, or one more line of its writer's stack trace.
func (s *Splitter) takeHead(st *stream, l line, h head) {
	if h.stamp.full() {
		s.latest = h.stamp.time(s.arrived, 0)
	}
	if h.writer != "" {
		message := l.text[min(h.message, len(l.text)):]
		if r := st.of(h.writer); r != nil && r.takesMessage(message, &h) {
			c, lang := classify(message)
			if c == blank {
				r.addBlank(l)
				return
			}
			if s.learned.Repeats = min(s.learned.Repeats+1, 100); !s.late(r) {
				r.look(message, c, lang)
				r.add(l, message)
			}
			return
		}
	}
	k := stamped
	if h.stampless() && s.learned.count(h.shape) < established {
		k = unheaded
	}
	c, lang := plain, noLanguage
	if h.message < len(l.text) && !h.access {
		if c, lang = classify(bytes.TrimLeft(l.text[h.message:], " \t")); c != starts {
			c, lang = plain, noLanguage
		}
	}
	s.start(st, l, h, k, c, lang)
}

// isNow says whether a line opens with a stamp that goes on from the one of the last head, but for zones. A log may have heads
// of more than one shape; the dates in a record's text are those of something else.
func (s *Splitter) isNow(h *head) bool {
	if h.form == 0 || s.latest.IsZero() {
		return false
	}
	passed := h.stamp.time(s.latest, 0).Sub(s.latest)
	passed -= passed.Round(time.Hour)
	return passed >= -2*time.Second && passed <= 10*time.Second
}

func (st *stream) of(writer string) *open {
	for i := len(st.open) - 1; i >= 0; i-- {
		if st.open[i].head.writer == writer {
			return st.open[i]
		}
	}
	return nil
}

// takesMessage says whether a message behind a head of its own goes on with the record of the same writer.
func (r *open) takesMessage(message []byte, h *head) bool {
	if d := h.stamp.sec - r.head.stamp.sec; h.stamp.min == r.head.stamp.min && d > 1 || r.head.sev != h.sev {
		return false
	}
	c, lang := classify(message)
	if c == blank {
		return r.language != 0 || r.lines == 1
	}
	if c == starts && lang == python && r.lines == 1 && r.language == 0 {
		return true
	}
	return (c == indent || c == frame || r.language == python) && r.goesOn(message, c, lang)
}

// takeObject takes a line that begins with a brace. It may be JSON's, or the dump of an object within a record.
func (s *Splitter) takeObject(st *stream, r *open, l line) bool {
	if isObjectLine(l.text) {
		if r != nil && r.kind == stamped && !r.closed && !s.learned.json() && isDump(l.text) {
			return false
		}
		s.learned.Objects = min(s.learned.Objects+1, 100)
		s.start(st, l, head{format: "json"}, object1, plain, 0)
		return true
	}
	if r != nil && r.kind == stamped && !r.closed && !s.learned.json() || r != nil && r.depth > 0 && !r.closed {
		return false
	}
	if text := bytes.TrimRight(l.text, " "); len(text) == 1 || bytes.HasSuffix(text, []byte(",")) || bytes.HasSuffix(text, []byte("{")) || bytes.HasSuffix(text, []byte("[")) {
		s.start(st, l, head{}, pretty, plain, 0)
		st.open[len(st.open)-1].depth = depthOf(0, l.text)
		return true
	}
	return false
}

// isDump says whether an object is no record of a logger: it has neither level nor time.
func isDump(b []byte) bool {
	o, _ := parseObject(b)
	return o.levelRank == 0 && o.timeRank == 0
}

// depthOf counts braces and brackets outside of strings.
func depthOf(depth int, b []byte) int {
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case '"':
			end := stringEnd(b, i)
			if end < 0 {
				return depth
			}
			i = end - 1
		}
	}
	return depth
}

// takePretty goes on with an object over lines, until its braces are closed. A head ends it: it was no object then.
func (s *Splitter) takePretty(st *stream, r *open, l line) bool {
	if r.depth <= 0 || r.closed || r.lines > 5000 {
		r.kind = object1
		return false
	}
	if h := parseHead(l.text); h.some() && h.strong && h.format != "logfmt" || isObjectLine(l.text) && r.lines == 1 {
		r.kind = unheaded
		return false
	}
	r.add(l, l.text)
	if r.depth = depthOf(r.depth, l.text); r.depth <= 0 {
		r.kind, r.head.format = object1, "json"
	}
	return true
}

// takeRest takes a line without a head while a record is open.
func (s *Splitter) takeRest(st *stream, r *open, l line, c class, lang language) {
	if r.kind == unheaded && r.closed && r.apartLate(c) {
		s.start(st, l, head{}, unheaded, c, lang)
		return
	}
	switch {
	case r.kind == object1 || r.head.onOneLine():
		if !r.head.access && (c == frame || c == indent) && r.blanks == 0 && lang != golang && r.isTrouble() {
			break
		}
		s.start(st, l, head{}, unheaded, c, lang)
		return
	case r.kind == stamped:
		if at := s.apart(r, l.text, c, lang); at >= 0 {
			s.splitOff(st, r, at, l, c, lang)
			return
		}
	case !r.goesOn(l.text, c, lang) && !((c == plain || c == indent) && s.learned.json() && r.trace > 0 && r.blanks < 2 && r.lines < maxParts):
		s.replay(st, r, l)
		return
	}
	if s.late(r) { // the record's end is still to be known
		r.look(l.text, c, lang)
		r.lines, r.blanks = r.lines+1, 0
		return
	}
	if r.kind == stamped && c == plain && r.lines == 1 && !r.head.level {
		if sev, ok := messageLevel(l.text); ok { // JUL writes the level on the second line
			r.head.sev, r.head.level = sev, true
		}
	}
	if r.kind == stamped && (c == starts || c == indent && exceptionName(bytes.TrimLeft(l.text, " \t")) > 0) && r.lines == 1 {
		s.learned.traceUnder(c == starts)
	}
	if r.kind == stamped && c == plain && r.head.level && r.head.sev < Warning {
		r.soft = true
	}
	r.look(l.text, c, lang)
	r.add(l, l.text)
}

// isTrouble says whether a record on one line may have a stack trace below it.
func (r *open) isTrouble() bool {
	if r.kind != object1 {
		return r.head.level && r.head.sev >= Warning
	}
	o, _ := parseObject(r.text)
	sev, _ := o.severity()
	return sev >= Warning
}

// late counts a line that comes after its record was given out.
func (s *Splitter) late(r *open) bool {
	if r.closed {
		s.continued++
	}
	return r.closed
}

// apart says from which part on what stands under a head is a record of its own, together with the line b; the number of
// parts means from b on, -1 that it belongs to the head.
func (s *Splitter) apart(r *open, b []byte, c class, lang language) int {
	if r.closed {
		if r.apartLate(c) {
			return len(r.parts)
		}
		return -1
	}
	if c == starts && bytes.HasPrefix(b, []byte("Exception in thread")) && r.frames > 0 {
		return len(r.parts)
	}
	if c == plain {
		if s.learned.mixed() && r.head.level && r.head.sev < Warning && r.lines == 1 {
			return len(r.parts)
		}
		return -1
	}
	if c != starts || r.language == python && !r.done {
		return -1
	}
	switch {
	case s.learned.indentsTraces() && lang == java:
		return len(r.parts)
	case !r.head.level || r.head.sev >= Warning || len(r.parts) == maxParts:
		return -1
	case !r.soft:
		if lang == java && saysError(r.text) {
			return -1
		}
		return len(r.parts)
	case lang == python: // the line before it is its message
		return len(r.parts) - 1
	}
	return len(r.parts)
}

// apartLate says whether a line that comes after its record was closed is a record of its own: an error must not be lost
// because the line before it was written long ago and was of no interest.
func (r *open) apartLate(c class) bool {
	if r.given {
		return c == starts && r.frames > 0
	}
	return c == starts || c == plain || c == frame && r.frames == 0
}

// saysError says whether a message announces an exception although its level is low.
func saysError(b []byte) bool {
	low := bytes.ToLower(b[:min(len(b), 512)])
	return bytes.HasSuffix(bytes.TrimSpace(low), []byte(":")) || bytes.Contains(low, []byte("error")) || bytes.Contains(low, []byte("exception")) ||
		bytes.Contains(low, []byte("fail"))
}

// splitOff closes the record before part n and begins a new one with what follows.
func (s *Splitter) splitOff(st *stream, r *open, n int, l line, c class, lang language) {
	var lines []line
	if n < len(r.parts) {
		lines = r.splitAt(n)
	}
	s.learned.Mixed = min(s.learned.Mixed+1, 100)
	first := true
	for _, earlier := range append(lines, l) {
		c, lang := classify(earlier.text)
		if first {
			s.start(st, earlier, head{}, unheaded, c, lang)
			first = false
			continue
		}
		s.takeRest(st, st.open[len(st.open)-1], earlier, c, lang)
	}
}

// replay closes a record without a head before the line l. Lines that were only guessed to belong to it go on their own.
func (s *Splitter) replay(st *stream, r *open, l line) {
	if r.guess > 0 && r.frames == 0 && r.guess < len(r.parts) && len(r.parts) < maxParts && !r.closed {
		lines := r.splitAt(r.guess)
		s.finish(st, r)
		st.open = st.open[:0]
		for _, earlier := range lines {
			s.take(st, earlier)
		}
		s.take(st, l)
		return
	}
	c, lang := classify(l.text)
	s.start(st, l, head{}, unheaded, c, lang)
}

// start begins a record and closes what can get nothing more.
func (s *Splitter) start(st *stream, l line, h head, k kind, c class, lang language) {
	if n := len(st.open); n > 0 {
		if r := st.open[n-1]; r.kind == unheaded && r.guess > 0 && r.frames == 0 && r.guess < len(r.parts) && len(r.parts) < maxParts && !r.closed {
			lines := r.splitAt(r.guess)
			s.finish(st, r)
			st.open = st.open[:0]
			for _, earlier := range lines {
				s.take(st, earlier)
			}
		}
	}
	keep := st.open[:0]
	for _, r := range st.open {
		if (r.head.perLine || s.learned.Repeats > 1) && r.head.writer != "" && r.head.writer != h.writer && len(keep) < 16 {
			keep = append(keep, r)
			continue
		}
		s.finish(st, r)
		s.reuse(r)
	}
	r := s.begin(l, h, k)
	r.parts[0].start = 0
	if k == unheaded || c == starts {
		r.lines = 0
		saved := r.parts
		r.parts = r.parts[:0]
		r.look(l.text[min(h.message, len(l.text)):], c, lang)
		r.parts, r.lines = saved, 1
	}
	st.open = append(keep, r)
}

// finish gives the record out where it is wanted.
func (s *Splitter) finish(st *stream, r *open) {
	if r.closed {
		return
	}
	if r.guess > 0 && r.frames == 0 && r.guess < len(r.parts) && len(r.parts) < maxParts {
		lines := r.splitAt(r.guess)
		s.finish(st, r)
		rest := &stream{}
		for _, l := range lines {
			s.take(rest, l)
		}
		for _, r := range rest.open {
			s.finish(rest, r)
		}
		return
	}
	r.closed = true
	if !s.options.All && s.options.Min >= Error && !r.sign { // nothing in it says "error"
		s.learnZone(r)
		return
	}
	rec := s.build(r)
	if s.options.All || rec.Severity >= s.options.Min && rec.Severity > 0 || s.options.Min == 0 {
		r.given = true
		s.emit(rec)
	}
}
