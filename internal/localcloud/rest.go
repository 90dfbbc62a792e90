package localcloud

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"cloud.google.com/go/logging/apiv2/loggingpb"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// maxBodyBytes leaves room for JSON to be longer than what it says in protobuf.
const maxBodyBytes = 4 * maxRequestBytes

// rest serves the API's REST form, of the same messages in proto JSON.
func (s *Server) rest() http.Handler {
	api := &service{Server: s}
	mux := http.NewServeMux()
	mux.Handle("POST /v2/entries:write", handle(body[loggingpb.WriteLogEntriesRequest], api.WriteLogEntries))
	mux.Handle("POST /v2/entries:list", handle(body[loggingpb.ListLogEntriesRequest], func(_ context.Context, req *loggingpb.ListLogEntriesRequest) (*loggingpb.ListLogEntriesResponse, error) {
		page, next, err := s.list(req)
		if err != nil {
			return nil, err
		}
		answer := &loggingpb.ListLogEntriesResponse{NextPageToken: next}
		for _, r := range page {
			e := r.entry()
			makeShowable(e)
			answer.Entries = append(answer.Entries, e)
		}
		return answer, nil
	}))
	mux.Handle("GET /v2/{kind}/{parent}/logs", handle(logsRequest, api.ListLogs))
	mux.Handle("DELETE /v2/{kind}/{parent}/logs/{log...}", handle(deleteRequest, api.DeleteLog))
	mux.Handle("GET /v2/monitoredResourceDescriptors", handle(descriptorsRequest, api.ListMonitoredResourceDescriptors))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeError(w, status.Errorf(codes.NotFound, "The requested URL %s was not found on this server.", r.URL.Path))
	})
	return mux
}

// handle joins the reading of a request, the call and the writing of its answer.
func handle[Q, A proto.Message](read func(*http.Request) (Q, error), call func(context.Context, Q) (A, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		req, err := read(r)
		if err != nil {
			writeError(w, err)
			return
		}
		answer, err := call(r.Context(), req)
		if err != nil {
			writeError(w, err)
			return
		}
		writeMessage(w, http.StatusOK, answer)
	}
}

// message is a pointer to T that is a protobuf message.
type message[T any] interface {
	*T
	proto.Message
}

func body[T any, M message[T]](r *http.Request) (M, error) {
	req := M(new(T))
	b, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxBodyBytes))
	if tooLong := new(http.MaxBytesError); errors.As(err, &tooLong) {
		return nil, invalid("Request payload size exceeds the limit: %d bytes.", maxRequestBytes)
	}
	if err != nil {
		return nil, invalid("read the request: %v", err)
	}
	if len(b) == 0 {
		return req, nil
	}
	if err := protojson.Unmarshal(b, req); err != nil {
		return nil, invalid("Invalid JSON payload received. %v", err)
	}
	return req, nil
}

func logsRequest(r *http.Request) (*loggingpb.ListLogsRequest, error) {
	q := r.URL.Query()
	size, err := pageSize(r)
	return &loggingpb.ListLogsRequest{
		Parent:        r.PathValue("kind") + "/" + r.PathValue("parent"),
		ResourceNames: q["resourceNames"], PageSize: size, PageToken: q.Get("pageToken"),
	}, err
}

func descriptorsRequest(r *http.Request) (*loggingpb.ListMonitoredResourceDescriptorsRequest, error) {
	size, err := pageSize(r)
	return &loggingpb.ListMonitoredResourceDescriptorsRequest{PageSize: size, PageToken: r.URL.Query().Get("pageToken")}, err
}

func pageSize(r *http.Request) (int32, error) {
	text := r.URL.Query().Get("pageSize")
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return 0, invalid("Invalid value at 'page_size' (TYPE_INT32), %q", text)
	}
	return int32(n), nil
}

// deleteRequest takes the name as it stands in the path: a log ID with a slash
// is encoded there just as it is in the log's name.
func deleteRequest(r *http.Request) (*loggingpb.DeleteLogRequest, error) {
	return &loggingpb.DeleteLogRequest{LogName: strings.TrimPrefix(r.URL.EscapedPath(), "/v2/")}, nil
}

// makeShowable puts a sentence in the place of a payload that JSON cannot say:
// a type that this program does not know, or a number that is none.
func makeShowable(e *loggingpb.LogEntry) {
	if _, err := protojson.Marshal(e); err != nil {
		e.Payload = &loggingpb.LogEntry_TextPayload{TextPayload: "(this payload cannot be shown as JSON, gRPC has it: " + err.Error() + ")"}
	}
}

func writeMessage(w http.ResponseWriter, code int, m proto.Message) {
	b, err := protojson.Marshal(m)
	if err != nil {
		writeError(w, status.Errorf(codes.Internal, "write the answer as JSON: %v", err))
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(code)
	w.Write(b)
}

// writeError writes Google's form of an error
// (https://cloud.google.com/apis/design/errors#http_mapping).
func writeError(w http.ResponseWriter, err error) {
	st := status.Convert(err).Proto()
	details, failed := protojson.Marshal(&spb.Status{Message: st.Message, Details: st.Details})
	if failed != nil {
		details = []byte("{}")
	}
	code, name := httpStatus(codes.Code(st.Code))
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(code)
	w.Write(errorBody(code, name, details))
}

// errorBody puts the HTTP code and the status name before the fields of a
// google.rpc.Status.
func errorBody(code int, name string, fields []byte) []byte {
	b := []byte(`{"error":{"code":` + strconv.Itoa(code) + `,"status":"` + name + `"`)
	if rest := strings.TrimPrefix(string(fields), "{"); rest != "}" {
		b = append(b, ',')
		return append(append(b, rest...), '}')
	}
	return append(b, '}', '}')
}

func httpStatus(c codes.Code) (code int, name string) {
	known := map[codes.Code]struct {
		code int
		name string
	}{
		codes.Canceled:           {499, "CANCELLED"},
		codes.InvalidArgument:    {http.StatusBadRequest, "INVALID_ARGUMENT"},
		codes.DeadlineExceeded:   {http.StatusGatewayTimeout, "DEADLINE_EXCEEDED"},
		codes.NotFound:           {http.StatusNotFound, "NOT_FOUND"},
		codes.AlreadyExists:      {http.StatusConflict, "ALREADY_EXISTS"},
		codes.PermissionDenied:   {http.StatusForbidden, "PERMISSION_DENIED"},
		codes.ResourceExhausted:  {http.StatusTooManyRequests, "RESOURCE_EXHAUSTED"},
		codes.FailedPrecondition: {http.StatusBadRequest, "FAILED_PRECONDITION"},
		codes.Aborted:            {http.StatusConflict, "ABORTED"},
		codes.OutOfRange:         {http.StatusBadRequest, "OUT_OF_RANGE"},
		codes.Unimplemented:      {http.StatusNotImplemented, "UNIMPLEMENTED"},
		codes.Internal:           {http.StatusInternalServerError, "INTERNAL"},
		codes.Unavailable:        {http.StatusServiceUnavailable, "UNAVAILABLE"},
		codes.DataLoss:           {http.StatusInternalServerError, "DATA_LOSS"},
		codes.Unauthenticated:    {http.StatusUnauthorized, "UNAUTHENTICATED"},
	}
	if s, ok := known[c]; ok {
		return s.code, s.name
	}
	return http.StatusInternalServerError, "UNKNOWN"
}
