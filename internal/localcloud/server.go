// Package localcloud is a Cloud Logging stand-in: the Logging API v2 over gRPC
// and REST on one port, in memory.
//
// It keeps to the documented behaviour and limits of the real service, so that
// clients which know nothing of it (gcloud, Google's libraries) can be pointed
// at it. It checks no credentials: it belongs on a loopback address.
//
// gcloud reads and writes it, without an account, with
//
//	CLOUDSDK_API_ENDPOINT_OVERRIDES_LOGGING=http://127.0.0.1:8085/
//	CLOUDSDK_AUTH_DISABLE_CREDENTIALS=true
//	CLOUDSDK_CORE_PROJECT=any-name
package localcloud

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"cloud.google.com/go/logging/apiv2/loggingpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// Config says how much a Server keeps, and where. The zero value is of use.
type Config struct {
	// MaxBytes bounds the memory that entries take, in bytes, with what it
	// costs to find them again; the oldest go first and are counted in
	// Stats.Evicted. 0: 256 MiB.
	MaxBytes int64

	// File keeps the entries over a restart; it is made where missing and
	// stays below about twice MaxBytes. It survives the end of the process,
	// not a power cut. Empty: entries live in memory alone.
	File string

	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

const defaultMaxBytes = 256 << 20

// Server answers the Logging API. It is safe for use by several goroutines.
type Server struct {
	now   func() time.Time
	store *store
	http  *http.Server
	grpc  *grpc.Server

	interposed atomic.Pointer[Interposer]
	stats      counters
	ids        idSource

	tails     tails
	receivers sync.WaitGroup
	closing   chan struct{}
	closeOnce sync.Once
}

// New makes a Server and reads back what Config.File holds.
func New(c Config) (*Server, error) {
	if c.MaxBytes <= 0 {
		c.MaxBytes = defaultMaxBytes
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	s := &Server{now: c.Now, ids: newIDSource(), closing: make(chan struct{})}
	s.store = newStore(c.MaxBytes, &s.stats)
	if c.File != "" {
		if err := s.store.keepIn(c.File); err != nil {
			return nil, err
		}
	}
	s.grpc = grpc.NewServer(grpc.MaxRecvMsgSize(2*maxRequestBytes), grpc.ForceServerCodecV2(newCodec()), grpc.UnaryInterceptor(dated))
	s.grpc.RegisterService(serviceDesc(), &service{Server: s})
	s.http = &http.Server{Handler: s.router(), Protocols: plainProtocols(), HTTP2: &http.HTTP2Config{
		// A whole batch fits into the window, so a writer never waits for it.
		MaxReceiveBufferPerConnection: 2 * maxRequestBytes,
		MaxReceiveBufferPerStream:     2 * maxRequestBytes,
		MaxReadFrameSize:              1 << 20,
	}}
	return s, nil
}

func plainProtocols() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	return p
}

// router sends gRPC calls to the gRPC server and the rest to REST.
func (s *Server) router() http.Handler {
	rest := s.rest()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 2 && strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
			s.grpc.ServeHTTP(w, r)
			return
		}
		rest.ServeHTTP(w, r)
	})
}

// Serve answers on l until Shutdown, and then returns nil.
func (s *Server) Serve(l net.Listener) error {
	if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Shutdown ends the tail sessions, waits until the calls in hand are answered
// or ctx ends, and closes the file.
func (s *Server) Shutdown(ctx context.Context) error {
	s.closeOnce.Do(func() { close(s.closing) })
	err := s.http.Shutdown(ctx)
	if err != nil {
		s.http.Close()
	}
	s.grpc.Stop()
	s.receivers.Wait()
	return errors.Join(err, s.store.close())
}

// Interposer stands between a WriteLogEntries call and what it does. It may
// refuse without calling apply, call apply and lose the answer, wait, or change
// the answer. Tests use it to make every fault of the real service.
type Interposer func(ctx context.Context, req *loggingpb.WriteLogEntriesRequest,
	apply func() (*loggingpb.WriteLogEntriesResponse, error)) (*loggingpb.WriteLogEntriesResponse, error)

// Interpose puts f before every later write, gRPC and REST alike; nil takes it
// away. Nothing outside this process can reach it.
func (s *Server) Interpose(f Interposer) {
	if f == nil {
		s.interposed.Store(nil)
		return
	}
	s.interposed.Store(&f)
}

// Stats counts what the writes of this process brought.
type Stats struct {
	Requests   int64 // WriteLogEntries calls, refused ones too
	Written    int64 // entries kept
	Duplicates int64 // entries left out: project, timestamp and insertId were there already
	Refused    int64 // entries that were not valid, or in a request with one that was not
	Expired    int64 // entries accepted and dropped: older than the retention of 30 days
	Evicted    int64 // entries that had to go for the memory bound
}

type counters struct{ requests, written, duplicates, refused, expired, evicted atomic.Int64 }

// Stats returns the counts so far.
func (s *Server) Stats() Stats {
	c := &s.stats
	return Stats{
		Requests: c.requests.Load(), Written: c.written.Load(), Duplicates: c.duplicates.Load(),
		Refused: c.refused.Load(), Expired: c.expired.Load(), Evicted: c.evicted.Load(),
	}
}

// dated tells the server's time with an answer, as Google's servers do: gRPC's own handler leaves it out.
func dated(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	if err := grpc.SetHeader(ctx, metadata.Pairs("date", time.Now().UTC().Format(http.TimeFormat))); err != nil {
		return nil, err
	}
	return handle(ctx, req)
}
