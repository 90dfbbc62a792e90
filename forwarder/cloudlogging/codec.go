package cloudlogging

import (
	"fmt"
	"sync"

	"github.com/googleapis/gax-go/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	protobuf "google.golang.org/protobuf/proto"
)

// writeEntries is the number of the field entries of google.logging.v2.WriteLogEntriesRequest.
const writeEntries = 4

// with adds sealed entries to a request: the same bytes go out each time, also after a restart, and are not taken apart for it.
func (s *Sink) with(batch [][]byte) gax.CallOption {
	return gax.WithGRPCOptions(grpc.ForceCodecV2(codec{encoding.GetCodecV2(proto.Name), batch, &s.buffers}))
}

// A codec is gRPC's own, but for the entries that it adds to a request, and the buffer that it writes them to.
type codec struct {
	encoding.CodecV2
	batch   [][]byte
	buffers *buffers
}

// Name is empty, as gRPC's default codec has it, so that the content type stays application/grpc alone.
func (codec) Name() string { return "" }

// Marshal writes the request, and then the entries: the fields of a message may stand in any order.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	request, ok := v.(protobuf.Message)
	if !ok {
		return nil, fmt.Errorf("%T is no message of Protocol Buffers", v)
	}
	size := protobuf.Size(request)
	for _, sealed := range c.batch {
		size += 1 + protowire.SizeBytes(len(sealed))
	}
	buf := c.buffers.Get(size)
	b, err := protobuf.MarshalOptions{UseCachedSize: true}.MarshalAppend((*buf)[:0], request)
	if err != nil {
		return nil, err
	}
	for _, sealed := range c.batch {
		b = protowire.AppendBytes(protowire.AppendTag(b, writeEntries, protowire.BytesType), sealed)
	}
	*buf = b
	return mem.BufferSlice{mem.NewBuffer(buf, c.buffers)}, nil
}

// buffers keeps one buffer, since one request is on its way at a time. gRPC's own pool has them of a megabyte, and clears each
// before it is used: that took as long as sealing what went into it.
type buffers struct {
	mu   sync.Mutex
	kept *[]byte
}

// Get gives a buffer of n bytes.
func (p *buffers) Get(n int) *[]byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	buf := p.kept
	p.kept = nil
	if buf == nil || cap(*buf) < n {
		b := make([]byte, n)
		return &b
	}
	*buf = (*buf)[:n]
	return buf
}

// Put takes a buffer back, from whichever goroutine is the last that needs it.
func (p *buffers) Put(buf *[]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kept = buf
}
