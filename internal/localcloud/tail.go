package localcloud

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"cloud.google.com/go/logging/apiv2/loggingpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	maxTails      = 10     // sessions at a time (https://cloud.google.com/logging/quotas)
	maxTailQueue  = 60_000 // entries that wait for a slow reader; the API's bound a minute
	maxTailAnswer = 1000   // entries in one answer
	defaultWindow = 2 * time.Second
	maxWindow     = time.Minute
)

// tails are the sessions that follow the writes.
type tails struct {
	mu       sync.Mutex
	sessions map[*tailSession]bool
}

func (t *tails) publish(records []*record) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for s := range t.sessions {
		s.push(records)
	}
}

func (t *tails) add(s *tailSession) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.sessions) >= maxTails {
		return status.Errorf(codes.ResourceExhausted, "Quota exceeded: %d tail sessions are open, the limit is %d", len(t.sessions), maxTails)
	}
	if t.sessions == nil {
		t.sessions = map[*tailSession]bool{}
	}
	t.sessions[s] = true
	return nil
}

func (t *tails) remove(s *tailSession) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.sessions, s)
}

// tailSession queues what was written until its reader takes it.
type tailSession struct {
	mu         sync.Mutex
	queue      []*record
	suppressed int32
	wake       chan struct{} // holds one token while the queue has something
}

func (s *tailSession) push(records []*record) {
	s.mu.Lock()
	room := min(maxTailQueue-len(s.queue), len(records))
	s.queue = append(s.queue, records[:room]...)
	s.suppressed += int32(len(records) - room)
	s.mu.Unlock()
	if len(records) == 0 {
		return
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *tailSession) take() (records []*record, suppressed int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	records, suppressed = s.queue, s.suppressed
	s.queue, s.suppressed = nil, 0
	slices.SortFunc(records, compareRecords)
	return records, suppressed
}

// TailLogEntries streams what is written from now on. A later request of the
// stream replaces the filter.
func (s *service) TailLogEntries(stream loggingpb.LoggingServiceV2_TailLogEntriesServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	q, window, err := tailQuery(first)
	if err != nil {
		return err
	}
	session := &tailSession{wake: make(chan struct{}, 1)}
	if err := s.tails.add(session); err != nil {
		return err
	}
	defer s.tails.remove(session)
	return s.follow(stream, session, s.receive(stream), q, window)
}

// receive hands on the later requests of a stream, and closes the channel when
// it fails. Its goroutine ends when the stream's handler has returned: Shutdown
// waits for it.
func (s *service) receive(stream loggingpb.LoggingServiceV2_TailLogEntriesServer) <-chan *loggingpb.TailLogEntriesRequest {
	requests := make(chan *loggingpb.TailLogEntriesRequest)
	s.receivers.Go(func() {
		defer close(requests)
		for {
			req, err := stream.Recv()
			if errors.Is(err, io.EOF) { // no more requests; the answers go on
				<-stream.Context().Done()
			}
			if err != nil {
				return
			}
			select {
			case requests <- req:
			case <-stream.Context().Done():
				return
			}
		}
	})
	return requests
}

func (s *service) follow(stream loggingpb.LoggingServiceV2_TailLogEntriesServer, session *tailSession,
	requests <-chan *loggingpb.TailLogEntriesRequest, q *query, window time.Duration) error {
	for {
		select {
		case <-s.closing:
			return status.Error(codes.Unavailable, "the server is shutting down")
		case <-stream.Context().Done():
			return stream.Context().Err()
		case req, ok := <-requests:
			if !ok {
				return stream.Context().Err()
			}
			var err error
			if q, window, err = tailQuery(req); err != nil {
				return err
			}
		case <-session.wake:
			s.waitWindow(stream.Context(), window)
			if err := session.send(stream, q); err != nil {
				return err
			}
		}
	}
}

// waitWindow gives late entries the time to find their place in the order.
func (s *service) waitWindow(ctx context.Context, window time.Duration) {
	timer := time.NewTimer(window)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	case <-s.closing:
	}
}

func (s *tailSession) send(stream loggingpb.LoggingServiceV2_TailLogEntriesServer, q *query) error {
	records, suppressed := s.take()
	m := q.matcher()
	records = slices.DeleteFunc(records, func(r *record) bool { return !m.matches(r) })
	for chunk := range slices.Chunk(records, maxTailAnswer) {
		answer := new(loggingpb.TailLogEntriesResponse)
		for _, r := range chunk {
			answer.Entries = append(answer.Entries, r.entry())
		}
		if err := stream.Send(answer); err != nil {
			return err
		}
	}
	if suppressed == 0 {
		return nil
	}
	return stream.Send(&loggingpb.TailLogEntriesResponse{SuppressionInfo: []*loggingpb.TailLogEntriesResponse_SuppressionInfo{{
		Reason:          loggingpb.TailLogEntriesResponse_SuppressionInfo_NOT_CONSUMED,
		SuppressedCount: suppressed,
	}}})
}

func tailQuery(req *loggingpb.TailLogEntriesRequest) (*query, time.Duration, error) {
	in, err := within(req.ResourceNames)
	if err != nil {
		return nil, 0, err
	}
	window := defaultWindow
	if req.BufferWindow != nil {
		window = req.BufferWindow.AsDuration()
	}
	if window < 0 || window > maxWindow {
		return nil, 0, invalid("buffer_window %v is not between 0 and %v", window, maxWindow)
	}
	q, err := newQuery(req.Filter, in)
	return q, window, err
}
