package record

import (
	"bytes"
	"math/bits"
	"slices"
)

// A sign is one way in which a log says "error". Its first four bytes are classes of bytes that are searched for many
// places at a time; what they hit is looked at by accept. A false candidate costs a little time, a missed one an error:
// whatever the rules of severity can call an error has a sign here, and a test holds the two together.
type sign struct {
	bytes  [4]string // the bytes allowed at each of the four places; "" allows any
	accept func(data []byte, at int) bool
	// bucket is one of eight, whose signs are searched as one. The division is the one of many tried that hit least often on
	// logs without errors.
	bucket uint8
}

// beforeLetter and afterLetter are what stands around a level of one letter.
const (
	beforeLetter = "\n [|\t(<\"m,;"
	afterLetter  = " |/]:,)>\"\t;"
)

const digits = "0123456789"

var signs = []sign{
	{fold("err", edges+"oOeEsS"), acceptWord("err", "error", "erro", "erreur", "errore", "errors"), 3},
	{fold("seve"), acceptSevere, 1},
	{fold("leve"), acceptKey, 1},
	{fold("prio"), acceptKey, 4},
	{fold("lvl", "\"'=:\\"), acceptKey, 3},
	{fold("fata"), acceptWord("fatal", "fata"), 4},
	{fold("fail"), acceptFail, 4},
	{fold("pani"), acceptWord("panic", "panicked", "pani"), 6},
	{fold("dpan"), acceptWord("dpanic"), 5},
	{fold("ftl", edges), acceptWord("ftl"), 3},
	{fold("exce"), acceptWord("exception", "exceptiongroup"), 5},
	{fold("eror"), acceptWord("eror"), 7},
	{fold("crit"), acceptWord("crit", "critical"), 4},
	{fold("grav"), acceptWord("grave"), 5},
	{fold("trac"), acceptText("Traceback (most"), 5},
	{fold("aler"), acceptWord("alert", "aler"), 7},
	{fold("allv"), acceptWord("allvarlig"), 6},
	{fold("emer"), acceptWord("emerg", "emergency", "emer"), 7},
	{fold("unca"), acceptWord("uncaught"), 5},
	{fold("unha"), acceptWord("unhandled"), 5},
	{fold("call"), acceptText("called at "), 7},
	{fold("goro"), acceptText("goroutine "), 3},
	{fold("stac"), acceptText("Stack trace:"), 5},
	{fold("schw"), acceptWord("schwerwiegend"), 7},
	{fold("fehl"), acceptWord("fehler"), 7},
	{exact(" ", " ", "a", "t"), acceptFrame, 6},
	{exact("\t", "a", "t", " "), acceptFrame, 4},
	{exact("\\", "t", "a", "t"), acceptFrame, 2},
	{exact("\nn", "#", "0", " "), acceptAlways, 6},
	{exact("=", "CS", "RU", "AP"), acceptText("=CRASH REPORT", "=SUPERVISOR REPORT"), 1},
	{exact("*", "*", " ", "("), acceptAlways, 2},
	{exact("r", "b", ":", digits), acceptAlways, 1},
	{exact("\n", "<", digits, digits+">"), acceptPriority, 2},
	{exact("\n \"m\t[", "EFC", digits, digits), acceptGlog, 0},
	{exact(beforeLetter, "EFCA", afterLetter, ""), acceptLetter, 0},
	{exact("\xe9", "\x87", "\x8d", "\xe5"), acceptAlways, 4},                 // 重大
	{exact("\xe4", "\xb8", "\xa5", "\xe9"), acceptAlways, 2},                 // 严重
	{exact("\xe5", "\x9a", "\xb4", "\xe9"), acceptAlways, 2},                 // 嚴重
	{exact("\xec", "\x8b", "\xac", "\xea"), acceptAlways, 3},                 // 심각
	{exact("\xd0\xd1", "\x9e\xbe", "\xd0\xd1", "\xa8\x88"), acceptAlways, 6}, // ошибка
}

// edges are the bytes that end a word: ASCII without letters and digits.
var edges = func() (edges string) {
	for b := range byte(0x80) {
		if !isLetter(b) && !isDigit(b) {
			edges += string(rune(b))
		}
	}
	return edges
}()

// fold gives the classes of a word's first letters in either case.
func fold(letters string, last ...string) (classes [4]string) {
	copy(classes[len(letters):], last)
	for i, c := range []byte(letters) {
		classes[i] = string([]byte{c, c &^ 0x20})
	}
	return classes
}

func exact(a, b, c, d string) [4]string { return [4]string{a, b, c, d} }

// masks are the signs' classes as find32 wants them: for each of four places a table by the low and one by the high half
// of a byte, a bit for each bucket.
type masks [8][16]byte

var signMasks = newMasks(signs)

