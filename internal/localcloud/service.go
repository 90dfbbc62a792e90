package localcloud

import (
	"context"
	"slices"
	"strconv"

	"cloud.google.com/go/logging/apiv2/loggingpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/emptypb"
)

// service is the API as gRPC calls it; REST calls the same methods.
type service struct {
	loggingpb.UnimplementedLoggingServiceV2Server
	*Server
}

func (s *service) WriteLogEntries(ctx context.Context, req *loggingpb.WriteLogEntriesRequest) (*loggingpb.WriteLogEntriesResponse, error) {
	call, err := newWriteCall(req)
	if err != nil {
		return nil, err
	}
	return s.write(ctx, call)
}

// ListLogEntries answers with the entries' bytes as they are kept: they stand in
// the answer as fields that it does not know, which are written out unchanged.
func (s *service) ListLogEntries(_ context.Context, req *loggingpb.ListLogEntriesRequest) (*loggingpb.ListLogEntriesResponse, error) {
	page, next, err := s.list(req)
	if err != nil {
		return nil, err
	}
	answer := &loggingpb.ListLogEntriesResponse{NextPageToken: next}
	var wire []byte
	for _, r := range page {
		wire = protowire.AppendBytes(protowire.AppendTag(wire, listedField, protowire.BytesType), r.wire)
	}
	answer.ProtoReflect().SetUnknown(wire)
	return answer, nil
}

var listedField = (*loggingpb.ListLogEntriesResponse)(nil).ProtoReflect().Descriptor().Fields().ByName("entries").Number()

func (s *service) DeleteLog(_ context.Context, req *loggingpb.DeleteLogRequest) (*emptypb.Empty, error) {
	if err := checkLogName(req.LogName); err != nil {
		return nil, err
	}
	found, err := s.store.deleteLog(req.LogName)
	if err != nil {
		return nil, status.Errorf(codes.Internal, "delete the log: %v", err)
	}
	if !found {
		return nil, status.Errorf(codes.NotFound, "Log %s does not exist", req.LogName)
	}
	return &emptypb.Empty{}, nil
}

func (s *service) ListLogs(_ context.Context, req *loggingpb.ListLogsRequest) (*loggingpb.ListLogsResponse, error) {
	resources := req.ResourceNames
	if req.Parent != "" {
		resources = append(slices.Clone(resources), req.Parent)
	}
	in, err := within(resources)
	if err != nil {
		return nil, err
	}
	names := s.store.logNames(in)
	names, next, err := page(names, req.PageSize, req.PageToken)
	return &loggingpb.ListLogsResponse{LogNames: names, NextPageToken: next}, err
}

func (s *service) ListMonitoredResourceDescriptors(_ context.Context, req *loggingpb.ListMonitoredResourceDescriptorsRequest) (*loggingpb.ListMonitoredResourceDescriptorsResponse, error) {
	some, next, err := page(descriptors(), req.PageSize, req.PageToken)
	return &loggingpb.ListMonitoredResourceDescriptorsResponse{ResourceDescriptors: some, NextPageToken: next}, err
}

// page cuts a list; its tokens are offsets. Sizes that are not positive are
// ignored, as the API has it.
func page[T any](all []T, size int32, token string) ([]T, string, error) {
	start := 0
	if token != "" {
		n, err := strconv.Atoi(token)
		if err != nil || n < 0 || n > len(all) {
			return nil, "", invalid("page_token is invalid")
		}
		start = n
	}
	if size <= 0 {
		size = maxPage
	}
	end := min(start+int(size), len(all))
	if end == len(all) {
		return all[start:], "", nil
	}
	return all[start:end], strconv.Itoa(end), nil
}
