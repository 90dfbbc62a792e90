package record

import (
	"bytes"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// build makes the record out of what was gathered.
func (s *Splitter) build(r *open) *Record {
	rec := &Record{Offset: r.offset, Length: r.end - r.offset, Arrived: r.arrived, Format: r.head.format}
	if s.options.Lines {
		rec.FirstLine, rec.LastLine = r.first, r.last
	}
	if r.kind == object1 && s.buildObject(rec, r) {
		return rec
	}
	rec.Text = r.wholeText()
	rec.Severity = r.severity()
	if r.head.format == "" {
		rec.Format = map[bool]string{true: "trace", false: "plain"}[r.trace > 0]
	}
	s.timeOf(rec, &r.head.stamp)
	rec.message = min(r.head.message, len(rec.Text))
	if r.head.format == "logfmt" {
		o, _ := parseLogfmt([]byte(rec.Text))
		rec.Time, rec.ZoneGiven = o.when(r.arrived, s.learned.Offset)
		s.fromObject(rec, &o)
	}
	if rec.Severity >= s.options.Min {
		rec.evidence()
	}
	return rec
}

func (r *open) wholeText() string {
	text := r.text
	if r.cut > 0 {
		mark := fmt.Sprintf("\n[... %d bytes cut ...]\n", r.cut)
		text = bytes.Join([][]byte{text[:min(len(text), keepHead)], text[min(len(text), keepHead):]}, []byte(mark))
	}
	return decode(text)
}

// decode gives text as UTF-8. A byte that is none is taken for Windows-1252, which old hosts write.
func decode(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	out := make([]byte, 0, len(b)+16)
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			if r = rune(b[0]); b[0] < 0xa0 {
				r = windows1252[b[0]-0x80]
			}
		}
		out = utf8.AppendRune(out, r)
		b = b[n:]
	}
	return string(out)
}

// windows1252 has what differs from Latin-1: the bytes 0x80 to 0x9f.
var windows1252 = [...]rune{
	'€', '\uFFFD', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\uFFFD', 'Ž', '\uFFFD',
	'\uFFFD', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\uFFFD', 'ž', 'Ÿ',
}

// severity is what the head says, else what the text shows.
func (r *open) severity() Severity {
	switch {
	case r.head.access:
		return Default
	case r.head.level && r.head.wrapper:
		return r.insideWrapper()
	case r.head.level:
		return r.lookInside()
	case r.trace > 0 && r.sign:
		return Error
	}
	if r.kind == unheaded {
		if sev, ok := messageLevel(r.text); ok {
			return sev
		}
	}
	if namesException(r.firstMessage()) {
		return Error
	}
	return Default
}

func (r *open) firstMessage() []byte {
	b := r.text[min(r.head.message, len(r.text)):]
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		b = b[:i]
	}
	return b
}

// namesException says whether a message is an exception with its text: "LogicException: ...", wherever in the line.
func namesException(b []byte) bool {
	for i := 0; i < len(b) && i < 512; i++ {
		if (i == 0 || isSpace(b[i-1])) && exceptionName(b[i:]) > 0 && bytes.IndexByte(b[i:], ':') > 0 {
			return true
		}
	}
	return false
}

// insideWrapper is for heads whose level the app has no say in: what it wrote decides, where it says so.
func (r *open) insideWrapper() Severity {
	message := r.firstMessage()
	if sev, ok := messageLevel(message); ok {
		return sev
	}
	if h := parseHead(bytes.TrimLeft(message, " ")); h.level {
		return h.sev
	}
	if r.head.sev < Error && (r.trace > 0 || namesException(message)) {
		return Error
	}
	return r.head.sev
}

// lookInside takes back nginx's [error] where PHP only warns through it.
func (r *open) lookInside() Severity {
	at := bytes.Index(r.text, []byte("FastCGI sent in stderr: \""))
	if at < 0 || r.head.sev != Error {
		return r.head.sev
	}
	worst, found := Default, false
	for _, message := range bytes.Split(r.text[at+len("FastCGI sent in stderr: \""):], []byte("PHP message: ")) {
		if len(bytes.TrimSpace(message)) == 0 {
			continue
		}
		sev, ok := messageLevel(message)
		if !ok {
			return r.head.sev
		}
		found, worst = true, max(worst, sev)
	}
	if !found {
		return r.head.sev
	}
	return worst
}

