package admin

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func get(h http.Handler, method, target string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, target, nil))
	return w
}

func TestReadySaysOnlyWhatTheProxySays(t *testing.T) {
	var not error
	h := Health(func() error { return not }, prometheus.NewRegistry())
	if got := get(h, "GET", "/readyz").Code; got != 200 {
		t.Errorf("ready: %d", got)
	}
	not = errors.New("ending")
	if got := get(h, "GET", "/readyz"); got.Code != 503 || !strings.Contains(got.Body.String(), "ending") {
		t.Errorf("not ready: %d %q", got.Code, got.Body)
	}
	if got := get(h, "GET", "/healthz").Code; got != 200 {
		t.Errorf("healthy though not ready: %d", got)
	}
}

func TestAdmin(t *testing.T) {
	reg := prometheus.NewRegistry()
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "sidecar_seen_total", Help: "Seen <things>."})
	reg.MustRegister(counter)
	counter.Add(7)
	quit := 0
	h := Admin("v1", reg, func() { quit++ })

	page := get(h, "GET", "http://127.0.0.1:9095/").Body.String()
	for _, want := range []string{"v1", "sidecar_seen_total", ">7<", "Seen &lt;things&gt;."} {
		if !strings.Contains(page, want) {
			t.Errorf("the status page lacks %q:\n%s", want, page)
		}
	}
	if get(h, "GET", "http://127.0.0.1:9095/quitquitquit"); quit != 0 {
		t.Error("a GET ended the sidecar")
	}
	if got := get(h, "POST", "http://evil.example/quitquitquit").Code; got != 403 || quit != 0 {
		t.Errorf("a request for another host: %d, ended %d times", got, quit)
	}
	if get(h, "POST", "http://localhost:9095/quitquitquit"); quit != 1 {
		t.Errorf("ended %d times, want once", quit)
	}
}
