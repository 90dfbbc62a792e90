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

// Seal writes the entry as the bytes of a google.logging.v2.LogEntry. It does so by hand: a structpb.Struct costs some
// ninety allocations and is most of what an entry takes.
func (s *Sink) Seal(e *forwarder.Entry, t time.Time) ([]byte, error) {
	b := make([]byte, 0, 512+len(e.Message)+2*len(e.Fields))
	b = appendString(b, entryInsertID, e.InsertID)
	b = appendMessage(b, entryTimestamp, func(b []byte) []byte {
		b = appendVarint(b, timestampSeconds, uint64(t.Unix()))
		return appendVarint(b, timestampNanos, uint64(t.Nanosecond()))
	})
	b = appendVarint(b, entrySeverity, uint64(e.Severity))
	for _, label := range e.Labels {
		b = appendMessage(b, entryLabels, func(b []byte) []byte {
			return appendString(appendString(b, mapKey, label.Key), mapValue, label.Value)
		})
	}
	if e.Trace != "" {
		b = appendString(b, entryTrace, forwarder.TraceName(cmp.Or(s.project, s.config.Project), e.Trace))
		b = appendString(b, entrySpanID, e.SpanID)
	}
	var err error
	b = appendMessage(b, entryJSONPayload, func(b []byte) []byte {
		b, err = appendPayload(b, e)
		return b
	})
	if err != nil {
		return nil, fmt.Errorf("the fields of a JSON record: %w", err)
	}
	return b, nil
}

func appendPayload(b []byte, e *forwarder.Entry) (_ []byte, err error) {
	b = stringField(b, "message", e.Message)
	if !e.EventTime.IsZero() {
		b = stringField(b, "eventTime", e.EventTime.UTC().Format(time.RFC3339Nano))
	}
	b = structField(b, "source", func(b []byte) []byte {
		b = stringField(b, "file", e.Source.File)
		b = numberField(b, "offset", float64(e.Source.Offset))
		return numberField(b, "length", float64(e.Source.Length))
	})
	if e.Service != "" {
		b = structField(b, "serviceContext", func(b []byte) []byte { return stringField(b, "service", e.Service) })
	}
	if e.Repeats > 0 {
		b = numberField(b, "repeats", float64(e.Repeats))
	}
	if e.Request != nil {
		b = structField(b, "context", func(b []byte) []byte { return structField(b, "httpRequest", requestFields(e.Request)) })
	}
	if len(e.Fields) > 0 {
		b = field(b, "record", func(b []byte) []byte {
			d := jsontext.NewDecoder(bytes.NewReader(e.Fields), jsontext.AllowDuplicateNames(true))
			b, err = appendValue(b, d, 0)
			return b
		})
	}
	return b, err
}

func requestFields(r *forwarder.Request) func([]byte) []byte {
	return func(b []byte) []byte {
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
	open, err := d.ReadToken()
	if err != nil {
		return b, err
	}
	number := protowire.Number(valueList)
	if open.Kind() == '{' {
		number = valueStruct
	}
	b = appendMessage(b, number, func(b []byte) []byte {
		for err == nil && d.PeekKind() != '}' && d.PeekKind() != ']' {
			if number == valueList {
				b = appendMessage(b, listValues, func(b []byte) []byte {
					b, err = appendValue(b, d, depth+1)
					return b
				})
				continue
			}
			var name jsontext.Token
			if name, err = d.ReadToken(); err != nil {
				return b
			}
			b = field(b, name.String(), func(b []byte) []byte {
				b, err = appendValue(b, d, depth+1)
				return b
			})
		}
		return b
	})
	if err == nil {
		_, err = d.ReadToken()
	}
	return b, err
}

// field appends one field of a Struct; value appends the fields of its Value.
func field(b []byte, name string, value func([]byte) []byte) []byte {
	return appendMessage(b, structFields, func(b []byte) []byte {
		return appendMessage(appendString(b, mapKey, name), mapValue, value)
	})
}

func stringField(b []byte, name, s string) []byte {
	return field(b, name, func(b []byte) []byte { return appendString(b, valueString, s) })
}

func numberField(b []byte, name string, n float64) []byte {
	return field(b, name, func(b []byte) []byte { return appendDouble(b, n) })
}

func structField(b []byte, name string, fields func([]byte) []byte) []byte {
	return field(b, name, func(b []byte) []byte { return appendMessage(b, valueStruct, fields) })
}

func appendString(b []byte, n protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), s)
}

func appendVarint(b []byte, n protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), v)
}

func appendDouble(b []byte, v float64) []byte {
	return protowire.AppendFixed64(protowire.AppendTag(b, valueNumber, protowire.Fixed64Type), math.Float64bits(v))
}

// appendMessage appends a message whose length is known only once it is written: room for a length of one byte is left,
// and longer ones move what follows.
func appendMessage(b []byte, n protowire.Number, fields func([]byte) []byte) []byte {
	b = protowire.AppendTag(b, n, protowire.BytesType)
	at := len(b)
	b = fields(append(b, 0))
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