func newMasks(signs []sign) *masks {
	var m masks
	for _, s := range signs {
		for place, class := range s.bytes {
			for b := range 256 {
				if class == "" || has(class, byte(b)) {
					m[2*place][b&15] |= 1 << s.bucket
					m[2*place+1][b>>4] |= 1 << s.bucket
				}
			}
		}
	}
	return &m
}

// byPlace has, for each of the four places and each byte, a bit for every sign that allows it there.
var byPlace = func() (t [4][256]uint64) {
	for i, s := range signs {
		for place, class := range s.bytes {
			for b := range 256 {
				if class == "" || has(class, byte(b)) {
					t[place][b] |= 1 << i
				}
			}
		}
	}
	return t
}()

// accepted says whether a sign stands at this place.
func accepted(data []byte, at int) bool {
	four := data[at : at+4]
	found := byPlace[1][four[1]] & byPlace[2][four[2]] & byPlace[0][four[0]] & byPlace[3][four[3]]
	for ; found != 0; found &= found - 1 {
		if signs[bits.TrailingZeros64(found)].accept(data, at) {
			return true
		}
	}
	return false
}

// findPlain is find for what is left of a block, and for machines without one.
func findPlain(data []byte, from int) int {
	for i := from; i+4 <= len(data); i++ {
		if byPlace[1][data[i+1]]&byPlace[2][data[i+2]] != 0 && accepted(data, i) {
			return i
		}
	}
	return -1
}

func has(class string, b byte) bool {
	for i := range len(class) {
		if class[i] == b {
			return true
		}
	}
	return false
}

// candidate gives the first place, not before from, where the data may say "error"; -1 where nothing does. data begins
// with a line. The signs that want a line end before them are given at the line's start.
func candidate(data []byte, from int) int {
	if from == 0 && startsWithSign(data) {
		return 0
	}
	if from > 0 && data[from-1] == '\n' {
		from--
	}
	at := find(data, from)
	switch {
	case at < 0:
		return tailCandidate(data, from)
	case data[at] == '\n':
		return at + 1
	}
	return at
}

// tailCandidate looks at the last three bytes as if a line end stood behind them: a sign can end there.
func tailCandidate(data []byte, from int) int {
	at := len(data) - 3
	if at < from || at < 0 {
		return -1
	}
	start := max(0, at-32)
	if end := append(make([]byte, 0, 40), data[start:]...); accepted(append(end, '\n'), at-start) {
		return at
	}
	return -1
}

// startsWithSign is for the signs that want a line end before them: the data's first line has none.
func startsWithSign(data []byte) bool {
	line := append(make([]byte, 1, 20), data[:min(len(data), 15)]...)
	if line[0] = '\n'; len(data) < 15 {
		line = append(line, '\n')
	}
	return len(line) >= 4 && accepted(line, 0)
}

func lowerByte(b byte) byte {
	if 'A' <= b && b <= 'Z' {
		return b | 0x20
	}
	return b
}

func hasFold(data []byte, at int, word string) bool {
	if at < 0 || at+len(word) > len(data) {
		return false
	}
	for i := range len(word) {
		if lowerByte(data[at+i]) != word[i] {
			return false
		}
	}
	return true
}

func isLower(b byte) bool  { return 'a' <= b && b <= 'z' }
func isUpper(b byte) bool  { return 'A' <= b && b <= 'Z' }
func isDigit(b byte) bool  { return '0' <= b && b <= '9' }
func isLetter(b byte) bool { return isLower(b | 0x20) }
func isSpace(b byte) bool  { return b == ' ' || b == '\t' }

// acceptWord takes one of the words where it stands as a word of its own or as the last part of a name in camel case.
func acceptWord(words ...string) func([]byte, int) bool {
	return func(data []byte, at int) bool {
		if !opens(data, at) {
			return false
		}
		for _, w := range words {
			if hasFold(data, at, w) && closes(data, at+len(w)) {
				return true
			}
		}
		return false
	}
}

// opens says whether a word may begin at this place. An m can end a colour code, an n or t a line end within JSON.
func opens(data []byte, at int) bool {
	if at == 0 {
		return true
	}
	switch b := data[at-1]; {
	case isUpper(b):
		return isUpper(data[at]) && at+1 < len(data) && isLower(data[at+1]) // IOError
	case isLower(b):
		return isUpper(data[at]) || b == 'm' && at > 1 && (isDigit(data[at-2]) || data[at-2] == '[') ||
			(b == 'n' || b == 't' || b == 'r') && at > 1 && data[at-2] == '\\'
	case isDigit(b) || b == '_':
		return b == '_' || isUpper(data[at])
	}
	return true
}

func closes(data []byte, at int) bool {
	if at >= len(data) {
		return true
	}
	b := data[at]
	return !isLetter(b) && !isDigit(b) || isDigit(b) && at > 0 && isUpper(data[at-1])
}

