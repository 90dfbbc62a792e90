package cloudlogging

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"cloud.google.com/go/logging/apiv2/loggingpb"
	"github.com/googleapis/gax-go/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// A Report is what an attempt to write tells.
type Report struct {
	LogName string // whole, with the project
	Account string // whose credentials were used; "" where they do not say
	// Ahead is how far our clock is ahead of the server's, to the second, where the server tells its time.
	Ahead     time.Duration
	ClockTold bool
}

// Check asks the server, without writing, whether it would take an entry.
func (s *Sink) Check(ctx context.Context) error {
	_, err := s.Try(ctx)
	return err
}

// Try is Check with what is there to tell.
func (s *Sink) Try(ctx context.Context) (r Report, err error) {
	if err := s.Connect(ctx); err != nil {
		return r, err
	}
	request := s.request()
	request.Entries = []*loggingpb.LogEntry{{Payload: &loggingpb.LogEntry_TextPayload{TextPayload: "sidecar check"}}}
	request.DryRun = true
	r.LogName, r.Account = request.LogName, s.account
	var head metadata.MD
	began := time.Now()
	_, err = s.client.WriteLogEntries(ctx, request, gax.WithGRPCOptions(grpc.Header(&head)))
	if dates := head.Get("date"); len(dates) > 0 {
		if date, err := http.ParseTime(dates[0]); err == nil {
			ours := began.Add(time.Since(began) / 2)
			r.Ahead, r.ClockTold = ours.Sub(date.Add(time.Second/2)).Round(time.Second), true // the date is cut to the second
		}
	}
	return r, err
}

// accountIn reads from a credentials file whose they are.
func accountIn(file []byte) string {
	var names struct {
		Email         string `json:"client_email"`
		Impersonation string `json:"service_account_impersonation_url"`
		Audience      string `json:"audience"`
	}
	if json.Unmarshal(file, &names) != nil {
		return ""
	}
	for _, name := range []string{names.Email, names.Impersonation, names.Audience} {
		if name != "" {
			return name
		}
	}
	return ""
}
