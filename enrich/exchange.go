// Package enrich joins what the proxy saw with what the app wrote.
package enrich

import (
	"net/netip"
	"strings"
	"time"
)

// An Exchange is one request and its answer, as the proxy saw it. It is open from its first byte in until its answer's
// last byte out. It holds no type of any HTTP library: more than one engine reports through it.
type Exchange struct {
	ID        string // the request ID that the app was sent; "" where only the user is known
	Session   string // the session token, byte for byte; "" where none is known
	SessionID uint64 // OpenReplay's number of the session; 0 where it is not known
	SessionBy string // how Session was found: "header", "sessionId", "cookie", "learned"

	Method string
	Target string // path and query, as they came
	Client string // the client's address, without port

	// IDs are the other IDs by which a record may name this exchange: from the request's headers, from the answer's, and
	// out of the body of a 5xx answer. It grows while the exchange is open.
	IDs []string
	// AppSession is a keyed hash of the app's own session cookie; 0 where none came.
	AppSession uint64
	// Upstream is our end of the connection to the app that serves this exchange; zero until one was chosen. Its port is 0 where
	// no other connection has that address.
	Upstream netip.AddrPort

	Begin  time.Time
	Head   time.Time // the answer's head was read; zero until then
	End    time.Time // zero while open
	Status int       // 0 until the answer's head was read; what the client was sent where the app gave none
	// Streams is true of upgraded connections and event streams, which stay open long after their work is done.
	Streams bool

	// Ref is for the one who keeps the exchange: Begin sets it, later calls bring it back.
	Ref uint64
}

// Trace finds the trace and the span that the request was of, which stand beside each other among its IDs; "" where it was of
// none. W3C Trace Context, 3.2.2.3 and 3.2.2.4, has their shapes.
func (x *Exchange) Trace() (trace, span string) {
	for i := 1; i < len(x.IDs); i++ {
		if isTraceID(x.IDs[i-1]) && isSpanID(x.IDs[i]) {
			return x.IDs[i-1], x.IDs[i]
		}
	}
	return "", ""
}

func isTraceID(id string) bool { return len(id) == 32 && isLowerHex(id) }

func isSpanID(id string) bool { return len(id) == 16 && isLowerHex(id) }

func isLowerHex(id string) bool { return hexadecimal(id) && id == strings.ToLower(id) }

// HasSession says whether it is known whose exchange this is, by the token or by the session's number alone.
func (x *Exchange) HasSession() bool { return x.Session != "" || x.SessionID != 0 }
