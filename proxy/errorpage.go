package proxy

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
)

// errorPage is the beginning of a 5xx answer's body, copied as it passes. Apps like to show their users a number under
// which the log has the error.
type errorPage struct {
	wanted  bool
	gzipped bool
	text    []byte
}

const maxPage = 8 << 10

func newErrorPage(h http.Header) errorPage {
	encoding := h.Get("Content-Encoding")
	return errorPage{wanted: encoding == "" || encoding == "gzip", gzipped: encoding == "gzip"}
}

func (p *errorPage) add(b []byte) {
	if p.wanted && len(p.text) < maxPage {
		p.text = append(p.text, b[:min(len(b), maxPage-len(p.text))]...)
	}
}

// ids appends the words that look like IDs.
func (p *errorPage) ids(ids []string) []string {
	text := p.text
	if p.gzipped {
		text = unzip(text)
	}
	for len(text) > 0 && len(ids) < maxIDs {
		i := bytes.IndexFunc(text, inWord)
		if i < 0 {
			break
		}
		text = text[i:]
		n := bytes.IndexFunc(text, func(r rune) bool { return !inWord(r) })
		if n < 0 {
			n = len(text)
		}
		if looksLikeID(text[:n]) {
			ids = appendID(ids, string(text[:n]))
		}
		text = text[n:]
	}
	return ids
}

// unzip gives what can be read of the beginning of a gzip stream, and no more of it than of a plain page.
func unzip(b []byte) []byte {
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil
	}
	text, _ := io.ReadAll(io.LimitReader(r, maxPage)) // it breaks off where the copy does
	return text
}

func inWord(r rune) bool {
	return '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || r == '-' || r == '_'
}

// looksLikeID tells IDs from words and numbers: 8 to 64 characters, with at least three digits, and either letters among
// them or 16 digits and more. That it is wrong now and then does no harm: such a word has to stand in the log as well.
func looksLikeID(word []byte) bool {
	if len(word) < 8 || len(word) > 64 {
		return false
	}
	digits, letters := 0, 0
	for _, b := range word {
		switch {
		case '0' <= b && b <= '9':
			digits++
		case b != '-' && b != '_':
			letters++
		}
	}
	return digits >= 3 && (letters > 0 || digits >= 16)
}
