package proxy

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"net/http"
	"strconv"
	"strings"

	"github.com/openreplay/log-sidecar/session"
)

// sessionIDHeader carries OpenReplay's decimal number of the session, as newer pages of its documentation have it sent.
const sessionIDHeader = "Openreplaysession.id"

// sessionHeaders reads whose request it is.
type sessionHeaders struct{ names []string }

func newSessionHeaders(names []string) sessionHeaders {
	var s sessionHeaders
	for _, name := range names {
		s.names = append(s.names, http.CanonicalHeaderKey(name))
	}
	return s
}

// How the session was found, or why not, as SessionBy and metrics name it.
const (
	byHeader    = "header"
	bySessionID = "sessionId"
	byNone      = "none"
	byInvalid   = "invalid"  // too long, or with characters that no token has
	byConflict  = "conflict" // headers that name different sessions: a wrong user is worse than none
)

// read gives the session token byte for byte, and its number where one is known.
func (s sessionHeaders) read(h http.Header) (token string, id uint64, by string) {
	by = byNone
	for _, name := range s.names {
		for _, value := range h[name] {
			switch {
			case value == "":
			case len(value) > session.MaxToken || !visible(value):
				return "", 0, byInvalid
			case token != "" && token != value:
				return "", 0, byConflict
			default:
				token, by = value, byHeader
			}
		}
	}
	if parsed, ok := session.ParseID(token); ok {
		id = uint64(parsed)
	}
	return number(h, token, id, by)
}

// number adds what the decimal header says. It must agree with the token.
func number(h http.Header, token string, id uint64, by string) (string, uint64, string) {
	for _, value := range h[sessionIDHeader] {
		n, err := strconv.ParseUint(value, 10, 64)
		switch {
		case value == "":
		case err != nil || n == 0:
			return "", 0, byInvalid
		case id != 0 && id != n:
			return "", 0, byConflict
		default:
			id = n
		}
	}
	if token == "" && id != 0 {
		by = bySessionID
	}
	return token, id, by
}

// appCookies are the names under which servers and frameworks keep their own session: exact ones, and endings.
var appCookies = []string{
	"JSESSIONID", "PHPSESSID", "ASP.NET_SessionId", ".AspNetCore.Session", ".AspNetCore.Cookies", ".ASPXAUTH", "connect.sid",
	"sessionid", "laravel_session", "ci_session", "rack.session", "SESSION", "PLAY_SESSION", "CAKEPHP", "koa.sess",
	"CFID", "symfony", "beaker.session.id", "session_id", "session", "sid",
}

// appCookieEnding is how Rails and newer Laravel end theirs: _myapp_session.
const appCookieEnding = "_session"

// cookieHash recognises a user of the app by the app's own session cookie, of which it keeps a keyed hash only.
type cookieHash struct{ key []byte }

func newCookieHash(key []byte) cookieHash {
	if len(key) == 0 {
		key = make([]byte, 32)
		rand.Read(key)
	}
	return cookieHash{key}
}

// of gives 64 bits of the hash, 0 where there is no such cookie. Of several, the one whose name stands first in appCookies counts.
func (c cookieHash) of(lines []string) uint64 {
	best, at := "", len(appCookies)+1
	for _, line := range lines {
		for pair := range strings.SplitSeq(line, ";") {
			pair = strings.TrimSpace(pair)
			name, value, _ := strings.Cut(pair, "=")
			if rank := cookieRank(name); rank < at && len(value) >= 8 {
				best, at = pair, rank
			}
		}
	}
	if best == "" {
		return 0
	}
	var room [128]byte
	sum := sha256.Sum256(append(append(room[:0], c.key...), best...))
	return max(binary.LittleEndian.Uint64(sum[:]), 1)
}

func cookieRank(name string) int {
	for i, known := range appCookies {
		if name == known {
			return i
		}
	}
	if strings.HasSuffix(name, appCookieEnding) {
		return len(appCookies)
	}
	return len(appCookies) + 1
}
