package localcloud

import (
	"context"
	"slices"

	"cloud.google.com/go/logging/apiv2/loggingpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// writeCall is a write as it came: decoded, and each entry as the bytes that it
// came in. Keeping those spares encoding every entry again, which would be the
// greater part of a write.
type writeCall struct {
	req     *loggingpb.WriteLogEntriesRequest
	entries [][]byte
	size    int
}

// newWriteCall makes a call of a request that has no bytes of its own.
func newWriteCall(req *loggingpb.WriteLogEntriesRequest) (writeCall, error) {
	wire, err := proto.Marshal(req)
	if err != nil {
		return writeCall{}, invalid("%v", err)
	}
	return writeCall{req, entryBytes(wire), len(wire)}, nil
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
	wire := data.Materialize()
	call.req, call.size = new(loggingpb.WriteLogEntriesRequest), len(wire)
	if err := proto.Unmarshal(wire, call.req); err != nil {
		return err
	}
	call.entries = entryBytes(wire)
	return nil
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
