package session

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"iter"
	"math"
	"strings"
	"time"
)

// wellKnown are the names under which servers and frameworks keep their own session, the most telling first.
var wellKnown = []string{
	"JSESSIONID", "PHPSESSID", "ASP.NET_SessionId", ".AspNetCore.Session", ".AspNetCore.Cookies", ".ASPXAUTH", "connect.sid",
	"sessionid", "laravel_session", "ci_session", "rack.session", "SESSION", "PLAY_SESSION", "CAKEPHP", "koa.sess",
	"CFTOKEN", "symfony", "beaker.session.id", "session_id", "session", "sid",
}

// knownEnding is how Rails, newer Laravel and MediaWiki end theirs: _shop_session.
const knownEnding = "_session"

// unknown is the rank of a name that nobody knows.
const unknown = math.MaxInt

var ranks = func() map[string]int {
	m := map[string]int{}
	for i, name := range wellKnown {
		m[name] = i
	}
	return m
}()

func rank(name string) int {
	if r, ok := ranks[name]; ok {
		return r
	}
	if strings.HasSuffix(name, knownEnding) {
		return len(wellKnown)
	}
	return unknown
}

// pairs gives the cookies of a request, each with its name and value.
func pairs(lines []string) iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		for _, line := range lines {
			for pair := range strings.SplitSeq(line, ";") {
				name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
				if !yield(name, value) {
					return
				}
			}
		}
	}
}

// A hasher makes keyed hashes, so that whoever finds one learns nothing of what was hashed.
type hasher struct{ key []byte }

// of gives 64 bits of the hash, never 0. A line feed stands in none of the parts.
func (h hasher) of(parts ...string) uint64 {
	var room [256]byte
	b := append(room[:0], h.key...)
	for _, part := range parts {
		b = append(append(b, '\n'), part...)
	}
	sum := sha256.Sum256(b)
	return max(binary.LittleEndian.Uint64(sum[:]), 1)
}

// How many bits of chance a value must show to be one browser's alone; under a well-known name, fewer. `guest`, `route-3` and
// `2024-11-28` show less.
const (
	telling       = 40
	tellingByName = 30
)

// ownID gives the app's own ID of the session out of its cookie: what stands around it is for the server. Express signs it
// (s:ID.signature), Java's servers add the name of a node (ID.node, ID!node!node), and Spring Session writes a UUID in base64.
func ownID(name, value string) string {
	id := value
	switch name {
	case "JSESSIONID":
		if at := strings.IndexAny(value, ".!"); at > 0 {
			id = value[:at]
		}
	case "SESSION":
		if text, err := base64.StdEncoding.DecodeString(value); err == nil && len(text) == 36 && hexadecimal(string(text)) {
			id = string(text)
		}
	default:
		signed, found := strings.CutPrefix(value, "s%3A")
		if !found {
			signed, found = strings.CutPrefix(value, "s:")
		}
		if found {
			id, _, _ = strings.Cut(signed, ".")
		}
	}
	if !identifies(id) {
		return value
	}
	return id
}

// random says whether a value looks as if it were made by chance.
func random(value string) bool { return chance(value) >= telling }

// identifies says whether a value under a well-known name is one browser's alone. There a long piece of letters and digits is
// no word, although the letters in it may look like some: those of ASP.NET show too little chance every other time, and PHP's
// one time in sixteen.
func identifies(value string) bool {
	if chance(value) >= tellingByName {
		return true
	}
	for piece := range strings.FieldsFuncSeq(value, func(c rune) bool { return c < 128 && kindOf(byte(c)) == 0 }) {
		if n := len(piece); (n >= 24 || n >= 16 && strings.ContainsAny(piece, "0123456789")) && bound(telling, piece) >= telling {
			return true
		}
	}
	return false
}

// chance is how many bits of chance a value shows. Runs of letters of one case may be words, and count little, runs of digits
// are numbers; of hexadecimal text every digit counts.
func chance(value string) float64 {
	if hexadecimal(value) {
		return bound(4*float64(len(value)), value)
	}
	bits := 0.0
	for i := 0; i < len(value); {
		kind := kindOf(value[i])
		n := 1
		for i+n < len(value) && (kindOf(value[i+n]) == kind || n == 1 && kind == 'A' && kindOf(value[i+n]) == 'a') {
			kind = kindOf(value[i+n]) // a capital and what it leads are one
			n++
		}
		switch kind {
		case '0':
			bits += math.Log2(10) * float64(n)
		case 'a', 'A':
			bits += min(4.7*float64(n), 6)
		}
		i += n
	}
	return bound(bits, value)
}

// bound takes from a value what it has of repetition.
func bound(bits float64, value string) float64 {
	var seen [256]bool
	distinct := 0
	for i := range len(value) {
		if !seen[value[i]] {
			seen[value[i]] = true
			distinct++
		}
	}
	return min(bits, 6*float64(distinct))
}

func hexadecimal(value string) bool {
	digits, letters := 0, 0
	for i := range len(value) {
		switch c := value[i]; {
		case '0' <= c && c <= '9':
			digits++
		case 'a' <= c && c <= 'f', 'A' <= c && c <= 'F':
			letters++
		case c != '-':
			return false
		}
	}
	return digits >= 2 && letters >= 2
}

func kindOf(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return '0'
	case 'a' <= c && c <= 'z':
		return 'a'
	case 'A' <= c && c <= 'Z':
		return 'A'
	}
	return 0
}

// given gives the cookies that an answer sets. Those that it deletes are left out.
func given(lines []string, now time.Time) iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		for _, line := range lines {
			pair, attributes, _ := strings.Cut(line, ";")
			name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
			if value == "" || deletes(attributes, now) {
				continue
			}
			if !yield(name, value) {
				return
			}
		}
	}
}

// deletes says whether a cookie's attributes end it at once: RFC 6265, 5.2.1 and 5.2.2.
func deletes(attributes string, now time.Time) bool {
	gone := false
	for attribute := range strings.SplitSeq(attributes, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(attribute), "=")
		switch {
		case strings.EqualFold(name, "Max-Age"): // which counts before Expires
			return value == "0" || strings.HasPrefix(value, "-")
		case strings.EqualFold(name, "Expires"):
			at, err := parseDate(value)
			gone = err == nil && at.Before(now)
		}
	}
	return gone
}

// parseDate reads a date as servers write it into Expires.
func parseDate(text string) (t time.Time, err error) {
	for _, layout := range []string{time.RFC1123, "Mon, 02-Jan-2006 15:04:05 MST", "Mon, 02-Jan-06 15:04:05 MST", time.ANSIC} {
		if t, err = time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return t, err
}
