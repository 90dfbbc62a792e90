package proxy

import (
	"net/http"
	"strconv"

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
	byCookie    = "cookie"
	byLearned   = "learned"
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
