package tracker

import (
	"bytes"
	"encoding/binary"
	"strings"
)

// A prolog finds the place in an HTML document where the head begins: behind <head>, or where that is left out, before the
// first thing that is neither comment nor doctype nor <html>. Bytes go on as they come; what is held back is at most the
// beginning of a tag whose name is not known yet.
type prolog struct {
	snippet []byte
	out     []byte // what may go on
	held    []byte
	state   func(*prolog, uint16) verdict
	name    []byte
	quote   uint16
	tail    [2]uint16 // the last two characters of a comment
	length  int       // of a comment
	seen    int
	found   bool
	over    bool

	wide  binary.ByteOrder // of UTF-16; nil where characters of ASCII have one byte
	begun bool
	half  []byte // half a character
}

type verdict int

const (
	goOn         verdict = iota
	hold                 // what is held may yet have to stand behind the script
	release              // what is held is part of the prolog
	insertBefore         // the script belongs before what is held
	insertAfter
)

// maxProlog is the most of a document that is looked through.
const maxProlog = 64 << 10

func newProlog(snippet []byte, charset string) *prolog {
	p := &prolog{snippet: snippet, state: (*prolog).between}
	switch strings.ToLower(charset) {
	case "utf-16", "utf-16le":
		p.wide = binary.LittleEndian
	case "utf-16be":
		p.wide = binary.BigEndian
	}
	return p
}

// feed takes the next bytes and gives those that may go on. They are valid until the next call.
func (p *prolog) feed(b []byte) []byte {
	if p.over {
		return b
	}
	p.out = p.out[:0]
	if !p.begun {
		if b = p.bom(b); len(b) == 0 {
			return p.out
		}
	}
	if len(p.half) > 0 {
		b = append(p.half, b...)
		p.half = nil
	}
	for len(b) > 0 && !p.over {
		size, c := 1, uint16(b[0])
		if p.wide != nil {
			if len(b) == 1 {
				p.half = append(p.half, b...)
				return p.out
			}
			size, c = 2, p.wide.Uint16(b)
		}
		p.step(c, b[:size])
		b = b[size:]
	}
	return append(p.out, b...)
}

// bom reads the byte order mark, which says more than any header.
func (p *prolog) bom(b []byte) []byte {
	b = append(p.half, b...)
	p.half = nil
	for _, mark := range []struct {
		bytes string
		order binary.ByteOrder
	}{{"\xff\xfe", binary.LittleEndian}, {"\xfe\xff", binary.BigEndian}, {"\xef\xbb\xbf", nil}} {
		switch {
		case strings.HasPrefix(string(b), mark.bytes):
			p.begun, p.wide = true, mark.order
			p.out = append(p.out, mark.bytes...)
			return b[len(mark.bytes):]
		case strings.HasPrefix(mark.bytes, string(b)):
			p.half = b
			return nil
		}
	}
	p.begun = true
	return b
}

func (p *prolog) step(c uint16, raw []byte) {
	switch v := p.state(p, c); v {
	case goOn:
		p.out = append(p.out, raw...)
	case hold:
		p.held = append(p.held, raw...)
	case release:
		p.flush()
		p.out = append(p.out, raw...)
	case insertBefore:
		p.insert()
		p.flush()
		p.out = append(p.out, raw...)
	case insertAfter:
		p.flush()
		p.out = append(p.out, raw...)
		p.insert()
	}
	if p.seen += len(raw); p.seen >= maxProlog && !p.over {
		p.flush()
		p.over = true
	}
}

func (p *prolog) flush() {
	p.out = append(p.out, p.held...)
	p.held = p.held[:0]
}

func (p *prolog) insert() {
	p.found, p.over = true, true
	if p.wide == nil {
		p.out = append(p.out, p.snippet...)
		return
	}
	for _, c := range p.snippet {
		var raw [2]byte
		p.wide.PutUint16(raw[:], uint16(c))
		p.out = append(p.out, raw[:]...)
	}
}

// rest gives what was held when the document ended.
func (p *prolog) rest() []byte { return bytes.Join([][]byte{p.held, p.half}, nil) }

func space(c uint16) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' }

func letter(c uint16) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// between is where tags may begin.
func (p *prolog) between(c uint16) verdict {
	switch {
	case space(c):
		return goOn
	case c == '<':
		p.state = (*prolog).opened
		return hold
	}
	return insertBefore
}

func (p *prolog) opened(c uint16) verdict {
	switch {
	case c == '!':
		p.state = (*prolog).declared
		return hold
	case c == '?': // which browsers take for a comment
		p.state = (*prolog).declaration
		return release
	case letter(c):
		p.name = append(p.name[:0], byte(c|0x20))
		p.state = (*prolog).named
		return hold
	}
	return insertBefore
}

func (p *prolog) declared(c uint16) verdict {
	switch {
	case c == '>':
		p.state = (*prolog).between
		return release
	case c != '-':
		p.state = (*prolog).declaration
		return release
	case len(p.held) > 2*p.width():
		p.state, p.length, p.tail = (*prolog).comment, 0, [2]uint16{}
		return release
	}
	return hold
}

func (p *prolog) width() int {
	if p.wide != nil {
		return 2
	}
	return 1
}

func (p *prolog) declaration(c uint16) verdict {
	if c == '>' {
		p.state = (*prolog).between
	}
	return goOn
}

// comment ends with -->, with --!>, and, as browsers read it, at once with <!--> and <!--->.
func (p *prolog) comment(c uint16) verdict {
	dashes := p.tail == [2]uint16{'-', '-'}
	early := p.length == 0 || p.length == 1 && p.tail[1] == '-'
	p.length++
	if c == '>' && (dashes || early) {
		p.state = (*prolog).between
	}
	if c != '!' || !dashes {
		p.tail[0], p.tail[1] = p.tail[1], c
	}
	return goOn
}

func (p *prolog) named(c uint16) verdict {
	if c != '>' && c != '/' && !space(c) {
		if p.name = append(p.name, byte(c|0x20)); c > 0x7f || len(p.name) > len("html") {
			return insertBefore
		}
		return hold
	}
	switch string(p.name) {
	case "html", "head":
		p.state, p.quote = (*prolog).attributes, 0
		if c == '>' {
			return p.ended(release)
		}
		return release
	}
	return insertBefore
}

// attributes ends at the first > that is in no quoted value.
func (p *prolog) attributes(c uint16) verdict {
	switch {
	case p.quote != 0 && p.quote != '=':
		if c == p.quote {
			p.quote = 0
		}
	case c == '>':
		return p.ended(goOn)
	case c == '=':
		p.quote = '=' // a value begins
	case p.quote == '=' && (c == '"' || c == '\''):
		p.quote = c
	case !space(c):
		p.quote = 0
	}
	return goOn
}

func (p *prolog) ended(v verdict) verdict {
	p.state = (*prolog).between
	if string(p.name) == "head" {
		return insertAfter
	}
	return v
}
