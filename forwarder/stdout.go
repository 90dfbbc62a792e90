package forwarder

import (
	"context"
	"encoding/json"
	"io"
	"time"
)

// The names under which GKE's agent looks for what belongs outside of the payload.
const (
	LineLabels   = "logging.googleapis.com/labels"
	LineInsertID = "logging.googleapis.com/insertId"
)

// Stdout is a sink that writes structured JSON for the agent of GKE's nodes, which ships it; no credentials are needed,
// and delivery is as good as the agent's.
type Stdout struct{ W io.Writer }

// Name is part of what the journal keeps.
func (Stdout) Name() string { return "stdout" }

// Ready is always.
func (Stdout) Ready(context.Context) Outcome { return Outcome{} }

// Seal gives the entry as a line.
func (Stdout) Seal(e *Entry, t time.Time) ([]byte, error) {
	line := map[string]any{
		"message":    e.Message,
		"severity":   e.Severity.String(),
		"time":       t.UTC().Format(time.RFC3339Nano),
		"source":     map[string]any{"file": e.Source.File, "offset": e.Source.Offset, "length": e.Source.Length},
		LineInsertID: e.InsertID,
	}
	labels := map[string]string{}
	for _, label := range e.Labels {
		labels[label.Key] = label.Value
	}
	line[LineLabels] = labels
	if !e.EventTime.IsZero() {
		line["eventTime"] = e.EventTime.UTC().Format(time.RFC3339Nano)
	}
	if r := e.Request; r != nil {
		request := map[string]any{"method": r.Method, "url": r.URL, "responseStatusCode": r.Status, "latency": r.Latency.String()}
		line["context"] = map[string]any{"httpRequest": request}
	}
	if e.Repeats > 0 {
		line["repeats"] = e.Repeats
	}
	if e.Fields != nil {
		line["record"] = json.RawMessage(e.Fields)
	}
	return json.Marshal(line)
}

// Send writes the lines.
func (s Stdout) Send(_ context.Context, batch [][]byte) Outcome {
	for _, line := range batch {
		if _, err := s.W.Write(append(line, '\n')); err != nil {
			return Outcome{Err: err, Code: "write", Slow: true}
		}
	}
	return Outcome{}
}

// Line gives the line back.
func (Stdout) Line(sealed []byte) ([]byte, error) { return sealed, nil }

// Discard is a sink that only counts: a dry run.
type Discard struct{ Stdout }

// Name is part of what the journal keeps.
func (Discard) Name() string { return "none" }

// Send says that all has arrived.
func (Discard) Send(context.Context, [][]byte) Outcome { return Outcome{} }
