package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/openreplay/log-sidecar/forwarder/cloudlogging"
)

func TestPagesThatOpenToTheWorldAreSaid(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/server-status" {
			http.NotFound(w, r)
		}
	}))
	defer app.Close()
	said := func(localOnly ...string) string {
		var out strings.Builder
		warnLocalPages(t.Context(), &out, &config{Ports: []port{{App: app.URL}}, LocalOnly: localOnly})
		return out.String()
	}
	if got := said(); !strings.Contains(got, "/server-status") || strings.Count(got, "\n") != 1 {
		t.Errorf("nothing is refused: %q", got)
	}
	if got := said("/server-status"); got != "" {
		t.Errorf("it is refused, yet: %q", got)
	}
}

// TestTheChainSaysWhichLinkIsBroken: what a running sidecar's metrics say, link by link, up to the first that nothing came through.
func TestTheChainSaysWhichLinkIsBroken(t *testing.T) {
	metrics := "sidecar_table_exchanges 3\n"
	health := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, metrics) }))
	defer health.Close()
	c := &config{Health: health.Listener.Addr().String(), Logs: []string{"/logs/*.log"}}
	for _, step := range []struct{ seen, last string }{
		{"", "warn  requests       none has come"},
		{"sidecar_proxy_exchanges_total{class=\"2xx\"} 7\nsidecar_proxy_exchanges_total{class=\"5xx\"} 2\n", "warn  sessions       no request names one"},
		{"sidecar_proxy_sessions_total{by=\"header\"} 5\nsidecar_proxy_sessions_total{by=\"learned\"} 6\n", "warn  log bytes      none was read: does the app write to what --logs names (/logs/*.log)?"},
		{"sidecar_tail_read_bytes_total 900\nsidecar_tail_files 2\n", "ok    delivery       0 arrived, 0 wait"},
		{"sidecar_errors_found_total{from=\"record\"} 4\nsidecar_enrich_records_unmatched_total{reason=\"no_session\"} 4\n", "warn  matches        by way: none; not tied to a session: 4 no session"},
		{"sidecar_enrich_records_matched_total{way=\"path\"} 2\nsidecar_errors_waiting 2\nsidecar_forwarder_oldest_unacknowledged_seconds 90\nsidecar_forwarder_retries_total{code=\"PermissionDenied\"} 8\n",
			"warn  delivery       0 arrived, 2 wait, one of them for 1m30s (tries: 8 PermissionDenied)"},
	} {
		metrics += step.seen
		var out strings.Builder
		sayChain(t.Context(), &out, c)
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if got := lines[len(lines)-1]; !strings.HasPrefix(got, step.last) {
			t.Errorf("the chain ends with %q, want %q; all of it:\n%s", got, step.last, out.String())
		}
	}
	health.Close()
	var out strings.Builder
	if sayChain(t.Context(), &out, c); !strings.Contains(out.String(), "no sidecar answers at --health") {
		t.Errorf("nobody is there: %q", out.String())
	}
}

// TestTheMissingRoleIsNamed: what Google says to an account without it, and to a project whose API is switched off.
func TestTheMissingRoleIsNamed(t *testing.T) {
	report := cloudlogging.Report{LogName: "projects/shop/logs/openreplay-errors", Account: "writer@shop.iam.gserviceaccount.com"}
	denied := status.New(codes.PermissionDenied, "Permission 'logging.logEntries.create' denied on resource (or it may not exist).")
	said := wayOut(denied.Err(), report).Error()
	for _, want := range []string{report.LogName, report.Account, "roles/logging.logWriter", "add-iam-policy-binding shop"} {
		if !strings.Contains(said, want) {
			t.Errorf("%q does not say %q", said, want)
		}
	}
	off, err := denied.WithDetails(&errdetails.ErrorInfo{Reason: "SERVICE_DISABLED", Domain: "googleapis.com"})
	if err != nil {
		t.Fatal(err)
	}
	if said := wayOut(off.Err(), report).Error(); !strings.Contains(said, "gcloud services enable logging.googleapis.com") {
		t.Errorf("the API is switched off: %q", said)
	}
}
