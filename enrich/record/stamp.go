package record

import (
	"time"
)

// A stamp is a point in time as a line writes it, with what it leaves out.
type stamp struct {
	kind  string // the shape's name, e.g. "iso"; "" is no stamp
	end   int    // where it ends in the line
	year  int    // 0: not written
	month int    // 0: the time of day alone
	day   int
	// dayMonth is set where D/M and M/D cannot be told apart.
	dayMonth       bool
	hour, min, sec int
	nano           int
	digits         int // of the second's fraction
	zoned          bool
	offset         int // seconds east of UTC
	unix           time.Time
	bare           bool // the time of day or a number alone: no sign of a record by itself
}

func (s *stamp) full() bool { return s.kind != "" && !s.bare }

// parseStamp reads a stamp that begins at b[at]. The shapes are those that public logs show: ISO and its relatives,
// nginx, Go's log, syslog, Apache, Tomcat, CLF, WebSphere, glog, logcat, time alone, epochs.
func parseStamp(b []byte, at int) (stamp, bool) {
	p := stampParser{b: b, i: at}
	ok := false
	if at >= len(b) {
		return stamp{}, false
	}
	switch c := b[at]; {
	case isDigit(c):
		ok = p.digits()
	case isLetter(c):
		ok = p.words()
	case c == '@':
		ok = p.tai64()
	}
	p.s.end = p.i
	return p.s, ok
}

type stampParser struct {
	b []byte
	i int
	s stamp
}

func (p *stampParser) peek() byte {
	if p.i < len(p.b) {
		return p.b[p.i]
	}
	return 0
}

func (p *stampParser) eat(c byte) bool {
	if p.peek() == c {
		p.i++
		return true
	}
	return false
}

func (p *stampParser) skipSpaces(most int) int {
	n := 0
	for n < most && p.peek() == ' ' {
		p.i++
		n++
	}
	return n
}

// number reads between least and most digits.
func (p *stampParser) number(least, most int) (n int, ok bool) {
	start := p.i
	for p.i < len(p.b) && p.i-start < most && isDigit(p.b[p.i]) {
		n = n*10 + int(p.b[p.i]-'0')
		p.i++
	}
	return n, p.i-start >= least
}

func run[T string | []byte](b T, at int) int {
	i := at
	for i < len(b) && isDigit(b[i]) {
		i++
	}
	return i - at
}

func (p *stampParser) digits() bool {
	n := run(p.b, p.i)
	next := byte(0)
	if p.i+n < len(p.b) {
		next = p.b[p.i+n]
	}
	switch {
	case n == 4 && (next == '-' || next == '/' || next == '.'):
		return p.yearFirst(next)
	case n == 4 && next == 0xe5: // 年
		return p.chinese()
	case n == 8:
		return p.compact(4)
	case n == 6:
		return p.compact(2)
	case (n == 1 || n == 2) && next == ':':
		p.s.kind, p.s.bare = "time", true
		return n == 2 && p.clock() || n == 1 && p.clock() && p.s.hour < 10
	case (n == 1 || n == 2) && (next == '-' || next == '/' || next == '.' || next == ' '):
		return p.dayFirst(n, next)
	case n == 10 || n == 13 || n == 16 || n == 19:
		return p.epoch(n)
	}
	return false
}

func (p *stampParser) yearFirst(sep byte) bool {
	p.s.year, _ = p.number(4, 4)
	p.i++
	if n := run(p.b, p.i); n == 3 { // day of the year
		day, _ := p.number(3, 3)
		t := time.Date(p.s.year, 1, day, 0, 0, 0, 0, time.UTC)
		p.s.month, p.s.day, p.s.kind = int(t.Month()), t.Day(), "ordinal"
		return day > 0 && day < 367 && p.between() && p.clock()
	}
	var ok bool
	if p.s.month, ok = p.number(1, 2); !ok && sep == '-' {
		p.s.month, ok = p.monthName()
	}
	if !ok || !p.eat(sep) {
		return false
	}
	p.s.day, ok = p.number(1, 2)
	if !ok || !p.dateOK() {
		return false
	}
	switch sep {
	case '-':
		p.s.kind = "iso"
	case '/':
		p.s.kind = "slash"
	case '.':
		p.s.kind = "dot"
	}
	return p.between() && p.clock()
}

