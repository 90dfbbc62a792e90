package localcloud

import (
	"bytes"
	"testing"
	"time"

	"cloud.google.com/go/logging/apiv2/loggingpb"
	"google.golang.org/genproto/googleapis/api/monitoredres"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Whatever bytes a writer sends, what is kept can be read, and says what the
// bytes said.
func FuzzWrite(f *testing.F) {
	noon := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	seed, err := proto.Marshal(&loggingpb.WriteLogEntriesRequest{
		LogName: "projects/p/logs/l", Resource: &monitoredres.MonitoredResource{Type: "global"}, Labels: map[string]string{"a": "b"},
		Entries: []*loggingpb.LogEntry{
			{Payload: &loggingpb.LogEntry_TextPayload{TextPayload: "x"}},
			{Payload: &loggingpb.LogEntry_TextPayload{TextPayload: "y"}, ReceiveTimestamp: timestamppb.New(noon), InsertId: "i", Labels: map[string]string{"a": "c"}},
		},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, wire []byte) {
		var call writeCall
		if newCodec().Unmarshal(mem.BufferSlice{mem.SliceBuffer(wire)}, &call) != nil {
			return
		}
		s, err := New(Config{Now: func() time.Time { return noon }})
		if err != nil {
			t.Fatal(err)
		}
		call.req.PartialSuccess = true
		s.apply(call)
		kept, err := s.Entries("")
		if err != nil || int64(len(kept)) != s.Stats().Written {
			t.Fatalf("%d entries of %d, %v", len(kept), s.Stats().Written, err)
		}
		for _, e := range kept {
			found := false
			for _, sent := range call.req.Entries {
				sent.ReceiveTimestamp = timestamppb.New(noon)
				found = found || proto.Equal(sent, e)
			}
			if !found {
				t.Errorf("%v was not sent", e)
			}
		}
	})
}

// Whatever a file holds, reading it ends, and what was read is a beginning of it.
func FuzzReadFrames(f *testing.F) {
	e := &loggingpb.LogEntry{LogName: "projects/p/logs/l", InsertId: "i"}
	wire, err := proto.Marshal(e)
	if err != nil {
		f.Fatal(err)
	}
	r := newRecord(e, wire, nil)
	f.Add(frames([]*record{r, r}))
	f.Fuzz(func(t *testing.T, b []byte) {
		records, size, err := readFrames(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(frames(records), b[:size]) {
			t.Errorf("%d records of %d bytes are not the first of the file", len(records), size)
		}
	})
}
