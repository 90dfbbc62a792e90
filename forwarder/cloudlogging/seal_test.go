package cloudlogging

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"cloud.google.com/go/logging/apiv2/loggingpb"
	"github.com/google/go-cmp/cmp"
	logtype "google.golang.org/genproto/googleapis/logging/type"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/openreplay/log-sidecar/enrich/record"
	"github.com/openreplay/log-sidecar/forwarder"
)

func unseal(t testing.TB, sealed []byte) *loggingpb.LogEntry {
	t.Helper()
	entry := &loggingpb.LogEntry{}
	if err := proto.Unmarshal(sealed, entry); err != nil {
		t.Fatalf("what was sealed is no LogEntry: %v", err)
	}
	return entry
}

func TestSealIsTheEntryThatArrives(t *testing.T) {
	at := time.Date(2026, 11, 25, 2, 31, 7, 412e6, time.UTC)
	e := &forwarder.Entry{
		InsertID: "id-1",
		Severity: record.Error,
		Labels:   []forwarder.Label{{Key: "openReplaySessionToken", Value: "a.b.c.d"}, {Key: "match", Value: "exact"}},
		// Lengths around 127 and 16,383 bytes are where a message's length takes another byte.
		Message:   strings.Repeat("stack\n", 4000),
		EventTime: at.Add(-time.Second),
		Fields:    []byte(`{"level":"error","n":1.5,"id":1234567890123456789,"deep":{"list":[1,null,true,"x",{"y":[]}]},"same":1,"same":2}`),
		Request:   &forwarder.Request{Method: "GET", URL: "/a?b=***", Status: 500, Latency: 1234 * time.Microsecond},
		Trace:     "4bf92f3577b34da6a3ce929d0e0e4736",
		SpanID:    "00f067aa0ba902b7",
		Service:   "shop",
		Source:    forwarder.Source{File: "/log/app.log", Offset: 99, Length: 24000},
	}
	sealed, err := New(Config{Project: "p"}).Seal(nil, e, at)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := structpb.NewStruct(map[string]any{
		"message":        e.Message,
		"serviceContext": map[string]any{"service": "shop"},
		"eventTime":      "2026-11-25T02:31:06.412Z",
		"source":         map[string]any{"file": "/log/app.log", "offset": 99, "length": 24000},
		"context": map[string]any{"httpRequest": map[string]any{
			"method": "GET", "url": "/a?b=***", "responseStatusCode": 500, "latency": "0.001234s"}},
		"record": map[string]any{"level": "error", "n": 1.5, "id": "1234567890123456789", "same": 2,
			"deep": map[string]any{"list": []any{1, nil, true, "x", map[string]any{"y": []any{}}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := &loggingpb.LogEntry{
		InsertId: "id-1", Timestamp: timestamppb.New(at), Severity: logtype.LogSeverity_ERROR,
		Labels: map[string]string{"openReplaySessionToken": "a.b.c.d", "match": "exact"},
		Trace:  "projects/p/traces/4bf92f3577b34da6a3ce929d0e0e4736", SpanId: "00f067aa0ba902b7",
		Payload: &loggingpb.LogEntry_JsonPayload{JsonPayload: payload},
	}
	if diff := cmp.Diff(want, unseal(t, sealed), protocmp.Transform()); diff != "" {
		t.Errorf("the sealed entry (-want +got):\n%s", diff)
	}
}

// TestDeepFieldsStayReadable: readers of protocol buffers refuse what is nested too deep, and with it the whole entry.
func TestDeepFieldsStayReadable(t *testing.T) {
	deep := strings.Repeat(`{"a":[`, 500) + "1" + strings.Repeat(`]}`, 500)
	sealed, err := New(Config{}).Seal(nil, &forwarder.Entry{Fields: []byte(deep)}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	unseal(t, sealed)
}

func TestLineIsWhatGKEReads(t *testing.T) {
	s := New(Config{Project: "p"})
	at := time.Date(2026, 11, 25, 2, 31, 7, 0, time.UTC)
	sealed, err := s.Seal(nil, &forwarder.Entry{InsertID: "id-1", Severity: record.Critical, Message: "m",
		Labels: []forwarder.Label{{Key: "requestId", Value: "r"}}, Trace: "4bf92f3577b34da6a3ce929d0e0e4736", SpanID: "00f067aa0ba902b7"}, at)
	if err != nil {
		t.Fatal(err)
	}
	line, err := s.Line(sealed)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(line, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"message": "m", "severity": "CRITICAL", "time": "2026-11-25T02:31:07Z",
		"logging.googleapis.com/labels":   map[string]any{"requestId": "r"},
		"logging.googleapis.com/insertId": "id-1",
		"logging.googleapis.com/trace":    "projects/p/traces/4bf92f3577b34da6a3ce929d0e0e4736",
		"logging.googleapis.com/spanId":   "00f067aa0ba902b7",
		"source":                          map[string]any{"file": "", "offset": 0., "length": 0.}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the line (-want +got):\n%s", diff)
	}
}

func FuzzSealFields(f *testing.F) {
	f.Add([]byte(`{"a":[1,{"b":null}],"c":1e400}`))
	f.Add([]byte("\"\xff\""))
	f.Fuzz(func(t *testing.T, fields []byte) {
		sealed, err := New(Config{}).Seal(nil, &forwarder.Entry{Fields: fields}, time.Now())
		if err == nil {
			unseal(t, sealed)
		} else if json.Valid(fields) && utf8.Valid(fields) { // as an Entry's are
			t.Fatalf("valid JSON is not sealed: %v", err)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	e := &forwarder.Entry{InsertID: "0123456789abcdef-01234567-000000000abc", Severity: record.Error,
		Labels: []forwarder.Label{{Key: "openReplaySessionToken", Value: strings.Repeat("t", 69)}, {Key: "openReplaySession.id", Value: "2618307011354435587"},
			{Key: "requestId", Value: "6f1c9d3e-95a1-4b9e-8f0e-0c2a54d3a111"}, {Key: "matchedBy", Value: "requestId"}, {Key: "match", Value: "exact"}},
		Message: strings.Repeat("m", 500), EventTime: time.Now(),
		Request: &forwarder.Request{Method: "GET", URL: "/orders/1", Status: 500, Latency: time.Millisecond},
		Source:  forwarder.Source{File: "/var/log/app/app.log", Offset: 1 << 20, Length: 500}}
	s := New(Config{})
	var sealed []byte
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if sealed, err = s.Seal(sealed[:0], e, e.EventTime); err != nil {
			b.Fatal(err)
		}
	}
}
