package record

import (
	"bytes"
	"regexp"
)

var logfmtKey = regexp.MustCompile(`^[A-Za-z_][\w.@-]*=`)

// logfmtHead reads a line of key=value pairs with a level or a message among them.
func logfmtHead(b []byte) (h head, ok bool) {
	if i := bytes.IndexByte(b, '='); i < 1 || i > 40 || !logfmtKey.Match(b[:i+1]) {
		return h, false
	}
	o, n := parseLogfmt(b)
	if n < 2 || o.level.kind == 0 && (o.time.kind == 0 || o.message.kind == 0) {
		return h, false
	}
	h = head{strong: true, format: "logfmt", shape: shapeOf("logfmt", 0, 0, true)}
	h.sev, h.level = o.severity()
	return h, true
}

// parseLogfmt reads key=value pairs; a value with blanks is quoted.
func parseLogfmt(b []byte) (o object, pairs int) {
	for i := 0; i < len(b); {
		for i < len(b) && isSpace(b[i]) {
			i++
		}
		start := i
		for i < len(b) && b[i] != '=' && !isSpace(b[i]) {
			i++
		}
		if i >= len(b) || b[i] != '=' {
			continue
		}
		key := b[start:i]
		v, end := logfmtValue(b, i+1)
		o.member("", key, v)
		pairs++
		i = end
	}
	return o, pairs
}

func logfmtValue(b []byte, i int) (value, int) {
	if i < len(b) && b[i] == '"' {
		if end := stringEnd(b, i); end > 0 {
			return value{b[i+1 : end-1], '"'}, end
		}
		return value{b[i+1:], '"'}, len(b)
	}
	end := i
	for end < len(b) && !isSpace(b[end]) {
		end++
	}
	return value{b[i:end], '"'}, end
}
