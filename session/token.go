// Package session knows whose request it is.
//
// The tracker's header says it, where a script makes the call. Links, forms, images and downloads carry no header of ours,
// but the app's own session cookie: Memory learns from the requests that have both, and knows the others by their cookie.
// A wrong session is worse than none, and every rule here is on that side.
package session

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// MaxToken is the length in bytes above which a header's value is not taken for a token. Real ones have about 70.
const MaxToken = 1 << 10

// An ID is OpenReplay's number of a session.
type ID uint64

// ParseID gives the session's ID out of a token, which is base36(ID) "." base36(delay) "." base36(expiry) "." signature;
// tokens of 2022 lack the delay. Only OpenReplay can check the signature, so ok says "has the shape", not "is genuine".
func ParseID(token string) (id ID, ok bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 && len(parts) != 4 || parts[len(parts)-1] == "" {
		return 0, false
	}
	n, err := strconv.ParseUint(parts[0], 36, 64)
	if err != nil || n == 0 {
		return 0, false
	}
	for _, part := range parts[1 : len(parts)-1] {
		if _, err := strconv.ParseInt(part, 36, 64); err != nil { // the delay may be negative
			return 0, false
		}
	}
	return ID(n), true
}

// Expiry is when the token's session is over, as OpenReplay's clock has it; zero where the token does not say. From then on
// ingest answers 401, and the tracker begins a new session.
func Expiry(token string) time.Time {
	parts := strings.Split(token, ".")
	if len(parts) < 3 {
		return time.Time{}
	}
	if _, ok := ParseID(token); !ok {
		return time.Time{}
	}
	ms, err := strconv.ParseInt(parts[len(parts)-2], 36, 64)
	if err != nil || ms <= 0 || ms > maxMillis {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// maxMillis is the last moment that still counts in nanoseconds.
const maxMillis = math.MaxInt64 / 1_000_000

// Start is when the session began, to the millisecond: the ID's upper bits count from OpenReplay's epoch.
func (id ID) Start() time.Time {
	const epoch = 1_550_000_000_000
	return time.UnixMilli(int64(id>>24) + epoch).UTC()
}

// String is the decimal form, as OpenReplay's addresses and searches use it.
func (id ID) String() string { return strconv.FormatUint(uint64(id), 10) }
