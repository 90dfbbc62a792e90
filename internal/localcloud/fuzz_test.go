package localcloud

import (
	"bytes"
	"testing"
	"time"

	"cloud.google.com/go/logging/apiv2/loggingpb"
	"google.golang.org/genproto/googleapis/api/monitoredres"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
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
	for _, text := range []string{"all is well", "no \xff UTF-8"} {
		payload := appendText(nil, 2, appendText(nil, 3, []byte(text)))                                                           // a Value
		payload = appendText(nil, 1, append(appendText(nil, 1, []byte("key")), payload...))                                       // a Struct
		payload = appendText(nil, 1, append(appendText(nil, 1, []byte("k")), appendText(nil, 2, appendText(nil, 5, payload))...)) // one within
		f.Add(appendText(appendText(nil, 2, appendText(nil, 1, []byte("global"))), 4, append(appendText(nil, 12, []byte("projects/p/logs/l")), appendText(nil, 6, payload)...)))
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		var call writeCall
		err := newCodec().Unmarshal(mem.BufferSlice{mem.SliceBuffer(wire)}, &call)
		if whole := proto.Unmarshal(wire, new(loggingpb.WriteLogEntriesRequest)); (err == nil) != (whole == nil) {
			t.Fatalf("decoding says %v, and without the payloads %v", whole, err)
		}
		if err != nil {
			return
		}
		s, err := New(Config{Now: func() time.Time { return noon }})
		if err != nil {
			t.Fatal(err)
		}
		whole, err := call.whole()
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
			for i, sent := range call.req.Entries {
				sent.ReceiveTimestamp, sent.Payload = timestamppb.New(noon), whole.Entries[i].Payload
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

func appendText(b []byte, n protowire.Number, content []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, n, protowire.BytesType), content)
}
