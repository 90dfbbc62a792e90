// Package record cuts a log's bytes into records and says what each one is: a head line and all that belongs to it, its
// severity, its time, and what it tells of the request that it came from.
//
// Nothing is configured. A Splitter learns from the file itself how its records begin. It looks at lines only around what
// could be an error (see scan.go): the rest of a block costs the search alone.
package record

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"time"
)

// MaxText is the number of bytes of text that a Record keeps. Of a longer one the head and the tail are kept, with a
// line between them that says how much is missing.
const MaxText = 256 << 10

// A Record is what the app wrote at one go. The receiver may keep it and change it.
type Record struct {
	// Offset and Length say where the record's bytes stand in the file, without the last line end. Where writers
	// interleave, lines of other records can stand between.
	Offset, Length int64
	// FirstLine and LastLine count from 0, from where the Splitter began. They are set only with Options.Lines.
	FirstLine, LastLine int64

	// Text is the message with its stack trace: without the container runtime's wrapping and colours, and valid UTF-8.
	Text string
	// Fields is the object of a JSON record, as it was written; nil for others.
	Fields []byte

	Severity Severity
	Time     time.Time // the record's own time; zero where it has none
	// ZoneGiven is false where Time was written without a zone. Then the zone was inferred from when the bytes arrived.
	ZoneGiven bool
	Arrived   time.Time // when the first bytes of the record were read
	Format    string    // "json", "logfmt", "syslog", "access", "trace", "plain" or the shape of its stamp, as "iso"

	// What follows is evidence of the request, as far as the record names it. It is set at or above the wanted severity.

	Thread string
	PID    int
	// Kind is the same for the same kind of error: the exception's type and its top frames, without line numbers. It is
	// empty where the record names neither. Site is the line numbers of these frames: it tells apart the places in one function.
	Kind, Site  string
	Method      string
	Path, Query string
	Client      netip.AddrPort // the port is 0 where the record names the address alone
	Status      int            // the HTTP status
	IDs         []string       // what stands under a key that names an ID

	message int // where in Text the message begins, behind stamp and level
}

// Message is the text behind stamp and level.
func (r *Record) Message() string { return r.Text[min(r.message, len(r.Text)):] }

// Options say which records are wanted. The zero value wants nothing left out but what is below Default; see Error.
type Options struct {
	Min   Severity // records below are not emitted
	All   bool     // emit every record; every line that is not blank is then in exactly one
	Lines bool     // count lines
	// Head is a pattern for what cannot be guessed: a line that it matches begins a record. The groups named "time",
	// "level", "thread", "pid", "id", "message" replace what would be found; nil guesses.
	Head *regexp.Regexp
	// UTF16 is the byte order of a file of UTF-16; nil for all files in which a line end is one byte.
	UTF16 binary.ByteOrder
}

// maxPattern is the length in bytes that a pattern may have, with what the short forms stand for.
const maxPattern = 4 << 10

var shortForms = map[string]string{
	"TIMESTAMP": `\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?`,
	"TIME":      `\d\d:\d\d:\d\d(?:[.,]\d+)?`,
	"LOGLEVEL":  `[A-Za-z]+`,
	"INT":       `[+-]?\d+`,
	"NUMBER":    `[+-]?\d+(?:\.\d+)?`,
	"WORD":      `\w+`,
	"NOTSPACE":  `\S+`,
	"SPACE":     `\s*`,
	"DATA":      `.*?`,
	"GREEDY":    `.*`,
	"UUID":      `[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}`,
	"IP":        `[0-9A-Fa-f:.]+`,
	"PATH":      `/\S*`,
}

var shortForm = regexp.MustCompile(`%\{(\w+)(?::(\w+))?\}`)

// ParseHead reads a pattern for Options.Head: RE2, in which %{TIMESTAMP:time} and its like stand for common shapes. It
// fails on what RE2 does not know, on an unknown short form, and beyond 4 KiB.
func ParseHead(pattern string) (*regexp.Regexp, error) {
	var unknown string
	full := shortForm.ReplaceAllStringFunc(pattern, func(form string) string {
		m := shortForm.FindStringSubmatch(form)
		body, ok := shortForms[m[1]]
		if !ok {
			unknown = m[1]
		}
		if m[2] == "" {
			return "(?:" + body + ")"
		}
		return "(?P<" + m[2] + ">" + body + ")"
	})
	if unknown != "" {
		return nil, fmt.Errorf("head pattern: %%{%s} is not known; known are %s", unknown, strings.Join(sortedKeys(shortForms), ", "))
	}
	if len(full) > maxPattern {
		return nil, fmt.Errorf("head pattern: %d bytes, at most %d are allowed", len(full), maxPattern)
	}
	re, err := regexp.Compile(full)
	if err != nil {
		return nil, fmt.Errorf("head pattern: %w", err)
	}
	return re, nil
}