func acceptText(texts ...string) func([]byte, int) bool {
	return func(data []byte, at int) bool {
		return slices.ContainsFunc(texts, func(text string) bool { return bytes.HasPrefix(data[at:], []byte(text)) })
	}
}

func acceptAlways([]byte, int) bool { return true }

func acceptSevere(data []byte, at int) bool {
	return acceptWord("severe")(data, at) || acceptKey(data, at)
}

// acceptFail takes "fail" as a level, not as the verb of a sentence.
func acceptFail(data []byte, at int) bool {
	word, end := data[at:min(len(data), at+7)], at+4
	for end < len(data) && end < at+8 && isLetter(data[end]) { // failed, failure
		end++
	}
	switch {
	case at > 0 && (isLetter(data[at-1]) && data[at-1] != 'm' && data[at-1] != 'n' || data[at-1] == '_'):
		return false
	case isUpper(word[0]) && isUpper(word[1]):
		return true
	case end < len(data) && data[end] == ':':
		return true
	}
	return at > 0 && has("\"[<=|", data[at-1])
}

const (
	ofKey = 1 << iota
	behindKey
	beforeValue
	errorLetter
)

// keyBytes says where around a key's end a byte may stand: this is asked once a line of most JSON.
var keyBytes = func() (t [256]byte) {
	for b := range 256 {
		if isLetter(byte(b)) || b == '_' {
			t[b] |= ofKey
		}
		if has("\\\"'", byte(b)) {
			t[b] |= behindKey
		}
		if has("\\\"' {", byte(b)) {
			t[b] |= beforeValue
		}
		if has("EFCAefca", byte(b)) {
			t[b] |= errorLetter
		}
	}
	return t
}()

// acceptKey looks at a number under a key of JSON or logfmt that begins like "level": level, levelno, level_value, lvl,
// severity, severityNumber, priority. A word there has its own sign; but one letter has none.
func acceptKey(data []byte, at int) bool {
	end := min(len(data), at+24)
	i := at + 3
	for i < end && keyBytes[data[i]]&ofKey != 0 {
		i++
	}
	closed := i
	for i < end && keyBytes[data[i]]&behindKey != 0 {
		i++
	}
	if i >= end || data[i] != ':' && data[i] != '=' || data[i] == ':' && closed == i {
		return false
	}
	i++
	for i < end && keyBytes[data[i]]&beforeValue != 0 {
		i++
	}
	if i >= end {
		return true // the value is beyond what is looked at
	}
	if isDigit(data[i]) {
		return numberMayBeError(data[i:min(len(data), i+6)])
	}
	return keyBytes[data[i]]&errorLetter != 0 && (i+1 >= len(data) || !isLetter(data[i+1]))
}

// numberMayBeError says whether any of the number scales calls the number an error.
func numberMayBeError(text []byte) bool {
	n := 0
	for _, c := range text {
		if !isDigit(c) {
			break
		}
		n = n*10 + int(c-'0')
	}
	switch {
	case n <= 8:
		return true
	case n < 17:
		return false
	case n <= 24:
		return n != 20
	case n == 30, n == 100, n == 200, n == 250, n == 300, n == 700, n == 5000, n == 10000, n == 20000, n == 30000:
		return false
	}
	return true
}

// acceptFrame wants white space alone between the line's start and the word "at".
func acceptFrame(data []byte, at int) bool {
	for i := at; i >= 0 && i > at-200; i-- {
		switch b := data[i]; {
		case b == '\n':
			return true
		case isSpace(b) || b == '\\' || b == '|':
		case b == 't' || b == 'n' || b == 'r':
			if i == 0 || data[i-1] != '\\' {
				return false
			}
		default:
			// The runtime's prefix or a head may stand before it: each line of a trace can have its own.
			return i < at-1 || b == ']' || b == ':'
		}
	}
	return true
}

// acceptPriority reads the <PRI> of syslog at a line's start: facility*8 + severity, and the severity is 0 to 3.
func acceptPriority(data []byte, at int) bool {
	n := 0
	for i := at + 2; i < len(data) && i < at+5; i++ {
		if data[i] == '>' {
			return n <= 191 && n%8 <= 3
		}
		if !isDigit(data[i]) {
			return false
		}
		n = n*10 + int(data[i]-'0')
	}
	return at+5 < len(data) && data[at+5] == '>' && n <= 191 && n%8 <= 3
}

func acceptGlog(data []byte, at int) bool {
	return at+6 < len(data) && isDigit(data[at+4]) && isDigit(data[at+5]) && isSpace(data[at+6])
}

// acceptLetter takes one letter in a column. The F of container runtimes stands behind the stream's name.
func acceptLetter(data []byte, at int) bool {
	return data[at+1] != 'F' || !bytes.HasSuffix(data[:at], []byte("stdout")) && !bytes.HasSuffix(data[:at], []byte("stderr"))
}
