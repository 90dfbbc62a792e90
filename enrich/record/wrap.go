package record

import (
	"bytes"
)

// A piece is what a runtime wrapped: a line, or a part of one that was too long.
type piece struct {
	text    []byte
	errors  bool // it came from standard error
	partial bool // the rest of the line follows in the stream's next piece
}

// unwrap takes off what a container runtime put around a line: each line says for itself whether one did.
func unwrap(line []byte) (p piece, ok bool) {
	switch {
	case len(line) < 20:
		return p, false
	case line[0] == '{':
		return unwrapDocker(line)
	case isDigit(line[0]):
		return unwrapCRI(line)
	}
	return p, false
}

// unwrapCRI reads the format of containerd and CRI-O:
// https://github.com/kubernetes/design-proposals-archive/blob/main/node/kubelet-cri-logging.md
func unwrapCRI(line []byte) (p piece, ok bool) {
	if line[4] != '-' || line[10] != 'T' {
		return p, false
	}
	at := bytes.IndexByte(line, ' ')
	if at < 20 || at > 40 || len(line) < at+9 {
		return p, false
	}
	switch string(line[at+1 : at+7]) {
	case "stdout":
	case "stderr":
		p.errors = true
	default:
		return p, false
	}
	tag := line[at+8]
	if line[at+7] != ' ' || tag != 'P' && tag != 'F' {
		return p, false
	}
	p.partial = tag == 'P'
	rest := line[at+9:]
	if len(rest) > 0 && rest[0] != ' ' && rest[0] != ':' {
		return p, false
	}
	if len(rest) > 0 && rest[0] == ':' { // further tags
		if i := bytes.IndexByte(rest, ' '); i >= 0 {
			rest = rest[i:]
		}
	}
	if len(rest) > 0 && rest[0] == ' ' {
		rest = rest[1:]
	}
	p.text = rest
	return p, true
}

// unwrapDocker reads a line of Docker's json-file driver. A long line comes in parts, of which only the last ends in a
// line end.
func unwrapDocker(line []byte) (p piece, ok bool) {
	if !bytes.HasPrefix(line, []byte(`{"log":"`)) {
		return p, false
	}
	var text, stream value
	if walkObject(line, func(key []byte, v value) {
		switch string(key) {
		case "log":
			text = v
		case "stream":
			stream = v
		}
	}) < 0 || stream.kind == 0 {
		return p, false
	}
	p.errors = string(stream.raw) == "stderr"
	p.text = unescape(text.raw)
	n := len(p.text)
	if p.partial = n == 0 || p.text[n-1] != '\n'; !p.partial {
		p.text = bytes.TrimSuffix(p.text[:n-1], []byte{'\r'})
	}
	return p, true
}

// stripColour removes ANSI escape sequences. It copies only where there are any.
func stripColour(b []byte) []byte {
	at := bytes.IndexByte(b, 0x1b)
	if at < 0 {
		return b
	}
	out := append(make([]byte, 0, len(b)), b[:at]...)
	for i := at; i < len(b); i++ {
		if b[i] != 0x1b {
			out = append(out, b[i])
			continue
		}
		i = skipEscape(b, i)
	}
	return out
}

// skipEscape gives the last byte of the escape sequence that begins at b[i].
func skipEscape(b []byte, i int) int {
	if i+1 >= len(b) || b[i+1] != '[' && b[i+1] != ']' {
		return min(i+1, len(b)-1)
	}
	for j := i + 2; j < len(b) && j < i+64; j++ {
		if b[i+1] == '[' && 0x40 <= b[j] && b[j] <= 0x7e || b[i+1] == ']' && b[j] == 7 {
			return j
		}
	}
	return i + 1
}