// between reads what stands between date and time.
func (p *stampParser) between() bool {
	switch p.peek() {
	case 'T', 't', '_', '*':
		p.i++
	case ' ':
		p.skipSpaces(2)
	case '\'': // 'T'
		p.i += 3
	case ',', '"':
		for p.i < len(p.b) && has("\", ", p.b[p.i]) {
			p.i++
		}
	case '-', ':', '.':
		p.i++
		p.eat(':')
	default:
		return false
	}
	return true
}

func (p *stampParser) dateOK() bool {
	return p.s.month >= 1 && p.s.month <= 12 && p.s.day >= 1 && p.s.day <= 31 && (p.s.year == 0 || p.s.year >= 1970 && p.s.year < 2200)
}

// clock reads hh:mm:ss with what may follow: a fraction, AM or PM, a zone. Hours and minutes alone are enough behind
// a date.
func (p *stampParser) clock() bool {
	var ok bool
	if p.s.hour, ok = p.number(1, 2); !ok || p.s.hour > 24 || !p.eat(':') {
		return false
	}
	if p.s.min, ok = p.number(2, 2); !ok || p.s.min > 59 {
		return false
	}
	if p.peek() == ':' && p.i+2 < len(p.b) && isDigit(p.b[p.i+1]) {
		p.i++
		if p.s.sec, ok = p.number(2, 2); !ok || p.s.sec > 60 {
			return false
		}
		p.fraction()
	} else if p.s.bare {
		if p.meridiem(); p.s.kind == "time" && !has(" ]|", p.peek()) {
			return false
		}
		return p.i >= 6 && (p.b[p.i-1]|0x20) == 'm'
	}
	p.meridiem()
	p.zone()
	return !isLetter(p.peek()) && !isDigit(p.peek()) || p.peek() == 'T'
}

func (p *stampParser) fraction() {
	if c := p.peek(); (c == '.' || c == ',' || c == ':') && p.i+1 < len(p.b) && isDigit(p.b[p.i+1]) {
		n := run(p.b, p.i+1)
		if n > 9 {
			return
		}
		p.i++
		v, _ := p.number(1, 9)
		for range 9 - n {
			v *= 10
		}
		p.s.nano, p.s.digits = v, n
	}
}

func (p *stampParser) meridiem() {
	i := p.i
	for i < len(p.b) && (p.b[i] == ' ' || p.b[i] == 0xe2 || p.b[i] == 0x80 || p.b[i] == 0xaf || p.b[i] == 0xc2 || p.b[i] == 0xa0) {
		i++
	}
	if i+2 > len(p.b) || i-p.i > 3 || (p.b[i+1]|0x20) != 'm' || i+2 < len(p.b) && isLetter(p.b[i+2]) {
		return
	}
	switch p.b[i] | 0x20 {
	case 'p':
		if p.s.hour < 12 {
			p.s.hour += 12
		}
	case 'a':
		if p.s.hour == 12 {
			p.s.hour = 0
		}
	default:
		return
	}
	p.i = i + 2
}

// zoneNames has the names that mean one offset wherever they are written; others are read over.
var zoneNames = map[string]int{
	"UTC": 0, "GMT": 0, "Z": 0, "WET": 0, "CET": 1, "MEZ": 1, "CEST": 2, "MESZ": 2, "EET": 2, "EEST": 3, "MSK": 3,
	"EST": -5, "EDT": -4, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7, "JST": 9, "KST": 9,
}

