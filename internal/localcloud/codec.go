package localcloud

import (
	"context"
	"slices"
	"unicode/utf8"

	"cloud.google.com/go/logging/apiv2/loggingpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// writeCall is a write as it came: each entry as the bytes that it came in, and
// decoded but for its jsonPayload, which stands there empty. To decode payloads
// and to encode every entry again would be the greater part of a write.
type writeCall struct {
	wire    []byte
	req     *loggingpb.WriteLogEntriesRequest
	entries [][]byte
}

// newWriteCall makes a call of a request that has no bytes of its own.
func newWriteCall(req *loggingpb.WriteLogEntriesRequest) (writeCall, error) {
	wire, err := proto.Marshal(req)
	if err != nil {
		return writeCall{}, invalid("%v", err)
	}
	return writeCall{wire, req, entryBytes(wire)}, nil
}

// whole decodes the request with its payloads.
func (c *writeCall) whole() (*loggingpb.WriteLogEntriesRequest, error) {
	req := new(loggingpb.WriteLogEntriesRequest)
	return req, proto.Unmarshal(c.wire, req)
}

var entriesField = (*loggingpb.WriteLogEntriesRequest)(nil).ProtoReflect().Descriptor().Fields().ByName("entries").Number()

func entryBytes(request []byte) (entries [][]byte) {
	for f := range fields(request) {
		if f.number == entriesField && f.content != nil {
			entries = append(entries, f.content)
		}
	}
	return entries
}

// codec is gRPC's own, except that it leaves a writeCall its bytes.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2(grpcproto.Name)} }

func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	call, ok := v.(*writeCall)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	call.wire = data.Materialize()
	call.entries = entryBytes(call.wire)
	lean, ok := withoutPayloads(call.wire)
	if !ok {
		lean = call.wire // decoding says what is wrong
	}
	call.req = new(loggingpb.WriteLogEntriesRequest)
	return proto.Unmarshal(lean, call.req)
}

var payloadField = (*loggingpb.LogEntry)(nil).ProtoReflect().Descriptor().Fields().ByName("json_payload").Number()

// withoutPayloads gives a request in which each jsonPayload is empty; it is not
// ok where decoding one would fail.
func withoutPayloads(request []byte) (lean []byte, ok bool) {
	return replaced(request, entriesField, func(entry []byte) ([]byte, bool) {
		return replaced(entry, payloadField, func(payload []byte) ([]byte, bool) {
			return nil, structForm.fits(payload, maxNested)
		})
	})
}

// replaced gives a message with other contents of one field; it is not ok where
// the message is broken, or with says so.
func replaced(wire []byte, number protowire.Number, with func(content []byte) ([]byte, bool)) (lean []byte, ok bool) {
	read := 0
	lean = make([]byte, 0, 512)
	for f := range fields(wire) {
		read += len(f.whole)
		if f.number != number || f.content == nil {
			lean = append(lean, f.whole...)
			continue
		}
		content, ok := with(f.content)
		if !ok {
			return nil, false
		}
		lean = protowire.AppendBytes(protowire.AppendTag(lean, number, protowire.BytesType), content)
	}
	return lean, read == len(wire)
}

// maxNested is how deep a payload is looked through.
const maxNested = 100

// A form is what can go wrong with a message of google.protobuf.Struct: that a
// string is not of UTF-8, or a message within it is broken.
type form struct {
	text   protowire.Number // of the field that is a string; 0: none
	within [7]*form         // the messages, by their fields' numbers
}

var structForm = func() *form {
	list, value, pair, object := &form{}, &form{text: 3}, &form{text: 1}, &form{}
	object.within[1] = pair
	pair.within[2] = value
	value.within[5], value.within[6] = object, list
	list.within[1] = value
	return object
}()

func (m *form) fits(wire []byte, depth int) bool {
	if depth == 0 {
		return false
	}
	for len(wire) > 0 {
		number, kind, n := protowire.ConsumeTag(wire)
		if n < 0 {
			return false
		}
		wire = wire[n:]
		if kind != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(number, kind, wire); n < 0 {
				return false
			}
			wire = wire[n:]
			continue
		}
		content, n := protowire.ConsumeBytes(wire)
		switch {
		case n < 0, number == m.text && !utf8.Valid(content):
			return false
		case int(number) < len(m.within) && m.within[number] != nil && !m.within[number].fits(content, depth-1):
			return false
		}
		wire = wire[n:]
	}
	return true
}

// serviceDesc is the API's description with a WriteLogEntries that decodes into
// a writeCall.
func serviceDesc() *grpc.ServiceDesc {
	desc := loggingpb.LoggingServiceV2_ServiceDesc
	desc.Methods = slices.Clone(desc.Methods)
	for i, m := range desc.Methods {
		if m.MethodName == "WriteLogEntries" {
			desc.Methods[i].Handler = func(srv any, ctx context.Context, decode func(any) error, around grpc.UnaryServerInterceptor) (any, error) {
				var call writeCall
				if err := decode(&call); err != nil {
					return nil, err
				}
				return around(ctx, call, nil, func(ctx context.Context, _ any) (any, error) { return srv.(*service).write(ctx, call) })
			}
		}
	}
	return &desc
}
