// Package cloudlogging is the forwarder's sink for Google Cloud Logging.
package cloudlogging

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cloud.google.com/go/auth/credentials"
	logging "cloud.google.com/go/logging/apiv2"
	"cloud.google.com/go/logging/apiv2/loggingpb"
	"google.golang.org/api/option"
	"google.golang.org/genproto/googleapis/api/monitoredres"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/openreplay/log-sidecar/forwarder"
)

// Config says where entries go.
type Config struct {
	Project   string // "": from the credentials or the metadata server
	LogName   string // the plain ID, without projects/P/logs/
	Endpoint  string // host:port; "": Google's
	Plaintext bool   // no TLS, no credentials: for the stand-in
	Pod       *Pod   // nil: not in Kubernetes
}

// A Sink writes to one log. It connects when it is first used, and again after a fault of its credentials, so that
// credentials which are renewed or mounted later are found.
type Sink struct {
	config   Config
	client   *logging.Client
	project  string
	account  string // whose credentials are used, where they say so
	resource *monitoredres.MonitoredResource
	buffers  buffers
}

// New gives a sink; nothing is connected yet.
func New(c Config) *Sink { return &Sink{config: c} }

// Name is part of what the journal keeps.
func (s *Sink) Name() string { return "cloud-logging" }

// ErrNoProject says that neither the configuration nor the credentials name a project.
var ErrNoProject = errors.New("the Google Cloud project is not known: set --project")

// Connect makes the client, if there is none.
func (s *Sink) Connect(ctx context.Context) error {
	if s.client != nil {
		return nil
	}
	options, project, err := s.options(ctx)
	if err != nil {
		return err
	}
	client, err := logging.NewClient(ctx, options...)
	if err != nil {
		return fmt.Errorf("connect to Cloud Logging: %w", err)
	}
	client.CallOptions.WriteLogEntries = nil // the forwarder tries again itself; the default hides the cause of a failure
	s.client, s.project = client, project
	s.resource = s.config.Pod.resource(ctx, project)
	return nil
}

func (s *Sink) options(ctx context.Context) (options []option.ClientOption, project string, err error) {
	options = []option.ClientOption{
		option.WithGRPCConnectionPool(1),
		option.WithTelemetryDisabled(),
		option.WithGRPCDialOption(grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 20 * time.Second, Timeout: 10 * time.Second})),
		// Answers are small: to measure the way for larger windows would cost a ping and a wake-up for each of them.
		option.WithGRPCDialOption(grpc.WithStaticStreamWindowSize(64 << 10)),
		option.WithGRPCDialOption(grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 200 * time.Millisecond, Multiplier: 1.6, Jitter: .2, MaxDelay: time.Second},
			MinConnectTimeout: 5 * time.Second,
		})),
	}
	if s.config.Endpoint != "" {
		options = append(options, option.WithEndpoint(s.config.Endpoint))
	}
	if s.config.Plaintext {
		options = append(options, option.WithoutAuthentication(),
			option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
		if s.config.Project == "" {
			return nil, "", ErrNoProject
		}
		return options, s.config.Project, nil
	}
	creds, err := credentials.DetectDefault(&credentials.DetectOptions{Scopes: logging.DefaultAuthScopes(), UseSelfSignedJWT: true})
	if err != nil {
		return nil, "", fmt.Errorf("find Google credentials (Workload Identity, GOOGLE_APPLICATION_CREDENTIALS, or --sink stdout): %w", err)
	}
	s.account = accountIn(creds.JSON())
	project = s.config.Project
	if project == "" {
		if project, err = creds.ProjectID(ctx); err != nil || project == "" {
			return nil, "", ErrNoProject
		}
	}
	return append(options, option.WithAuthCredentials(creds)), project, nil
}

// Close ends the connection.
func (s *Sink) Close() error {
	if s.client == nil {
		return nil
	}
	client := s.client
	s.client = nil
	return client.Close()
}

// Send tries once; entries that are refused one by one are told apart from faults that concern all.
func (s *Sink) Send(ctx context.Context, batch [][]byte) forwarder.Outcome {
	if err := s.Connect(ctx); err != nil {
		return forwarder.Outcome{Err: err, Code: "not_connected", Slow: true}
	}
	out := s.send(ctx, batch)
	switch out.Code {
	case codes.Unauthenticated.String(), codes.DeadlineExceeded.String():
		s.Close() // the credentials may have been renewed; the connection may have died in silence
	}
	return out
}

// readyTimeout bounds how long Ready waits for a connection that is being made.
const readyTimeout = 5 * time.Second

// Ready says whether there is a connection, and makes one where there is none. It keeps gRPC from waiting by a clock of its
// own: whoever asks again has waited.
func (s *Sink) Ready(ctx context.Context) forwarder.Outcome {
	if err := s.Connect(ctx); err != nil {
		return forwarder.Outcome{Err: err, Code: "not_connected", Slow: true}
	}
	waiting, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	conn := s.client.Connection() //nolint:staticcheck // there is one connection in the pool
	conn.ResetConnectBackoff()
	began := false
	for {
		state := conn.GetState()
		switch {
		case state == connectivity.Ready:
			return forwarder.Outcome{}
		case state == connectivity.TransientFailure && began:
			return s.unreachable(ctx)
		case state == connectivity.Idle:
			conn.Connect()
		}
		began = began || state == connectivity.Connecting || state == connectivity.Idle
		if !conn.WaitForStateChange(waiting, state) {
			return s.unreachable(ctx)
		}
	}
}

// unreachable gives the reason why there is no connection: a call fails with it.
func (s *Sink) unreachable(ctx context.Context) forwarder.Outcome {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := s.Check(ctx); err != nil {
		return retry(err)
	}
	return forwarder.Outcome{}
}

func (s *Sink) request() *loggingpb.WriteLogEntriesRequest {
	return &loggingpb.WriteLogEntriesRequest{
		LogName:        "projects/" + s.project + "/logs/" + s.config.LogName,
		Resource:       s.resource,
		PartialSuccess: true,
	}
}