func (p *stampParser) zone() {
	start := p.i
	spaces := p.skipSpaces(1)
	switch c := p.peek(); {
	case (c == 'Z' || c == 'z') && (p.i+1 >= len(p.b) || !isLetter(p.b[p.i+1])) && spaces == 0:
		p.i++
		p.s.zoned = true
		return
	case c == '+' || c == '-' && p.i+1 < len(p.b) && isDigit(p.b[p.i+1]):
		if p.numericZone() {
			return
		}
	case isUpper(c):
		if p.namedZone() {
			return
		}
	}
	p.i = start
}

func (p *stampParser) numericZone() bool {
	sign := 1
	if p.b[p.i] == '-' {
		sign = -1
	}
	p.i++
	hour, ok := p.number(2, 2)
	if !ok || hour > 14 {
		return false
	}
	minute := 0
	if p.eat(':') || isDigit(p.peek()) {
		if minute, ok = p.number(2, 2); !ok || minute > 59 {
			return false
		}
	}
	if isDigit(p.peek()) {
		return false
	}
	p.s.zoned, p.s.offset = true, sign*(hour*3600+minute*60)
	return true
}

func (p *stampParser) namedZone() bool {
	end := p.i
	for end < len(p.b) && end-p.i < 32 && (isLetter(p.b[end]) || p.b[end] == '/' || p.b[end] == '_') {
		end++
	}
	name := p.b[p.i:end]
	hours, ok := zoneNames[string(name)]
	switch {
	case ok:
		p.s.zoned, p.s.offset = true, hours*3600
	case len(name) > 6 && isLower(name[1]) && has(string(name), '/'): // a region, as PHP writes it
	default:
		return false
	}
	p.i = end
	return true
}

func (p *stampParser) chinese() bool {
	p.s.year, _ = p.number(4, 4)
	p.i += 3
	p.s.month, _ = p.number(1, 2)
	p.i = min(len(p.b), p.i+3)
	p.s.day, _ = p.number(1, 2)
	p.i = min(len(p.b), p.i+3)
	p.skipSpaces(1)
	p.s.kind = "chinese"
	return p.dateOK() && p.clock()
}

// compact reads YYYYMMDD and YYMMDD with a time behind them.
func (p *stampParser) compact(yearDigits int) bool {
	p.s.year, _ = p.number(yearDigits, yearDigits)
	if yearDigits == 2 {
		p.s.year += 2000
	}
	p.s.month, _ = p.number(2, 2)
	p.s.day, _ = p.number(2, 2)
	p.s.kind = "compact"
	if !p.dateOK() || yearDigits == 4 && p.s.year > 2100 || !p.between() {
		return false
	}
	if run(p.b, p.i) == 6 {
		p.s.hour, _ = p.number(2, 2)
		p.s.min, _ = p.number(2, 2)
		p.s.sec, _ = p.number(2, 2)
		p.fraction()
		p.zone()
		return p.s.hour < 24 && p.s.min < 60 && p.s.sec < 61
	}
	return p.clock()
}

func (p *stampParser) dayFirst(n int, sep byte) bool {
	first, _ := p.number(1, 2)
	p.i++
	if sep == ' ' || sep == '-' || sep == '/' || sep == '.' {
		if month, ok := p.monthName(); ok {
			p.s.day, p.s.month = first, month
			return p.dayMonthName(sep)
		}
	}
	second, ok := p.number(1, 2)
	if !ok || sep == ' ' {
		return false
	}
	if sep == '-' && n == 2 && p.peek() == ' ' { // logcat
		p.s.month, p.s.day, p.s.kind = first, second, "logcat"
		p.skipSpaces(1)
		return p.dateOK() && p.clock() && p.s.nano != 0
	}
	if !p.eat(sep) {
		return false
	}
	width := run(p.b, p.i)
	third, ok := p.number(1, 4)
	switch {
	case !ok || width != 2 && width != 4:
		return false
	case width == 2 && sep == '/' && n == 2 && first >= 13 && second <= 12: // Spark: YY/MM/DD
		p.s.year, p.s.month, p.s.day, p.s.kind = 2000+first, second, third, "spark"
	case sep == '.':
		p.s.day, p.s.month, p.s.year, p.s.kind = first, second, third, "german"
	default:
		p.s.month, p.s.day, p.s.year, p.s.kind = first, second, third, "us"
		if p.s.dayMonth = first <= 12; first > 12 {
			p.s.month, p.s.day = second, first
		}
		p.s.dayMonth = first <= 12 && second <= 12
	}
	if p.s.year < 100 {
		p.s.year += 2000
	}
	if !p.dateOK() {
		return false
	}
	p.eat(',')
	return p.skipSpaces(2) > 0 && p.clock()
}

