package cloudlogging

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/openreplay/log-sidecar/forwarder"
)

// The numbers of the fields of google.logging.v2.LogEntry, google.protobuf.Timestamp, Struct, Value and of map entries,
// from their .proto files.
const (
	entryInsertID    = 4
	entryJSONPayload = 6
	entryTimestamp   = 9
	entrySeverity    = 10
	entryLabels      = 11
	entryTrace       = 22
	entrySpanID      = 27

	timestampSeconds = 1
	timestampNanos   = 2

	structFields = 1
	mapKey       = 1
	mapValue     = 2

	valueNull   = 1
	valueNumber = 2
	valueString = 3
	valueBool   = 4
	valueStruct = 5
	valueList   = 6
	listValues  = 1
)

// maxDepth is how deep a JSON record may be nested. Readers of protocol buffers stop at 100 messages, and each level of
// JSON takes two or three.
const maxDepth = 20

// Seal appends the entry as the bytes of a google.logging.v2.LogEntry. It does so by hand: a structpb.Struct costs some
// ninety allocations and is most of what an entry takes.
func (s *Sink) Seal(b []byte, e *forwarder.Entry, t time.Time) ([]byte, error) {
	b = appendString(b, entryInsertID, e.InsertID)
	b, at := open(b, entryTimestamp)
	b = appendVarint(b, timestampSeconds, uint64(t.Unix()))
	b = shut(appendVarint(b, timestampNanos, uint64(t.Nanosecond())), at)
	b = appendVarint(b, entrySeverity, uint64(e.Severity))
	for _, label := range e.Labels {
		b, at = open(b, entryLabels)
		b = shut(appendString(appendString(b, mapKey, label.Key), mapValue, label.Value), at)
	}
	if e.Trace != "" {
		b = appendString(b, entryTrace, forwarder.TraceName(cmp.Or(s.project, s.config.Project), e.Trace))
		b = appendString(b, entrySpanID, e.SpanID)
	}
	b, at = open(b, entryJSONPayload)
	b, err := appendPayload(b, e)
	if err != nil {
		return nil, fmt.Errorf("the fields of a JSON record: %w", err)
	}
	return shut(b, at), nil
}

func appendPayload(b []byte, e *forwarder.Entry) (_ []byte, err error) {
	b = stringField(b, "message", e.Message)
	if !e.EventTime.IsZero() {
		var text [len(time.RFC3339Nano)]byte
		b = stringField(b, "eventTime", e.EventTime.UTC().AppendFormat(text[:0], time.RFC3339Nano))
	}
	b, source := openStruct(b, "source")
	b = stringField(b, "file", e.Source.File)
	b = numberField(b, "offset", float64(e.Source.Offset))
	b = shutStruct(numberField(b, "length", float64(e.Source.Length)), source)
	if e.Service != "" {
		var service structure
		b, service = openStruct(b, "serviceContext")
		b = shutStruct(stringField(b, "service", e.Service), service)
	}
	if e.Repeats > 0 {
		b = numberField(b, "repeats", float64(e.Repeats))
	}
	if e.Request != nil {
		var context, request structure
		b, context = openStruct(b, "context")
		b, request = openStruct(b, "httpRequest")
		b = shutStruct(shutStruct(appendRequest(b, e.Request), request), context)
	}
	if len(e.Fields) > 0 {
		var record field
		b, record = openField(b, "record")
		d := jsontext.NewDecoder(bytes.NewReader(e.Fields), jsontext.AllowDuplicateNames(true))
		if b, err = appendValue(b, d, 0); err != nil {
			return b, err
		}
		b = shutField(b, record)
	}
	return b, nil
}

func appendRequest(b []byte, r *forwarder.Request) []byte {
	b = stringField(b, "method", r.Method)
	b = stringField(b, "url", r.URL)
	if r.Status != 0 {
		b = numberField(b, "responseStatusCode", float64(r.Status))
	}
	if r.Latency != 0 {
		b = stringField(b, "latency", forwarder.LatencyText(r.Latency))
	}
	return b
}

// appendValue turns the next JSON value into a google.protobuf.Value.
func appendValue(b []byte, d *jsontext.Decoder, depth int) (_ []byte, err error) {
	switch d.PeekKind() {
	case '{', '[':
		if depth == maxDepth {
			raw, err := d.ReadValue()
			return appendString(b, valueString, string(raw)), err
		}
		return appendContainer(b, d, depth)
	}
	token, err := d.ReadToken()
	if err != nil {
		return b, err
	}
	switch token.Kind() {
	case '"':
		return appendString(b, valueString, token.String()), nil
	case '0':
		return appendNumber(b, token.String()), nil
	case 't', 'f':
		return appendVarint(b, valueBool, protowire.EncodeBool(token.Bool())), nil
	}
	return appendVarint(b, valueNull, 0), nil
}

