package cloudlogging

import (
	"encoding/json"
	"time"

	"cloud.google.com/go/logging/apiv2/loggingpb"
	"google.golang.org/protobuf/proto"

	"github.com/openreplay/log-sidecar/forwarder"
)

// Line gives a sealed entry as the structured JSON that GKE's agent reads from standard output.
func (s *Sink) Line(sealed []byte) ([]byte, error) {
	entry := &loggingpb.LogEntry{}
	if err := proto.Unmarshal(sealed, entry); err != nil {
		return nil, err
	}
	line := entry.GetJsonPayload().AsMap()
	line["severity"] = entry.GetSeverity().String()
	line["time"] = entry.GetTimestamp().AsTime().Format(time.RFC3339Nano)
	line[forwarder.LineLabels] = entry.GetLabels()
	line[forwarder.LineInsertID] = entry.GetInsertId()
	if entry.GetTrace() != "" {
		line[forwarder.LineTrace], line[forwarder.LineSpanID] = entry.GetTrace(), entry.GetSpanId()
	}
	return json.Marshal(line)
}
