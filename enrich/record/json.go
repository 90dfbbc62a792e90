package record

import (
	"bytes"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// A value is one of JSON's, as it stands in the line. A string lacks its quotes and still has its escapes.
type value struct {
	raw  []byte
	kind byte // '"', '{', '[', '0' for numbers, 't', 'f', 'n'; 0 is none
}

func (v value) some() bool { return v.kind != 0 && v.kind != 'n' && len(v.raw) > 0 }

// maxDepth bounds how deep objects are looked into, and so the stack.
const maxDepth = 6

// walkObject calls visit for each member of the object that begins at b[0], and says where it ends; -1 where b is no
// object or not a whole one. It is lenient: what a logger wrote need not be JSON to the letter.
func walkObject(b []byte, visit func(key []byte, v value)) int {
	i := skipWhite(b, 1)
	for i < len(b) {
		if b[i] == '}' {
			return i + 1
		}
		if b[i] != '"' {
			return -1
		}
		end := stringEnd(b, i)
		if end < 0 {
			return -1
		}
		key := b[i+1 : end-1]
		if i = skipWhite(b, end); i >= len(b) || b[i] != ':' {
			return -1
		}
		i = skipWhite(b, i+1)
		v, end := valueAt(b, i)
		if end < 0 {
			return -1
		}
		visit(key, v)
		if i = skipWhite(b, end); i < len(b) && b[i] == ',' {
			i = skipWhite(b, i+1)
		} else if i < len(b) && b[i] != '}' {
			return -1
		}
	}
	return -1
}

func skipWhite(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}

// stringEnd gives the place behind the closing quote of the string that begins at b[i].
func stringEnd(b []byte, i int) int {
	for i++; i < len(b); i++ {
		at := bytes.IndexByte(b[i:], '"')
		if at < 0 {
			return -1
		}
		i += at
		slashes := 0
		for b[i-1-slashes] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			return i + 1
		}
	}
	return -1
}

func valueAt(b []byte, i int) (value, int) {
	if i >= len(b) {
		return value{}, -1
	}
	switch c := b[i]; c {
	case '"':
		end := stringEnd(b, i)
		if end < 0 {
			return value{}, -1
		}
		return value{b[i+1 : end-1], '"'}, end
	case '{', '[':
		end := nestEnd(b, i)
		if end < 0 {
			return value{}, -1
		}
		return value{b[i:end], c}, end
	default:
		end := i
		for end < len(b) && !has(",}] \t\r\n", b[end]) {
			end++
		}
		if end == i {
			return value{}, -1
		}
		if isDigit(c) || c == '-' {
			c = '0'
		}
		return value{b[i:end], c}, end
	}
}

// nestEnd gives the place behind the object or array that begins at b[i].
func nestEnd(b []byte, i int) int {
	depth := 0
	for i < len(b) {
		switch b[i] {
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		case '"':
			if i = stringEnd(b, i); i < 0 {
				return -1
			}
			continue
		}
		i++
	}
	return -1
}

// unescape gives the text of a JSON string.
func unescape(b []byte) []byte {
	if bytes.IndexByte(b, '\\') < 0 {
		return b
	}
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] != '\\' || i+1 == len(b) {
			out = append(out, b[i])
			continue
		}
		i++
		switch b[i] {
		case 'n':
			out = append(out, '\n')
		case 't':
			out = append(out, '\t')
		case 'r':
			out = append(out, '\r')
		case 'b', 'f':
			out = append(out, ' ')
		case 'u':
			r, n := unescapeRune(b[i-1:])
			out = utf8.AppendRune(out, r)
			i += n - 2
		default:
			out = append(out, b[i])
		}
	}
	return out
}

// unescapeRune reads \uXXXX, and the pair of them that stands for one character.
func unescapeRune(b []byte) (rune, int) {
	r, ok := hex4(b)
	if !ok {
		return utf8.RuneError, 2
	}
	if utf16.IsSurrogate(r) {
		if low, ok := hex4(b[6:]); ok {
			return utf16.DecodeRune(r, low), 12
		}
		return utf8.RuneError, 6
	}
	return r, 6
}

func hex4(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	return rune(n), err == nil
}

func (v value) text() string {
	if v.kind == '"' {
		return string(unescape(v.raw))
	}
	return string(v.raw)
}

func (v value) int() (int64, bool) {
	if v.kind != '"' && v.kind != '0' {
		return 0, false
	}
	n, err := strconv.ParseInt(string(v.raw), 10, 64)
	return n, err == nil
}

// isObjectLine says whether a line is one whole JSON object and nothing else.
func isObjectLine(b []byte) bool {
	return len(b) >= 2 && b[0] == '{' && nestEnd(b, 0) == len(bytes.TrimRight(b, " \t\r"))
}
