package main

import (
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
