package localcloud

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"cloud.google.com/go/logging/apiv2/loggingpb"
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

func (s *Server) write(ctx context.Context, call writeCall) (*loggingpb.WriteLogEntriesResponse, error) {
	s.stats.requests.Add(1)
	f := s.interposed.Load()
	if f == nil {
		return s.apply(call)
	}
	req, err := call.whole()
	if err != nil {
		return nil, invalid("%v", err)
	}
	return (*f)(ctx, req, func() (*loggingpb.WriteLogEntriesResponse, error) {
		changed, err := newWriteCall(req) // the interposer may have changed it
		if err != nil {
			return nil, err
		}
		return s.apply(changed)
	})
}

func (s *Server) apply(call writeCall) (*loggingpb.WriteLogEntriesResponse, error) {
	req := call.req
	if len(call.wire) > maxRequestBytes {
		s.stats.refused.Add(int64(len(req.Entries)))
		return nil, invalid("Request payload size exceeds the limit: %d bytes.", maxRequestBytes)
	}
	records, failed := s.accept(call)
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
func (s *Server) accept(call writeCall) (records []*record, failed map[int32]error) {
	a := acceptor{ids: s.ids, req: call.req, now: s.now()}
	records = make([]*record, 0, len(call.entries))
	for i, e := range call.req.Entries {
		r, err := a.accept(e, call.entries[i])
		switch {
		case err != nil:
			if failed == nil {
				failed = map[int32]error{}
			}
			failed[int32(i)] = err
		case a.now.Sub(e.Timestamp.AsTime()) > retention:
			s.stats.expired.Add(1)
		default:
			records = append(records, r)
		}
	}
	return records, failed
}

// acceptor takes the entries of one request.
type acceptor struct {
	ids   idSource
	req   *loggingpb.WriteLogEntriesRequest
	now   time.Time
	legal string // the last log name that was found legal: most often the next one too
}

func (a *acceptor) accept(e *loggingpb.LogEntry, wire []byte) (*record, error) {
	if e == nil {
		return nil, invalid("Log entry is null")
	}
	size := len(wire)
	if shortenLabels(e) || e.ReceiveTimestamp != nil {
		whole := new(loggingpb.LogEntry)
		if err := proto.Unmarshal(wire, whole); err != nil {
			return nil, invalid("%v", err)
		}
		whole.Labels, whole.ReceiveTimestamp = e.Labels, nil // the service's alone to set
		e.ReceiveTimestamp = nil
		var err error
		if wire, err = proto.Marshal(whole); err != nil {
			return nil, invalid("%v", err)
		}
	}
	added, err := proto.Marshal(a.fillIn(e))
	if err != nil {
		return nil, invalid("%v", err)
	}
	if err := a.check(e, size); err != nil {
		return nil, err
	}
	return newRecord(e, wire, added), nil
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

// fillIn gives an entry the request's defaults and what the service itself
// supplies. It returns the fields that it added.
func (a *acceptor) fillIn(e *loggingpb.LogEntry) *loggingpb.LogEntry {
	added := &loggingpb.LogEntry{ReceiveTimestamp: timestamppb.New(a.now)}
	if e.LogName == "" || e.LogName[0] == '/' {
		added.LogName = strings.TrimPrefix(cmp.Or(e.LogName, a.req.LogName), "/")
		e.LogName = added.LogName
	}
	if e.Resource == nil {
		added.Resource, e.Resource = a.req.Resource, a.req.Resource
	}
	if e.Timestamp == nil {
		added.Timestamp, e.Timestamp = added.ReceiveTimestamp, added.ReceiveTimestamp
	}
	if e.InsertId == "" {
		added.InsertId = a.ids.next()
		e.InsertId = added.InsertId
	}
	addLabels(e, added, a.req.Labels)
	return added
}

func addLabels(e, added *loggingpb.LogEntry, defaults map[string]string) {
	for k, v := range defaults {
		if _, ok := e.Labels[k]; ok {
			continue
		}
		if e.Labels == nil {
			e.Labels = map[string]string{}
		}
		if added.Labels == nil {
			added.Labels = map[string]string{}
		}
		e.Labels[k], added.Labels[k] = v, v
	}
}

func (a *acceptor) check(e *loggingpb.LogEntry, size int) error {
	if e.LogName == "" || e.LogName != a.legal {
		if err := checkLogName(e.LogName); err != nil {
			return err
		}
		a.legal = e.LogName
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
	if at := e.Timestamp.AsTime(); at.Sub(a.now) > maxFuture {
		return invalid("Log entry has a timestamp more than 24 hours in the future: %s", at.Format(time.RFC3339Nano))
	}
	if size > maxEntryBytes {
		return invalid("Log entry with size %.1fK exceeds maximum size of %.1fK", float64(size)/1024, float64(maxEntryBytes)/1024)
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
// marks the cut with an ellipsis, and reports whether there was one.
func shortenLabels(e *loggingpb.LogEntry) (cut bool) {
	for k, v := range e.Labels {
		if len(k) > maxLabelKey || len(v) > maxLabelValue {
			delete(e.Labels, k)
			e.Labels[shorten(k, maxLabelKey)] = shorten(v, maxLabelValue)
			cut = true
		}
	}
	return cut
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
