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
	lower := strings.ToLower(text)
	for _, s := range secrets {
		if s.sign(lower) {
			text = s.pattern.ReplaceAllString(text, s.with)
		}
	}
	return text
}

func (s *secret) sign(lower string) bool {
	for _, sign := range s.signs {
		if strings.Contains(lower, sign) {
			return true
		}
	}
	return false
}
