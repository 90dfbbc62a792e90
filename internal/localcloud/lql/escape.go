package lql

import (
	"strconv"
	"strings"
)

// unescape reads the escapes of a quoted string: \" \\ \a \b \f \n \r \t \v,
// \xHH, \uHHHH, \UHHHHHHHH and octal. An unknown escape stays as it is.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for s != "" {
		r, _, rest, err := strconv.UnquoteChar(s, '"')
		if err != nil {
			b.WriteByte(s[0])
			s = s[1:]
			continue
		}
		b.WriteRune(r)
		s = rest
	}
	return b.String()
}

// unescapePattern leaves to RE2 what RE2 reads itself (\d, \b, \n, ...): only
// the escapes that the string needs for its own sake are taken off.
func unescapePattern(s string) string {
	return strings.NewReplacer(`\\`, `\`, `\"`, `"`).Replace(s)
}
