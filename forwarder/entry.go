package forwarder

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/openreplay/log-sidecar/enrich"
	"github.com/openreplay/log-sidecar/enrich/record"
	"github.com/openreplay/log-sidecar/forwarder/journal"
	"github.com/openreplay/log-sidecar/session"
)

// maxMessage is the most bytes of a message that are sent. Cloud Logging takes entries of 256 KiB, its own estimate of
// their size included, and refuses larger ones.
const maxMessage = 200 << 10

// maxRecord is the most bytes of a JSON record's own fields that are sent beside the message.
const maxRecord = 32 << 10

// An Entry is what is to stand in Cloud Logging, before it is sealed. Its strings are valid UTF-8.
type Entry struct {
	Key       journal.Key
	InsertID  string
	Severity  record.Severity
	Labels    []Label
	Message   string
	EventTime time.Time
	Fields    []byte // a JSON record's own object; nil where the record is none
	Request   *Request
	Trace     string // 32 hexadecimal digits; "" where the request was of none
	SpanID    string // 16 of them: the caller's span
	Service   string // what Error Reporting files the error under; "" where it is not known
	Repeats   int    // how often the same came again within a second
	Source    Source
}

// A Label is one of an entry's labels.
type Label struct{ Key, Value string }

// Request is what the proxy saw of the exchange. It is not LogEntry.httpRequest: OpenReplay's reader drops entries that
// have one.
type Request struct {
	Method, URL string
	Status      int           // 0 where the answer has not begun
	Latency     time.Duration // 0 while it is open
}

// Source says where the record's bytes stand.
type Source struct {
	File           string
	Offset, Length int64
}

// builder makes entries out of findings.
type builder struct {
	state   string // the state directory's random ID
	service string
	redact  bool
	// link gives the address of a moment in a replay, or ""
	link func(session.ID, time.Time) string

	made    Entry // the entry that was made last, and its request: one of each is enough
	request Request
}

// entry makes an entry that is good until the next one is made.
func (b *builder) entry(f *enrich.Finding) *Entry {
	r, e := f.Record, &b.made
	*e = Entry{
		Labels:    e.Labels[:0],
		Key:       keyOfBytes(f),
		InsertID:  insertID(b.state, f.File, r.Offset),
		Severity:  r.Severity,
		Message:   b.clean(r.Text, f.Exchange),
		EventTime: r.Time,
		Fields:    b.fields(r.Fields, f.Exchange),
		Repeats:   len(f.Repeats),
		Service:   b.service,
		Source:    Source{File: valid(f.Path), Offset: r.Offset, Length: r.Length},
	}
	if x := f.Exchange; x != nil {
		e.Labels = b.labels(e.Labels, f, x)
	}
	if x := f.Exchange; x != nil && x.ID != "" {
		e.Trace, e.SpanID = x.Trace()
		b.request = Request{Method: x.Method, URL: b.clean(x.Target, x), Status: x.Status}
		e.Request = &b.request
		if !x.End.IsZero() {
			e.Request.Latency = max(x.End.Sub(x.Begin), time.Microsecond)
		}
	}
	return e
}

// insertID is the same for the same bytes of the same file after any restart, and no other sidecar's: Cloud Logging
// drops a second entry with equal project, timestamp and insertId. It is never made from content, so that equal errors
// stay two. Its last part sorts entries of one timestamp into the order of the file.
func insertID(state, file string, offset int64) string {
	const digits = 12
	b := make([]byte, 0, len(state)+len(file)+2+16)
	b = append(append(append(append(b, state...), '-'), file...), '-')
	for least := int64(1) << (4 * (digits - 1)); offset < least && least > 1; least >>= 4 {
		b = append(b, '0')
	}
	return string(strconv.AppendInt(b, offset, 16))
}

func (b *builder) labels(labels []Label, f *enrich.Finding, x *enrich.Exchange) []Label {
	add := func(key, value string) {
		if value != "" {
			labels = append(labels, Label{key, valid(value)})
		}
	}
	add("openReplaySessionToken", x.Session)
	id, ok := session.ParseID(x.Session)
	if !ok && x.SessionID != 0 {
		id, ok = session.ID(x.SessionID), true
	}
	if ok {
		add("openReplaySession.id", id.String())
		add("openReplaySessionURL", b.link(id, f.Record.Time))
	}
	add("requestId", x.ID)
	add("matchedBy", f.By)
	if add("match", "exact"); f.Inferred {
		labels[len(labels)-1].Value = "inferred"
	}
	add("sessionBy", x.SessionBy)
	return labels
}

// clean gives text as it may leave: valid UTF-8, without secrets, not too long.
func (b *builder) clean(text string, x *enrich.Exchange) string {
	text = valid(text)
	if b.redact {
		text = redact(text)
		if x != nil && x.Session != "" { // the token stands only in its label
			text = strings.ReplaceAll(text, x.Session, mask)
		}
	}
	return cut(text, maxMessage)
}

// valid repairs what is not UTF-8; mostly nothing is.
func valid(text string) string {
	if utf8.ValidString(text) {
		return text
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

// fields gives a JSON record's own object as it may leave. One that is too large is left out: its message is sent all
// the same.
func (b *builder) fields(object []byte, x *enrich.Exchange) []byte {
	if len(object) == 0 || len(object) > maxRecord {
		return nil
	}
	clean := []byte(b.clean(string(object), x))
	if !json.Valid(clean) {
		return nil
	}
	return clean
}

// cut keeps the head and the tail of text where it has more than limit bytes, and says how much is missing. The end of a
// stack trace names the cause, so both ends count.
func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	head, tail := limit*2/3, len(text)-limit/3
	for !utf8.RuneStart(text[head]) {
		head--
	}
	for tail < len(text) && !utf8.RuneStart(text[tail]) {
		tail++
	}
	return fmt.Sprintf("%s\n[%d of %d bytes cut out here]\n%s", text[:head], tail-head, len(text), text[tail:])
}
