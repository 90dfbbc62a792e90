package lql

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

type kind uint8

const (
	end    kind = iota
	text        // a word, a quoted string, or a path of both
	symbol      // an operator, a parenthesis, a comma, a leading minus
)

// part is one name of a dotted path; quoted parts may hold dots themselves.
type part struct {
	text   string
	raw    string // between the quotes, before escapes are read
	quoted bool
}

type token struct {
	kind  kind
	parts []part // of a text
	raw   string // as it stands in the query
	at    int    // byte offset
	glued bool   // nothing stands between this token and the one before
}

// word reports whether the token is exactly this unquoted word.
func (t token) word(w string) bool {
	return t.kind == text && len(t.parts) == 1 && !t.parts[0].quoted && t.raw == w
}

func (t token) is(s string) bool { return t.kind == symbol && t.raw == s }

// syntaxError says where a query cannot be read, in the API's own words.
type syntaxError struct {
	Line, Column int // from 1
	Token        string
}

func (e *syntaxError) Error() string {
	return fmt.Sprintf("Unparseable filter: syntax error at line %d, column %d, token '%s'", e.Line, e.Column, e.Token)
}

func syntaxErrorAt(query string, at int, token string) error {
	before := query[:at]
	line := strings.Count(before, "\n")
	column := utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])
	return &syntaxError{Line: line + 1, Column: column + 1, Token: token}
}

// lex cuts a query into tokens; the last one has kind end.
func lex(query string) ([]token, error) {
	var tokens []token
	for at := 0; ; {
		start := skipBlank(query, at)
		if start == len(query) {
			return append(tokens, token{at: start}), nil
		}
		t, next, err := lexOne(query, start)
		if err != nil {
			return nil, err
		}
		t.at, t.raw, t.glued = start, query[start:next], start == at
		tokens = append(tokens, t)
		at = next
	}
}

// skipBlank passes over spaces and comments, which run from -- to the line's end.
func skipBlank(s string, at int) int {
	for at < len(s) {
		r, size := utf8.DecodeRuneInString(s[at:])
		switch {
		case unicode.IsSpace(r):
			at += size
		case strings.HasPrefix(s[at:], "--"):
			if n := strings.IndexByte(s[at:], '\n'); n >= 0 {
				at += n
			} else {
				at = len(s)
			}
		default:
			return at
		}
	}
	return at
}

// symbols, longest first.
var symbols = []string{"!=", "<=", ">=", "=~", "!~", "=", "<", ">", ":", "(", ")", ",", "-"}

func lexOne(s string, at int) (t token, next int, err error) {
	for _, sym := range symbols {
		if strings.HasPrefix(s[at:], sym) {
			return token{kind: symbol}, at + len(sym), nil
		}
	}
	return lexText(s, at)
}

// lexText reads words and quoted strings that dots join.
func lexText(s string, at int) (t token, next int, err error) {
	t.kind = text
	for {
		p, after, err := lexPart(s, at)
		if err != nil {
			return t, 0, err
		}
		t.parts = append(t.parts, p)
		if after == len(s) || s[after] != '.' {
			return t, after, nil
		}
		at = after + 1
	}
}

func lexPart(s string, at int) (part, int, error) {
	if at < len(s) && s[at] == '"' {
		return lexQuoted(s, at)
	}
	next := at
	for next < len(s) && s[next] != '.' && isWord(s[next:]) {
		_, size := utf8.DecodeRuneInString(s[next:])
		next += size
	}
	if next == at {
		return part{}, 0, syntaxErrorAt(s, at, firstRune(s[at:]))
	}
	return part{text: s[at:next], raw: s[at:next]}, next, nil
}

// isWord reports whether unquoted text may go on here. The documentation asks
// for quotes around special characters; examples of Google's own leave out the
// quotes around log names, so / and % pass.
func isWord(s string) bool {
	r, _ := utf8.DecodeRuneInString(s)
	return !unicode.IsSpace(r) && !strings.ContainsRune(`"'()=!<>:~,;`+"`", r) && (r != utf8.RuneError)
}

func firstRune(s string) string {
	if s == "" {
		return "<EOF>"
	}
	_, size := utf8.DecodeRuneInString(s)
	return s[:size]
}

func lexQuoted(s string, at int) (part, int, error) {
	for i := at + 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			raw := s[at+1 : i]
			return part{text: unescape(raw), raw: raw, quoted: true}, i + 1, nil
		}
	}
	return part{}, 0, syntaxErrorAt(s, at, s[at:])
}
