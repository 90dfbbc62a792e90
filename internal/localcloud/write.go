package localcloud

import (
	"context"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"cloud.google.com/go/logging/apiv2/loggingpb"
	"google.golang.org/genproto/googleapis/api/monitoredres"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Limits, from https://cloud.google.com/logging/quotas.
const (
	maxRequestBytes = 10 << 20
	maxEntryBytes   = 256 << 10
	maxLabels       = 64
	maxLabelKey     = 512
	maxLabelValue   = 64 << 10
	maxLogID        = 511
	maxFuture       = 24 * time.Hour
	retention       = 30 * 24 * time.Hour
)

func invalid(format string, args ...any) error {
	return status.Errorf(codes.InvalidArgument, format, args...)
}

func (s *Server) write(ctx context.Context, req *loggingpb.WriteLogEntriesRequest) (*loggingpb.WriteLogEntriesResponse, error) {
	s.stats.requests.Add(1)
	apply := func() (*loggingpb.WriteLogEntriesResponse, error) { return s.apply(req) }
	if f := s.interposed.Load(); f != nil {
		return (*f)(ctx, req, apply)
	}
	return apply()
}

func (s *Server) apply(req *loggingpb.WriteLogEntriesRequest) (*loggingpb.WriteLogEntriesResponse, error) {
	if n := proto.Size(req); n > maxRequestBytes {
		s.stats.refused.Add(int64(len(req.Entries)))
		return nil, invalid("Request payload size exceeds the limit: %d bytes.", maxRequestBytes)
	}
	records, failed := s.accept(req)
	if err := refusal(req, failed); err != nil && (!req.PartialSuccess || len(failed) == len(req.Entries)) {
		s.stats.refused.Add(int64(len(req.Entries)))
		return nil, err
	}
	if req.DryRun {
		return answer(req, failed)
	}
	s.stats.refused.Add(int64(len(failed)))
	fresh, err := s.store.add(records)
	if err != nil {
		return nil, status.Errorf(codes.Internal, "keep the entries: %v", err)
	}
	s.tails.publish(fresh)
	return answer(req, failed)
}

// accept makes the entries whole and valid, and names those that cannot be.
func (s *Server) accept(req *loggingpb.WriteLogEntriesRequest) (records []*record, failed map[int32]error) {
	now := s.now()
	records = make([]*record, 0, len(req.Entries))
	for i, e := range req.Entries {
		fillIn(e, req)
		err := s.complete(e, now)
		var r *record
		if err == nil {
			r, err = newRecord(e)
		}
		switch {
		case err != nil:
			if failed == nil {
				failed = map[int32]error{}
			}
			failed[int32(i)] = err
		case now.Sub(e.Timestamp.AsTime()) > retention:
			s.stats.expired.Add(1)
		default:
			records = append(records, r)
		}
	}
	return records, failed
}

// refusal is the status of the first entry that failed.
func refusal(req *loggingpb.WriteLogEntriesRequest, failed map[int32]error) error {
	for i := range req.Entries {
		if err := failed[int32(i)]; err != nil {
			return err
		}
	}
	return nil
}

// answer names the entries that were not written by their index, when others
// of the same request were.
func answer(req *loggingpb.WriteLogEntriesRequest, failed map[int32]error) (*loggingpb.WriteLogEntriesResponse, error) {
	if len(failed) == 0 {
		return &loggingpb.WriteLogEntriesResponse{}, nil
	}
	details := &loggingpb.WriteLogEntriesPartialErrors{LogEntryErrors: map[int32]*rpcstatus.Status{}}
	for i, err := range failed {
		details.LogEntryErrors[i] = status.Convert(err).Proto()
	}
	st, err := status.Convert(refusal(req, failed)).WithDetails(details)
	if err != nil {
		return nil, err
	}
	return nil, st.Err()
}

// fillIn copies the request's defaults into an entry that lacks them.
func fillIn(e *loggingpb.LogEntry, req *loggingpb.WriteLogEntriesRequest) {
	if e == nil {
		return
	}
	if e.LogName == "" {
		e.LogName = req.LogName
	}
	if e.Resource == nil && req.Resource != nil {
		e.Resource = proto.Clone(req.Resource).(*monitoredres.MonitoredResource)
	}
	for k, v := range req.Labels {
		if _, ok := e.Labels[k]; ok {
			continue
		}
		if e.Labels == nil {
			e.Labels = map[string]string{}
		}
		e.Labels[k] = v
	}
}

// complete sets what the service itself adds, and checks the rest.
func (s *Server) complete(e *loggingpb.LogEntry, now time.Time) error {
	e.ReceiveTimestamp = timestamppb.New(now)
	if e.Timestamp == nil {
		e.Timestamp = timestamppb.New(now)
	}
	if e.InsertId == "" {
		e.InsertId = s.ids.next()
	}
	e.LogName = strings.TrimPrefix(e.LogName, "/")
	shortenLabels(e)
	return check(e, now)
}

func check(e *loggingpb.LogEntry, now time.Time) error {
	if err := checkLogName(e.LogName); err != nil {
		return err
	}
	if e.Resource.GetType() == "" {
		return invalid("Log entry has no monitored resource: set resource.type")
	}
	if e.Payload == nil {
		return invalid("Log entry has no payload: set textPayload, jsonPayload or protoPayload")
	}
	if len(e.Labels) > maxLabels {
		return invalid("Log entry has %d labels, the limit is %d", len(e.Labels), maxLabels)
	}
	if err := e.Timestamp.CheckValid(); err != nil {
		return invalid("Log entry has an invalid timestamp: %v", err)
	}
	if at := e.Timestamp.AsTime(); at.Sub(now) > maxFuture {
		return invalid("Log entry has a timestamp more than 24 hours in the future: %s", at.Format(time.RFC3339Nano))
	}
	if n := proto.Size(e); n > maxEntryBytes {
		return invalid("Log entry with size %.1fK exceeds maximum size of %.1fK", float64(n)/1024, float64(maxEntryBytes)/1024)
	}
	return nil
}

var (
	logNameForm = regexp.MustCompile(`^(projects|organizations|billingAccounts|folders)/[^/]+/logs/([^/]+)$`)
	logIDForm   = regexp.MustCompile(`^[A-Za-z0-9/_.-]+$`)
)

func checkLogName(name string) error {
	parts := logNameForm.FindStringSubmatch(name)
	if parts == nil {
		return invalid("Log name %q is not of the form projects/PROJECT_ID/logs/LOG_ID, with LOG_ID URL-encoded", name)
	}
	id, err := url.PathUnescape(parts[2])
	if err != nil || !logIDForm.MatchString(id) || len(id) > maxLogID {
		return invalid("Log name %q has an illegal log ID: up to %d letters, digits and /_-. are allowed", name, maxLogID)
	}
	return nil
}

// shortenLabels cuts names and values that are too long, as the service does,
// and marks the cut with an ellipsis.
func shortenLabels(e *loggingpb.LogEntry) {
	for k, v := range e.Labels {
		short := shorten(k, maxLabelKey)
		if short != k {
			delete(e.Labels, k)
		}
		if short != k || len(v) > maxLabelValue {
			e.Labels[short] = shorten(v, maxLabelValue)
		}
	}
}

func shorten(s string, max int) string {
	const ellipsis = "…"
	if len(s) <= max {
		return s
	}
	cut := max - len(ellipsis)
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return fmt.Sprint(s[:cut], ellipsis)
}
