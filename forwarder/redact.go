package forwarder

import (
	"regexp"
	"strings"
)

// mask stands where a secret stood.
const mask = "***"

// A secret is something that loggers print of a request and nobody should read.
type secret struct {
	// signs are in lower case; a text without any of them is not searched. Most have none, and a search costs as much as
	// the rest of an entry.
	signs   []string
	pattern *regexp.Regexp
	with    string
}

// secrets are the values in a query, the Cookie and Authorization headers, and what stands under a key that names a
// password, a key or a token.
var secrets = []secret{
	{[]string{"?", "&"}, regexp.MustCompile(`([?&][^=&?\s"'<>]{1,64}=)[^&\s"'<>#]+`), "${1}" + mask},
	{[]string{"cookie", "authorization"}, regexp.MustCompile(`(?i)((?:http_)?(?:set-)?cookie|(?:http_)?(?:proxy[_-])?authorization)(["']?\s*(?:=>|[:=])\s*)(["']?\[?["']?)[^"'\r\n\]]+`), "${1}${2}${3}" + mask},
	{[]string{"bearer", "basic"}, regexp.MustCompile(`(?i)\b(bearer|basic)(\s+)[A-Za-z0-9._~+/=-]{8,}`), "${1}${2}" + mask},
	{[]string{"passw", "secret", "token", "key", "credential"},
		regexp.MustCompile(`(?i)([\w.-]*(?:passw(?:or)?d|secret|api[_-]?key|(?:access|refresh|auth|id|csrf|session)[_-]?token|private[_-]?key|credential)s?["']?\s*(?:=>|[=:])\s*["']?)[^\s"'&,;{}\[\]]+`), "${1}" + mask},
}

func redact(text string) string {
	hit := signsIn(text)
	for i, s := range secrets {
		if hit&signs.of[i] != 0 {
			text = s.pattern.ReplaceAllString(text, s.with)
		}
	}
	return text
}

// signs are those of all secrets behind each other, a bit for each letter, so that one pass looks for all of them (shift-and,
// R. Baeza-Yates and G. Gonnet, A New Approach to Text Searching, 1992).
var signs = func() (s struct {
	letters [256]uint64 // where a byte may stand
	begins  uint64
	of      []uint64 // where the signs of each secret end
}) {
	bit := uint64(1)
	for _, secret := range secrets {
		ends := uint64(0)
		for _, sign := range secret.signs {
			s.begins |= bit
			for _, c := range []byte(sign) {
				s.letters[c] |= bit
				if 'a' <= c && c <= 'z' {
					s.letters[c-'a'+'A'] |= bit
				}
				bit <<= 1
			}
			ends |= bit >> 1
		}
		s.of = append(s.of, ends)
	}
	if bit == 0 {
		panic("the signs have more than 63 letters")
	}
	return s
}()

// signsIn tells which signs the text has, in whatever case.
func signsIn(text string) (hit uint64) {
	if strings.Contains(text, "\u212a") || strings.Contains(text, "\u017f") { // to a pattern without regard to case a k and an s
		return ^uint64(0)
	}
	half := len(text) / 2
	var d, e uint64 // of either half: what has been seen of each sign. Two at a time keep the processor busy.
	for i := range half {
		d = (d<<1 | signs.begins) & signs.letters[text[i]]
		e = (e<<1 | signs.begins) & signs.letters[text[half+i]]
		hit |= d | e
	}
	if len(text)%2 == 1 {
		e = (e<<1 | signs.begins) & signs.letters[text[len(text)-1]]
		hit |= e
	}
	for i := half; i < len(text) && d != 0; i++ { // what stands across the middle
		d = d << 1 & signs.letters[text[i]]
		hit |= d
	}
	return hit
}
