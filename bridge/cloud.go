package bridge

import (
	"context"
	"fmt"
	"time"

	"cloud.google.com/go/auth/credentials"
	logging "cloud.google.com/go/logging/apiv2"
	"cloud.google.com/go/logging/apiv2/loggingpb"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

// scope is all that the bridge asks of Google.
const scope = "https://www.googleapis.com/auth/logging.read"

// CloudLogging reads from Google, or from what stands in for it. It is safe for use by several goroutines.
type CloudLogging struct{ client *logging.Client }

// Connect makes the client. endpoint is host:port, "" for Google's; plaintext means no TLS and no credentials.
func Connect(ctx context.Context, endpoint string, plaintext bool) (*CloudLogging, error) {
	options := []option.ClientOption{
		option.WithGRPCConnectionPool(1),
		option.WithTelemetryDisabled(),
		option.WithGRPCDialOption(grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 60 * time.Second, Timeout: 10 * time.Second})),
	}
	if endpoint != "" {
		options = append(options, option.WithEndpoint(endpoint))
	}
	if plaintext {
		options = append(options, option.WithoutAuthentication(),
			option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
	} else {
		creds, err := credentials.DetectDefault(&credentials.DetectOptions{Scopes: []string{scope}})
		if err != nil {
			return nil, fmt.Errorf("find Google credentials (Workload Identity or GOOGLE_APPLICATION_CREDENTIALS): %w", err)
		}
		options = append(options, option.WithAuthCredentials(creds))
	}
	client, err := logging.NewClient(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("connect to Cloud Logging: %w", err)
	}
	// The default tries again until the time is over: that hides the cause, and each try counts in the quota. The panel has
	// its own tries and its own button.
	client.CallOptions.ListLogEntries = nil
	return &CloudLogging{client}, nil
}

// Close ends the connection.
func (c *CloudLogging) Close() error { return c.client.Close() }

// List makes one call.
func (c *CloudLogging) List(ctx context.Context, request *loggingpb.ListLogEntriesRequest) (*loggingpb.ListLogEntriesResponse, error) {
	// Next and Pager go on by themselves where Cloud Logging answers with a short or an empty page, without a word of how
	// many calls that took.
	page, next, err := c.client.ListLogEntries(ctx, request).InternalFetch(int(request.PageSize), request.PageToken)
	if err != nil {
		return nil, err
	}
	return &loggingpb.ListLogEntriesResponse{Entries: page, NextPageToken: next}, nil
}

// Check reads one entry of the source, as a search would, and says how old the newest one is.
func Check(ctx context.Context, cloud Cloud, source Source) (note string, err error) {
	page, err := cloud.List(ctx, &loggingpb.ListLogEntriesRequest{ResourceNames: []string{"projects/" + source.Project},
		Filter: logNames(source) + fmt.Sprintf(` AND labels.%q!=""`, labelID), OrderBy: "timestamp desc", PageSize: 1})
	if err != nil {
		return "", wayOut(err, source)
	}
	if len(page.Entries) == 0 {
		return "can be read; no entry has the label " + labelID + " yet", nil
	}
	return "can be read; the newest entry is of " + dated(page.Entries[0]).UTC().Format(time.RFC3339), nil
}

// wayOut adds to what the server says what the operator can do.
func wayOut(err error, source Source) error {
	message := status.Convert(err).Message()
	switch status.Code(err) {
	case codes.PermissionDenied:
		return fmt.Errorf("%s: give the bridge's account the role roles/logging.viewer in %s", message, source.Project)
	case codes.Unauthenticated:
		return fmt.Errorf("%s: the credentials are not accepted; look at Workload Identity or GOOGLE_APPLICATION_CREDENTIALS", message)
	case codes.NotFound, codes.InvalidArgument:
		return fmt.Errorf("%s: look at the project and the logs in the keys file", message)
	case codes.Unavailable, codes.DeadlineExceeded:
		return fmt.Errorf("%s: is the way to logging.googleapis.com:443 (or --endpoint) open?", message)
	case codes.ResourceExhausted:
		return fmt.Errorf("%s: the project's quota of reads is used up for this minute", message)
	}
	return err
}
