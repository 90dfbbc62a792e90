package forwarder

import (
	"fmt"
	"testing"
	"time"

	"github.com/openreplay/log-sidecar/enrich/record"
)

func TestInsertIDsSortAsTheFile(t *testing.T) {
	before := ""
	for _, offset := range []int64{0, 1, 15, 16, 1 << 20, 1<<44 - 1, 1 << 44, 1<<47 - 1} {
		got := insertID("0123456789abcdef", "FILE", offset)
		if want := fmt.Sprintf("0123456789abcdef-FILE-%012x", offset); got != want {
			t.Errorf("offset %d: %s, want %s", offset, got, want)
		}
		if got <= before {
			t.Errorf("%s does not sort after %s", got, before)
		}
		before = got
	}
}

func TestALineOnStandardOutput(t *testing.T) {
	e := &Entry{Message: "m", Severity: record.Error, InsertID: "id-1", Labels: []Label{{"match", "exact"}}, Trace: "4bf92f3577b34da6a3ce929d0e0e4736",
		SpanID: "00f067aa0ba902b7", Service: "shop", Request: &Request{Method: "GET", URL: "/a", Status: 500, Latency: 1234 * time.Millisecond}}
	line, err := Stdout{Project: "p"}.Seal(nil, e, time.Date(2026, 11, 25, 2, 31, 7, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"context":{"httpRequest":{"latency":"1.234000s","method":"GET","responseStatusCode":500,"url":"/a"}},` +
		`"logging.googleapis.com/insertId":"id-1","logging.googleapis.com/labels":{"match":"exact"},"logging.googleapis.com/spanId":"00f067aa0ba902b7",` +
		`"logging.googleapis.com/trace":"projects/p/traces/4bf92f3577b34da6a3ce929d0e0e4736","message":"m","serviceContext":{"service":"shop"},` +
		`"severity":"ERROR","source":{"file":"","length":0,"offset":0},"time":"2026-11-25T02:31:07Z"}`
	if string(line) != want {
		t.Errorf("the line is\n%s\nwant\n%s", line, want)
	}
}