// timeOf sets the record's time. A stamp in the future is one of a clock or a zone that is off: the arrival stands for it.
func (s *Splitter) timeOf(rec *Record, st *stamp) {
	if st.kind == "" {
		return
	}
	s.learned.zone(st, rec.Arrived)
	rec.Time, rec.ZoneGiven = st.time(rec.Arrived, s.learned.Offset), st.zoned
	rec.clamp()
}

// learnZone takes from a record that is not wanted what its stamp says of the zone.
func (s *Splitter) learnZone(r *open) {
	if r.head.stamp.kind != "" {
		s.learned.zone(&r.head.stamp, r.arrived)
	}
}

func (rec *Record) clamp() {
	if !rec.Arrived.IsZero() && rec.Time.Sub(rec.Arrived) > time.Minute {
		rec.Time = rec.Arrived
	}
}

// buildObject fills in a JSON record. ok is false where it is none after all.
func (s *Splitter) buildObject(rec *Record, r *open) bool {
	o, end := parseObject(r.text)
	if end < 0 {
		return false
	}
	rec.Format = "json"
	rec.Fields = []byte(decode(r.text[:end]))
	sev, ok := o.severity()
	text := o.text(r.text[:end])
	if inner := bytes.TrimSpace([]byte(text)); len(inner) > 1 && inner[0] == '{' && isObjectLine(inner) { // JSON in a JSON string
		if in, _ := parseObject(inner); in.levelRank > 0 || in.messageRank > 0 {
			if inSev, inOK := in.severity(); inOK {
				sev, ok = inSev, true
			}
			text = in.text(inner)
			in.ids = append(in.ids, o.ids...)
			if !in.time.some() {
				in.time, in.timeRank = o.time, o.timeRank
			}
			o = in
		}
	}
	switch {
	case ok && sev >= Error && o.isAccess():
		sev = Default
	case !ok && o.hints&hintErr != 0 && (o.errMsg.some() || o.errType.some() || o.stack.some()):
		sev = Error
	case !ok && o.stack.some() && bytes.IndexByte(o.stack.raw, '\\') > 0:
		sev = Error
	}
	rec.Severity = sev
	if r.lines > 1 && len(r.text) > end {
		text += string(r.text[end:])
	}
	if len(text) > MaxText {
		text = text[:keepHead] + fmt.Sprintf("\n[... %d bytes cut ...]\n", len(text)-MaxText) + text[len(text)-keepTail:]
	}
	rec.Text = decode([]byte(text))
	s.objectTime(rec, &o)
	if rec.Severity >= s.options.Min {
		s.fromObject(rec, &o)
		rec.evidence()
	}
	return true
}

func (s *Splitter) objectTime(rec *Record, o *object) {
	if t, zoned := o.when(rec.Arrived, 0); !t.IsZero() && !zoned && !rec.Arrived.IsZero() {
		s.learned.arrivedAt(t, rec.Arrived)
	}
	if rec.Time, rec.ZoneGiven = o.when(rec.Arrived, s.learned.Offset); !rec.Time.IsZero() {
		rec.clamp()
	}
}

// fromObject takes over what the members name.
func (s *Splitter) fromObject(rec *Record, o *object) {
	rec.Thread = o.thread.text()
	if pid, ok := o.pid.int(); ok {
		rec.PID = int(pid)
	}
	rec.Method = strings.ToUpper(o.method.text())
	rec.Path, rec.Query, _ = strings.Cut(pathOf(o.path.text()), "?")
	rec.Client = o.addr()
	if status, ok := o.status.int(); ok && status >= 100 && status < 600 {
		rec.Status = int(status)
	}
	for _, id := range o.ids {
		if text := id.text(); text != "" && len(text) <= 512 && len(rec.IDs) < 16 {
			rec.IDs = append(rec.IDs, text)
		}
	}
}
