package table

import (
	"hash/crc32"
	"net/netip"
	"time"
	"unicode/utf8"

	"github.com/openreplay/log-sidecar/enrich"
	"github.com/openreplay/log-sidecar/session"
)

// An image is an exchange as bytes: a check word over the rest, the length, the fields of fixed size, and the strings,
// each after its length in two bytes.
const (
	atCheck      = 0
	atSize       = 4
	atStatus     = 6
	atFlags      = 8
	atIDs        = 9 // how many
	atPort       = 10
	atBegin      = 16
	atHead       = 24
	atEnd        = 32
	atJoined     = 40 // when the upstream connection was taken
	atSessionID  = 48
	atAppSession = 56
	atAddr       = 64
	fixedSize    = 80
)

const (
	flagStreams  = 1
	flagUpstream = 2
	flagSession  = 4
)

// How much of each string is kept, in bytes.
const (
	maxID        = 256
	maxIDs       = 16 // beside the exchange's own
	maxTarget    = 512
	maxMethod    = 32
	maxClient    = 64
	maxSessionBy = 16
)

// mark is the end of what was cut.
const mark = "…"

// A record is an exchange with what only the table knows of it.
type record struct {
	enrich.Exchange
	joined int64
}

// encode writes x into dst, which has room for maxImage bytes, and says how many of its IDs it has.
func encode(dst []byte, x *enrich.Exchange, joined int64) (image []byte, ids int) {
	le.PutUint16(dst[atStatus:], uint16(x.Status))
	le.PutUint64(dst[atBegin:], uint64(nanos(x.Begin)))
	le.PutUint64(dst[atHead:], uint64(nanos(x.Head)))
	le.PutUint64(dst[atEnd:], uint64(nanos(x.End)))
	le.PutUint64(dst[atJoined:], uint64(joined))
	le.PutUint64(dst[atSessionID:], x.SessionID)
	le.PutUint64(dst[atAppSession:], x.AppSession)
	addr := x.Upstream.Addr().As16()
	copy(dst[atAddr:], addr[:])
	le.PutUint16(dst[atPort:], x.Upstream.Port())
	dst[atFlags] = flags(x)
	image = appendStrings(dst[:fixedSize], x)
	for ids < min(len(x.IDs), maxIDs) && len(x.IDs[ids]) <= maxID && len(image)+2+len(x.IDs[ids]) <= maxImage {
		image = appendCut(image, x.IDs[ids], maxID)
		ids++
	}
	image[atIDs] = byte(ids)
	seal(image)
	return image, ids
}

func flags(x *enrich.Exchange) (f byte) {
	if x.Streams {
		f |= flagStreams
	}
	if x.Upstream.IsValid() {
		f |= flagUpstream
	}
	if hasSession(x) {
		f |= flagSession
	}
	return f
}

func hasSession(x *enrich.Exchange) bool { return token(x) != "" || x.SessionID != 0 }

func appendStrings(image []byte, x *enrich.Exchange) []byte {
	image = appendCut(image, x.ID, maxID)
	image = appendCut(image, token(x), session.MaxToken)
	image = appendCut(image, x.SessionBy, maxSessionBy)
	image = appendCut(image, x.Method, maxMethod)
	image = appendCut(image, x.Client, maxClient)
	return appendCut(image, x.Target, maxTarget)
}

// token is the token as it is kept: whole, or not at all if it is longer than a token can be. A part of one is another
// one.
func token(x *enrich.Exchange) string {
	if len(x.Session) > session.MaxToken {
		return ""
	}
	return x.Session
}

// appendCut appends s, or as many of its whole characters as fit into max bytes together with the mark.
func appendCut(b []byte, s string, max int) []byte {
	if len(s) <= max {
		return append(le.AppendUint16(b, uint16(len(s))), s...)
	}
	end := max - len(mark)
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	b = append(le.AppendUint16(b, uint16(end+len(mark))), s[:end]...)
	return append(b, mark...)
}

// seal completes an image.
func seal(image []byte) {
	le.PutUint16(image[atSize:], uint16(len(image)))
	le.PutUint32(image[atCheck:], crc32.Checksum(image[atSize:], castagnoli))
}

// intact says whether an image that was found can be read.
func intact(image []byte) bool {
	return len(image) >= fixedSize && int(imageSize(image)) == len(image) &&
		le.Uint32(image) == crc32.Checksum(image[atSize:], castagnoli) && wellFormed(image)
}

// wellFormed says whether the strings fill the image. It is what decode needs, without its allocations.
func wellFormed(image []byte) bool {
	rest := image[fixedSize:]
	for range 6 + int(image[atIDs]) {
		if len(rest) < 2 || len(rest)-2 < int(le.Uint16(rest)) {
			return false
		}
		rest = rest[2+int(le.Uint16(rest)):]
	}
	return len(rest) == 0 && image[atIDs] <= maxIDs
}

// decode gives the exchange of an image. It survives any bytes.
func decode(image []byte) (r record, ok bool) {
	if len(image) < fixedSize || !wellFormed(image) {
		return r, false
	}
	r.Status = int(le.Uint16(image[atStatus:]))
	r.Begin, r.Head, r.End = moment(image, atBegin), moment(image, atHead), moment(image, atEnd)
	r.joined = int64(le.Uint64(image[atJoined:]))
	r.SessionID = le.Uint64(image[atSessionID:])
	r.AppSession = le.Uint64(image[atAppSession:])
	r.Streams = image[atFlags]&flagStreams != 0
	r.Upstream = upstream(image)
	rest := string(image[fixedSize:])
	for _, field := range []*string{&r.ID, &r.Session, &r.SessionBy, &r.Method, &r.Client, &r.Target} {
		*field, rest = takeString(rest)
	}
	if n := int(image[atIDs]); n > 0 {
		r.IDs = make([]string, n)
	}
	for i := range r.IDs {
		r.IDs[i], rest = takeString(rest)
	}
	return r, true
}

func takeString(from string) (s, rest string) {
	n := 2 + (int(from[0]) | int(from[1])<<8)
	return from[2:n], from[n:]
}

func upstream(image []byte) netip.AddrPort {
	if image[atFlags]&flagUpstream == 0 {
		return netip.AddrPort{}
	}
	addr := netip.AddrFrom16([16]byte(image[atAddr:]))
	return netip.AddrPortFrom(addr.Unmap(), le.Uint16(image[atPort:]))
}

func imageSize(start []byte) uint16 { return le.Uint16(start[atSize:]) }

// nanos is a moment as the image has it: Unix nanoseconds, 0 for no moment.
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func moment(image []byte, at int) time.Time {
	if n := int64(le.Uint64(image[at:])); n != 0 {
		return time.Unix(0, n)
	}
	return time.Time{}
}