// dayMonthName goes on behind "23-Nov", "23/Nov", "23 Nov".
func (p *stampParser) dayMonthName(sep byte) bool {
	p.s.kind = map[byte]string{'-': "tomcat", '/': "clf", ' ': "day", '.': "day"}[sep]
	p.eat('.')
	if p.peek() != sep { // Node-RED: 23 Nov 23:14:23
		return false
	}
	p.i++
	if n := run(p.b, p.i); n == 4 || n == 2 && p.i+2 < len(p.b) && p.b[p.i+2] != ':' {
		p.s.year, _ = p.number(2, 4)
		if p.s.year < 100 {
			p.s.year += 2000
		}
		if !p.between() {
			return false
		}
	}
	return p.dateOK() && p.clock()
}

var months = [...]string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}

var localMonths = map[string]int{
	"mär": 3, "mrz": 3, "mai": 5, "okt": 10, "dez": 12, "janv": 1, "févr": 2, "mars": 3, "avr": 4, "juin": 6, "juil": 7,
	"août": 8, "déc": 12, "ene": 1, "abr": 4, "ago": 8, "dic": 12, "maj": 5, "mag": 5, "giu": 6, "lug": 7, "set": 9, "ott": 10, "gen": 1,
	"fev": 2, "out": 10,
}

func (p *stampParser) monthName() (int, bool) {
	end := p.i
	for end < len(p.b) && end-p.i < 10 && (isLetter(p.b[end]) || p.b[end] >= 0x80) {
		end++
	}
	name := p.b[p.i:end]
	if len(name) < 3 {
		return 0, false
	}
	for i, m := range months {
		if hasFold(name, 0, m) && (len(name) == 3 || len(name) > 3 && isLower(name[3])) {
			p.i = end
			return i + 1, true
		}
	}
	var lower [10]byte
	for i, c := range name {
		lower[i] = lowerByte(c)
	}
	if m, ok := localMonths[string(lower[:len(name)])]; ok {
		p.i = end
		return m, true
	}
	return 0, false
}

var weekdays = [...]string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}

// words reads the shapes that begin with the name of a day or a month.
func (p *stampParser) words() bool {
	for _, day := range weekdays {
		if hasFold(p.b, p.i, day) && p.i+3 < len(p.b) && (p.b[p.i+3] == ' ' || p.b[p.i+3] == ',') {
			p.i += 3
			p.eat(',')
			p.skipSpaces(2)
			if isDigit(p.peek()) { // RFC 1123
				n := run(p.b, p.i)
				return p.i+n < len(p.b) && p.dayFirst(n, p.b[p.i+n])
			}
			break
		}
	}
	month, ok := p.monthName()
	p.eat('.')
	if !ok || p.skipSpaces(2) == 0 {
		return false
	}
	p.s.month = month
	if p.s.day, ok = p.number(1, 2); !ok || !p.dateOK() {
		return false
	}
	return p.monthDay()
}

