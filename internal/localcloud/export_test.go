package localcloud

import (
	"context"

	"cloud.google.com/go/logging/apiv2/loggingpb"
)

// WriteForTest writes without a network between.
func (s *Server) WriteForTest(ctx context.Context, req *loggingpb.WriteLogEntriesRequest) (*loggingpb.WriteLogEntriesResponse, error) {
	return (&service{Server: s}).WriteLogEntries(ctx, req)
}

// DeleteForTest deletes a log without a network between.
func (s *Server) DeleteForTest(ctx context.Context, log string) error {
	_, err := (&service{Server: s}).DeleteLog(ctx, &loggingpb.DeleteLogRequest{LogName: log})
	return err
}
