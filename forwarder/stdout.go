package forwarder

import (
	"context"
	"encoding/json"
	"io"
	"strconv"
	"time"
)

// The names under which GKE's agent looks for what belongs outside of the payload.
const (
	LineLabels   = "logging.googleapis.com/labels"
	LineInsertID = "logging.googleapis.com/insertId"
	LineTrace    = "logging.googleapis.com/trace"
	LineSpanID   = "logging.googleapis.com/spanId"
)

// Stdout is a sink that writes structured JSON for the agent of GKE's nodes, which ships it; no credentials are needed,
// and delivery is as good as the agent's.
type Stdout struct {
	W       io.Writer
	Project string // of the traces; their bare IDs are written where it is empty
}

// Name is part of what the journal keeps.
func (Stdout) Name() string { return "stdout" }

// Ready is always.
func (Stdout) Ready(context.Context) Outcome { return Outcome{} }

// Seal gives the entry as a line.
func (s Stdout) Seal(b []byte, e *Entry, t time.Time) ([]byte, error) {
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
		request := map[string]any{"method": r.Method, "url": r.URL, "responseStatusCode": r.Status, "latency": LatencyText(r.Latency)}
		line["context"] = map[string]any{"httpRequest": request}
	}
	if e.Trace != "" {
		line[LineTrace], line[LineSpanID] = TraceName(s.Project, e.Trace), e.SpanID
	}
	if e.Service != "" {
		line["serviceContext"] = map[string]any{"service": e.Service}
	}
	if e.Repeats > 0 {
		line["repeats"] = e.Repeats
	}
	if e.Fields != nil {
		line["record"] = json.RawMessage(e.Fields)
	}
	data, err := json.Marshal(line)
	return append(b, data...), err
}

// TraceName is what Cloud Logging calls a trace.
func TraceName(project, trace string) string {
	if project == "" {
		return trace
	}
	return "projects/" + project + "/traces/" + trace
}

// LatencyText is a duration as JSON has that of Protocol Buffers: "0.123000s".
func LatencyText(d time.Duration) string {
	us := d.Round(time.Microsecond).Microseconds()
	b := strconv.AppendInt(make([]byte, 0, 24), 1e6+us%1e6, 10) // six digits behind a one
	return strconv.FormatInt(us/1e6, 10) + "." + string(b[1:]) + "s"
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