// appendNumber keeps as text what a double cannot hold: an ID of 19 digits would arrive as another one, and infinity
// makes an entry unreadable.
func appendNumber(b []byte, text string) []byte {
	n, err := strconv.ParseFloat(text, 64)
	if i, notInt := strconv.ParseInt(text, 10, 64); err != nil || notInt == nil && (i > 1<<53 || i < -(1<<53)) {
		return appendString(b, valueString, text)
	}
	return appendDouble(b, n)
}

func appendContainer(b []byte, d *jsontext.Decoder, depth int) (_ []byte, err error) {
	begin, err := d.ReadToken()
	if err != nil {
		return b, err
	}
	number := protowire.Number(valueList)
	if begin.Kind() == '{' {
		number = valueStruct
	}
	b, all := open(b, number)
	for d.PeekKind() != '}' && d.PeekKind() != ']' {
		if number == valueList {
			var at int
			b, at = open(b, listValues)
			if b, err = appendValue(b, d, depth+1); err != nil {
				return b, err
			}
			b = shut(b, at)
			continue
		}
		name, err := d.ReadToken()
		if err != nil {
			return b, err
		}
		var f field
		b, f = openField(b, name.String())
		if b, err = appendValue(b, d, depth+1); err != nil {
			return b, err
		}
		b = shutField(b, f)
	}
	_, err = d.ReadToken()
	return shut(b, all), err
}

// A field is one of a Struct that is being written: where its entry of the map and its Value begin.
type field struct{ entry, value int }

// A structure is a field whose Value is a Struct, which begins at an offset.
type structure struct {
	field
	at int
}

// openField begins a field of a Struct; what follows is its Value.
func openField(b []byte, name string) (_ []byte, f field) {
	b, f.entry = open(b, structFields)
	b, f.value = open(appendString(b, mapKey, name), mapValue)
	return b, f
}

func shutField(b []byte, f field) []byte { return shut(shut(b, f.value), f.entry) }

// openStruct begins a field that is a Struct itself; what follows are its fields.
func openStruct(b []byte, name string) (_ []byte, s structure) {
	b, s.field = openField(b, name)
	b, s.at = open(b, valueStruct)
	return b, s
}

func shutStruct(b []byte, s structure) []byte { return shutField(shut(b, s.at), s.field) }

func stringField[T string | []byte](b []byte, name string, s T) []byte {
	value := sizeOf(len(s))
	b = protowire.AppendTag(b, structFields, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(sizeOf(len(name))+sizeOf(value)))
	b = appendString(b, mapKey, name)
	b = protowire.AppendVarint(protowire.AppendTag(b, mapValue, protowire.BytesType), uint64(value))
	return appendString(b, valueString, s)
}

// sizeOf is what n bytes take as a field with a number below 16.
func sizeOf(n int) int { return 1 + protowire.SizeBytes(n) }

func numberField(b []byte, name string, n float64) []byte {
	b, f := openField(b, name)
	return shutField(appendDouble(b, n), f)
}

func appendString[T string | []byte](b []byte, n protowire.Number, s T) []byte {
	b = protowire.AppendTag(b, n, protowire.BytesType)
	return append(protowire.AppendVarint(b, uint64(len(s))), s...)
}

func appendVarint(b []byte, n protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), v)
}

func appendDouble(b []byte, v float64) []byte {
	return protowire.AppendFixed64(protowire.AppendTag(b, valueNumber, protowire.Fixed64Type), math.Float64bits(v))
}

// open begins a message whose length is known only once it is written: room for a length of one byte is left, and longer ones
// move what follows.
func open(b []byte, n protowire.Number) (_ []byte, at int) {
	b = protowire.AppendTag(b, n, protowire.BytesType)
	return append(b, 0), len(b)
}

func shut(b []byte, at int) []byte {
	size := len(b) - at - 1
	if size < 0x80 {
		b[at] = byte(size)
		return b
	}
	var length [10]byte
	head := protowire.AppendVarint(length[:0], uint64(size))
	b = append(b, head[1:]...)
	copy(b[at+len(head):], b[at+1:at+1+size])
	copy(b[at:], head)
	return b
}
