package bridge

import (
	"fmt"
	"strings"
	"time"

	"cloud.google.com/go/logging/apiv2/loggingpb"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	ltype "google.golang.org/genproto/googleapis/logging/type"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/openreplay/log-sidecar/session"
)

// index is the one that OpenReplay searches.
const index = "logs"

// labelID is the label by which the sidecar marks an entry with its session.
const labelID = "openReplaySession.id"

// A hit is an entry as the panel reads it.
type hit struct {
	at   time.Time // the record's own time
	json jsontext.Value
}

type document struct {
	Index  string   `json:"_index"`
	ID     string   `json:"_id"`
	Score  *float64 `json:"_score"`
	Source source   `json:"_source"`
}

// source has what the panel reads. The panel fails on a hit without a level, and takes the whole answer for something
// else where the first hit has no message.
type source struct {
	Timestamp string            `json:"@timestamp"`
	Message   string            `json:"message"`
	Level     []string          `json:"level"`
	Labels    map[string]string `json:"labels,omitempty"`
}

func newHit(e *loggingpb.LogEntry, id session.ID) hit {
	at := ownTime(e)
	return encode(at, document{ID: e.GetInsertId(), Source: source{
		Message: marked(message(e), id), Level: []string{level(e.GetSeverity())}, Labels: e.GetLabels(),
	}})
}

func encode(at time.Time, d document) hit {
	d.Index = index
	d.Source.Timestamp = at.UTC().Format(time.RFC3339Nano)
	text, err := json.Marshal(d, json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
	if err != nil {
		panic(err) // strings
	}
	return hit{at, text}
}

// ownTime is the record's own; an entry's timestamp is the one of its sealing.
func ownTime(e *loggingpb.LogEntry) time.Time {
	own := e.GetJsonPayload().GetFields()["eventTime"].GetStringValue()
	if at, err := time.Parse(time.RFC3339Nano, own); err == nil {
		return at
	}
	return e.GetTimestamp().AsTime()
}

// dated is the entry's timestamp, which the sidecar gives it when it is sealed, and so just before it arrives. A clock that
// is ahead must not make a session look as if it went on for hours: no entry is younger than Google's receipt of it.
func dated(e *loggingpb.LogEntry) time.Time {
	stamp := e.GetTimestamp().AsTime()
	if received := e.GetReceiveTimestamp(); received != nil && received.AsTime().Before(stamp) {
		return received.AsTime()
	}
	return stamp
}

func message(e *loggingpb.LogEntry) string {
	if text := e.GetTextPayload(); text != "" {
		return text
	}
	fields := e.GetJsonPayload()
	if text := fields.GetFields()["message"].GetStringValue(); text != "" {
		return text
	}
	if text, err := protojson.Marshal(fields); err == nil && fields != nil {
		return string(text)
	}
	return "(an entry without text)"
}

// marked has the words that OpenReplay searched for: an index of Elasticsearch would have found it by them.
func marked(text string, id session.ID) string {
	mark := phrase + id.String()
	if strings.Contains(text, mark) {
		return text
	}
	return strings.TrimRight(text, "\r\n") + "\n" + mark
}

// level gives the panel's name: it knows error, warning, info and debug.
func level(s ltype.LogSeverity) string {
	switch {
	case s >= ltype.LogSeverity_ERROR:
		return "error"
	case s >= ltype.LogSeverity_WARNING:
		return "warning"
	case s == ltype.LogSeverity_DEBUG:
		return "debug"
	}
	return "info"
}

// leftOut is the last line of an answer that has not all entries. It stands at the last shown entry's time, because the
// panel goes through an answer in the order of time.
func leftOut(n int, atLeast bool, id session.ID, at time.Time) hit {
	count := fmt.Sprint(n, " more")
	switch {
	case atLeast && n == 0:
		count = "More"
	case atLeast:
		count = "At least " + count
	}
	return encode(at, document{ID: "left-out", Source: source{
		Level: []string{"warning"},
		Message: marked(fmt.Sprintf("%s entries of this session are not shown, all later than these. Cloud Logging has them: labels.%q=%q",
			count, labelID, id.String()), id),
	}})
}

// validation is the hit of every search that names no session. OpenReplay makes one when its settings are saved, and
// takes an answer without a hit for an error.
func validation() hit {
	return encode(time.Now(), document{ID: "bridge", Source: source{
		Level:   []string{"info"},
		Message: "The bridge to Cloud Logging answers. It shows entries of one session at a time.",
	}})
}
