package tail

import (
	"bytes"
	"io"
	"unicode/utf16"
	"unicode/utf8"
)

// An Encoding is how a file's bytes stand for text.
type Encoding int

const (
	// Bytes is everything in which a line end is one byte: UTF-8, Latin-1 and their like.
	Bytes Encoding = iota
	// UTF16LE and UTF16BE are told by the mark at the beginning of the file.
	UTF16LE
	UTF16BE
)

// sniff tells the encoding from the file's first bytes.
func sniff(content io.ReaderAt) Encoding {
	var p [2]byte
	n, _ := content.ReadAt(p[:], 0)
	return encodingOf(p[:n])
}

func encodingOf(head []byte) Encoding {
	switch {
	case bytes.HasPrefix(head, []byte{0xff, 0xfe}):
		return UTF16LE
	case bytes.HasPrefix(head, []byte{0xfe, 0xff}):
		return UTF16BE
	}
	return Bytes
}

// lastLine gives the offset behind the last line end of p, which stands at the offset at of the file; 0 where it has none.
func (e Encoding) lastLine(p []byte, at int64) int {
	for i := len(p); e != Bytes; {
		if i = bytes.LastIndexByte(p[:i], '\n'); i < 0 {
			return 0
		}
		if end := e.lineEnd(p, i, at); end > 0 {
			return end
		}
	}
	return bytes.LastIndexByte(p, '\n') + 1
}

// firstLine gives the offset behind the first line end of p; 0 where it has none.
func (e Encoding) firstLine(p []byte, at int64) int {
	if e == Bytes {
		return bytes.IndexByte(p, '\n') + 1
	}
	for i := range p {
		if end := e.lineEnd(p, i, at); p[i] == '\n' && end > 0 {
			return end
		}
	}
	return 0
}

// lineEnd gives the offset behind the line end whose byte is p[i]; 0 where that byte belongs to another character.
func (e Encoding) lineEnd(p []byte, i int, at int64) int {
	even := (at+int64(i))%2 == 0
	switch {
	case e == UTF16LE && even && i+1 < len(p) && p[i+1] == 0:
		return i + 2
	case e == UTF16BE && !even && i > 0 && p[i-1] == 0:
		return i + 1
	}
	return 0
}

// Decode appends the text of p to dst, as UTF-8 without a byte order mark. p begins at a character. What is Bytes is
// appended as it is: Latin-1 and invalid bytes are nothing that could be told for sure.
func (e Encoding) Decode(dst, p []byte) []byte {
	if e == Bytes {
		return append(dst, p...)
	}
	low := 0
	if e == UTF16BE {
		low = 1
	}
	var before rune // the first half of a pair
	for ; len(p) > 1; p = p[2:] {
		r := rune(p[low]) | rune(p[1-low])<<8
		if before != 0 {
			pair := utf16.DecodeRune(before, r)
			before = 0
			dst = utf8.AppendRune(dst, pair)
			if pair != utf8.RuneError {
				continue
			}
		}
		switch {
		case r >= 0xd800 && r < 0xdc00:
			before = r
		case r != 0xfeff:
			dst = utf8.AppendRune(dst, r)
		}
	}
	if before != 0 {
		dst = utf8.AppendRune(dst, utf8.RuneError)
	}
	return dst
}

// isBinary says whether a file's beginning is that of something else than text.
func isBinary(content io.ReaderAt) bool {
	var p [512]byte
	n, _ := content.ReadAt(p[:], 0)
	head := bytes.TrimLeft(p[:n], "\x00") // a hole may precede the text
	for _, magic := range []string{"\x1f\x8b", "\x28\xb5\x2f\xfd", "\xfd7zXZ", "BZh9", "PK\x03\x04", "\x7fELF"} {
		if bytes.HasPrefix(head, []byte(magic)) {
			return true
		}
	}
	return encodingOf(head) == Bytes && bytes.IndexByte(head, 0) >= 0
}
