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
	if found := signsIn(text); found != 0 {
		for i, s := range secrets {
			if found&(1<<i) != 0 {
				text = s.pattern.ReplaceAllString(text, s.with)
			}
		}
	}
	return text
}

// signsIn has a bit for each secret of which the text has a sign, in whatever case.
func signsIn(text string) (found uint) {
	for i := 0; i+3 <= len(text); i++ {
		three := threeLetters(text[i], text[i+1], text[i+2])
		if signBegins[three>>6]&(1<<(three&63)) != 0 {
			found |= signsAt(text[i:])
		}
	}
	for i, s := range secrets {
		for _, sign := range s.signs {
			// One character alone is no word; and Kelvin's sign counts as a k to a pattern without regard to case.
			if len(sign) == 1 && strings.Contains(text, sign) || len(sign) > 1 && strings.Contains(text, "\u212a") {
				found |= 1 << i
			}
		}
	}
	return found
}

func signsAt(text string) (found uint) {
	for i, s := range secrets {
		for _, sign := range s.signs {
			if len(sign) > 1 && len(text) >= len(sign) && strings.EqualFold(text[:len(sign)], sign) {
				found |= 1 << i
			}
		}
	}
	return found
}

// threeLetters tells letters apart without regard to case, in 15 bits.
func threeLetters(a, b, c byte) uint {
	return uint(a&31)<<10 | uint(b&31)<<5 | uint(c&31)
}

// signBegins has a bit for each three letters with which a word among the signs begins.
var signBegins = func() (bits [1 << 15 / 64]uint64) {
	for _, s := range secrets {
		for _, sign := range s.signs {
			if len(sign) > 1 {
				three := threeLetters(sign[0], sign[1], sign[2])
				bits[three>>6] |= 1 << (three & 63)
			}
		}
	}
	return bits
}()
