package record

import "bytes"

// messageLevel reads what a message calls itself in its first words: "ERROR: ...", "PHP Fatal error:  ...".
func messageLevel(b []byte) (Severity, bool) {
	b = bytes.TrimLeft(b, " \t-:|*")
	if len(b) > 80 {
		b = b[:80]
	}
	if s, ok := phraseAt(b); ok {
		return s, true
	}
	if len(b) > 2 && b[0] == '[' {
		if in, end := bracketed(b, 0); end > 0 {
			if s, ok, _ := levelInside(in); ok && len(in) > 1 {
				return s, true
			}
		}
		return 0, false
	}
	end := 0
	for end < len(b) && (isLetter(b[end]) || b[end] >= 0x80) {
		end++
	}
	if end < 2 || end >= len(b) {
		return 0, false
	}
	s, ok := levelOf(b[:end])
	switch {
	case !ok:
		return 0, false
	case b[end] == ':' && (end+1 == len(b) || b[end+1] == ' ' || allUpper(b[:end])):
		return s, allUpper(b[:end]) || coreLevel(b[:end]) || s >= Error && end > 4
	case allUpper(b[:end]) && coreLevel(b[:end]) && has(" \t", b[end]):
		return s, true
	}
	return 0, false
}

func phraseAt(b []byte) (Severity, bool) {
	for _, phrase := range phrases {
		if hasFold(b, 0, phrase.text) {
			return phrase.sev, true
		}
	}
	return 0, false
}

var phrases = []struct {
	text string
	sev  Severity
}{
	{"php fatal error:", Error}, {"php parse error:", Error}, {"php recoverable fatal error:", Error}, {"php catchable fatal error:", Error},
	{"php core error:", Error}, {"php compile error:", Error}, {"php warning:", Warning}, {"php notice:", Notice}, {"php deprecated:", Warning},
	{"php strict standards:", Notice}, {"php user error:", Error},
	{"fatal error:", Error}, {"parse error:", Error}, {"http: panic serving", Error}, {"panic serving", Error}, {"unhandled exception", Error},
	{"uncaught exception", Error},
}
