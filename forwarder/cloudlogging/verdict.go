package cloudlogging

import (
	"context"
	"errors"
	"fmt"

	"cloud.google.com/go/logging/apiv2/loggingpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/openreplay/log-sidecar/forwarder"
)

// send turns the server's answer into what is final and what is not. A batch that is refused without a word on which
// entry is at fault is halved until the culprits stand alone.
func (s *Sink) send(ctx context.Context, batch [][]byte) forwarder.Outcome {
	refused := map[int]string{}
	written, err := s.divide(ctx, batch, 0, refused)
	if err != nil {
		return retry(err)
	}
	if len(refused) > 0 && !written && s.Check(ctx) != nil {
		// Not even a plain entry would be taken: the fault lies with a setting, such as a log name that is not allowed.
		return forwarder.Outcome{Err: fmt.Errorf("every entry is refused, which points at a setting, such as --project or --log-name: %s", refused[0]),
			Code: "all_refused", Slow: true}
	}
	return forwarder.Outcome{Refused: refused}
}

// divide writes a batch, the first entry of which has the index first in the batch, and says whether any was written. What
// arrived of a batch that has to be sent again is recognised by the server as a duplicate.
func (s *Sink) divide(ctx context.Context, batch [][]byte, first int, refused map[int]string) (written bool, err error) {
	_, err = s.client.WriteLogEntries(ctx, s.request(), s.with(batch))
	if err == nil {
		return true, nil
	}
	if named := named(err); len(named) > 0 {
		for i, reason := range named {
			refused[first+i] = reason
		}
		return len(named) < len(batch), nil
	}
	if !refusal(err) {
		return false, err
	}
	if len(batch) == 1 {
		refused[first] = status.Convert(err).Message()
		return false, nil
	}
	middle := len(batch) / 2
	head, err := s.divide(ctx, batch[:middle], first, refused)
	if err != nil {
		return head, err
	}
	tail, err := s.divide(ctx, batch[middle:], first+middle, refused)
	return head || tail, err
}

// named gives the entries that the server names as refused for good: those with any other code may be taken next time.
func named(err error) map[int]string {
	for _, detail := range status.Convert(err).Details() {
		partial, ok := detail.(*loggingpb.WriteLogEntriesPartialErrors)
		if !ok {
			continue
		}
		refused := map[int]string{}
		for i, e := range partial.GetLogEntryErrors() {
			if !isRefusal(codes.Code(e.GetCode())) {
				return nil
			}
			refused[int(i)] = e.GetMessage()
		}
		return refused
	}
	return nil
}

func refusal(err error) bool { return isRefusal(status.Code(err)) }

func isRefusal(code codes.Code) bool {
	return code == codes.InvalidArgument || code == codes.OutOfRange || code == codes.FailedPrecondition
}

// retry says how to go on after a fault that is not final. The error's text is the server's message alone: the details
// can have a line for each entry.
func retry(err error) forwarder.Outcome {
	code := status.Code(err)
	if errors.Is(err, context.DeadlineExceeded) {
		code = codes.DeadlineExceeded
	}
	out := forwarder.Outcome{Err: fmt.Errorf("write to Cloud Logging: %s: %s", code, status.Convert(err).Message()), Code: code.String()}
	switch code {
	case codes.ResourceExhausted, codes.PermissionDenied, codes.Unauthenticated, codes.NotFound, codes.Unimplemented:
		out.Slow = true
	}
	return out
}
