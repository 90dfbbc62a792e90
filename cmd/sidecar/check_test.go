package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
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