// monthDay goes on behind "Nov 23".
func (p *stampParser) monthDay() bool {
	p.s.kind = "syslog"
	comma := p.eat(',')
	if p.skipSpaces(2) == 0 {
		return false
	}
	if run(p.b, p.i) == 4 {
		p.s.year, _ = p.number(4, 4)
		p.eat(',')
		p.s.kind = "jul"
		return p.skipSpaces(2) > 0 && p.dateOK() && p.clock()
	}
	if comma || !p.clock() {
		return false
	}
	// The year may stand last, behind a zone: Apache, uWSGI, date.
	i := p.i
	if p.skipSpaces(1) == 1 && run(p.b, p.i) == 4 {
		p.s.year, _ = p.number(4, 4)
		p.s.kind = "apache"
		if p.dateOK() && !isDigit(p.peek()) && p.peek() != ':' {
			return true
		}
		p.s.year, p.s.kind = 0, "syslog"
	}
	p.i = i
	return true
}

// epoch reads seconds with or without a fraction, or milli-, micro- or nanoseconds, since 1970.
func (p *stampParser) epoch(n int) bool {
	if p.b[p.i] != '1' {
		return false
	}
	var v int64
	for _, c := range p.b[p.i : p.i+n] {
		v = v*10 + int64(c-'0')
	}
	p.i += n
	unit := map[int]int64{10: 1e9, 13: 1e6, 16: 1e3, 19: 1}[n]
	if p.s.kind, p.s.bare = "epoch", true; n == 10 {
		p.fraction()
	}
	if c := p.peek(); c != 0 && !has(" \t]:,|}", c) {
		return false
	}
	p.s.unix, p.s.zoned = time.Unix(0, v*unit+int64(p.s.nano)).UTC(), true
	return true
}

func (p *stampParser) tai64() bool {
	if len(p.b)-p.i < 25 || p.b[p.i+1] != '4' {
		return false
	}
	var v, nano int64
	for i, c := range p.b[p.i+1 : p.i+25] {
		digit := hexValue(c)
		if digit < 0 {
			return false
		}
		if i < 16 {
			v = v<<4 | int64(digit)
		} else {
			nano = nano<<4 | int64(digit)
		}
	}
	p.i += 25
	p.s.kind, p.s.zoned = "tai64n", true
	p.s.unix = time.Unix(v-(1<<62)-10, nano).UTC()
	return true
}

func hexValue(c byte) int {
	switch {
	case isDigit(c):
		return int(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

// time gives the point in time. What the stamp leaves out comes from near: the year, the day. Where no zone is written,
// offset stands for it, in seconds east of UTC.
func (s *stamp) time(near time.Time, offset int) time.Time {
	if !s.unix.IsZero() {
		return s.unix
	}
	if s.zoned {
		offset = s.offset
	}
	if s.dayMonth && !near.IsZero() { // what lies nearer to now is meant
		other := *s
		other.month, other.day, other.dayMonth = s.day, s.month, false
		s.dayMonth = false
		a, b := s.time(near, offset), other.time(near, offset)
		if a.Sub(near).Abs() > b.Sub(near).Abs() {
			return b
		}
		return a
	}
	local := near.UTC().Add(time.Duration(offset) * time.Second)
	year, month, day := s.year, time.Month(s.month), s.day
	if month == 0 {
		year, month, day = local.Date()
	} else if year == 0 {
		year = local.Year()
	}
	t := time.Date(year, month, day, s.hour, s.min, s.sec, s.nano, time.UTC).Add(-time.Duration(offset) * time.Second)
	const slack = 14 * time.Hour
	switch {
	case s.month == 0 && t.Sub(near) > 12*time.Hour:
		return t.AddDate(0, 0, -1)
	case s.month == 0 && near.Sub(t) > 12*time.Hour:
		return t.AddDate(0, 0, 1)
	case s.month != 0 && s.year == 0 && t.Sub(near) > 2*slack:
		return t.AddDate(-1, 0, 0)
	}
	return t
}
