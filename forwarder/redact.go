package forwarder

import "regexp"

// mask stands where a secret stood.
const mask = "***"

// secrets finds what loggers print of a request and nobody should read: the values in a query, the Cookie and
// Authorization headers, and whatever stands under a key that names a password, a secret or a token.
var secrets = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`([?&][^=&\s"'<>]{1,64}=)[^&\s"'<>#]+`), "${1}" + mask},
	{regexp.MustCompile(`(?i)\b((?:set-)?cookie|(?:proxy-)?authorization)("?\s*[:=]\s*)("?\[?"?)[^"\r\n\]]+`), "${1}${2}${3}" + mask},
	{regexp.MustCompile(`(?i)\b(bearer|basic)(\s+)[A-Za-z0-9._~+/=-]{8,}`), "${1}${2}" + mask},
	{regexp.MustCompile(`(?i)([\w.-]*(?:passw(?:or)?d|passwd|secret|api[_-]?key|access[_-]?token|refresh[_-]?token|private[_-]?key|credential)s?["']?\s*[=:]\s*["']?)[^\s"'&,;{}\[\]]+`), "${1}" + mask},
}

func redact(text string) string {
	for _, s := range secrets {
		text = s.pattern.ReplaceAllString(text, s.with)
	}
	return text
}
