package webhook

import (
	"bytes"
	"encoding/json"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/zap"

	"github.com/openreplay/log-sidecar/injector"
)

// newWebhook gives a server whose Events wait, since nobody runs them.
func newWebhook(t testing.TB) (*httptest.Server, *Webhook) {
	t.Helper()
	metrics := NewMetrics(prometheus.NewRegistry())
	w := &Webhook{Defaults: injector.Defaults{Image: "sidecar:1"}, Events: NewEvents(nil, zap.NewNop(), metrics), Metrics: metrics, Log: zap.NewNop()}
	server := httptest.NewServer(w.Handler())
	t.Cleanup(server.Close)
	return server, w
}

// asks posts an AdmissionReview about a pod, and gives the answer.
func asks(t testing.TB, url, pod string) *response {
	t.Helper()
	body := `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u-1","namespace":"apps","object":` + pod + `}}`
	answer, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var out review
	if err := json.NewDecoder(answer.Body).Decode(&out); err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v", answer.Status, err)
	}
	if out.APIVersion != "admission.k8s.io/v1" || out.Kind != "AdmissionReview" || out.Response.UID != "u-1" {
		t.Errorf("the answer is %+v", out)
	}
	return out.Response
}

func pod(labels, spec string) string {
	return `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"shop","labels":{` + labels + `}},"spec":{` + spec + `"containers":[{"name":"app","image":"shop:1","ports":[{"name":"http","containerPort":8080}]}]}}`
}

const ask = `"openreplay-sidecar/inject":"true"`

// TestEveryPodIsAllowed: one that asks gets a patch, one that does not gets nothing, and one that cannot have the sidecar gets
// the reason as a warning and an Event.
func TestEveryPodIsAllowed(t *testing.T) {
	for _, c := range []struct {
		name, path, pod string
		patch           bool
		warning         string
		events          int
	}{
		{"it asks", PodAsks, pod(ask, ""), true, "", 0},
		{"its namespace asks", NamespaceAsks, pod("", ""), true, "", 0},
		{"nobody asks", PodAsks, pod("", ""), false, "", 0},
		{"it cannot have it", PodAsks, pod(ask, `"hostNetwork":true,`), false, "openreplay-sidecar: not injected: ", 1},
		{"it is no pod", PodAsks, `[]`, false, "", 0},
		{"it is nothing", PodAsks, `null`, false, "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			server, w := newWebhook(t)
			got := asks(t, server.URL+c.path, c.pod)
			if !got.Allowed {
				t.Error("the pod was refused")
			}
			if (got.Patch != nil) != c.patch || c.patch && (got.PatchType != "JSONPatch" || !json.Valid(got.Patch)) {
				t.Errorf("the patch is %s %q", got.PatchType, got.Patch)
			}
			if c.warning != "" && !strings.HasPrefix(strings.Join(got.Warnings, "\n"), c.warning) {
				t.Errorf("the warnings are %q, want %q", got.Warnings, c.warning)
			}
			if n := len(w.Events.queue); n != c.events {
				t.Errorf("%d Events wait, want %d", n, c.events)
			}
			result := map[bool]string{true: "injected", false: "skipped"}[c.patch]
			total := 0.0
			for m := range collect(w.Metrics.admissions) {
				if m.Label[1].GetValue() == result {
					total += m.Counter.GetValue()
				}
			}
			if total != 1 {
				t.Errorf("%v admissions count as %s, want 1", total, result)
			}
		})
	}
}

// collect gives the children of a vector; their labels are in the order of their names.
func collect(v *prometheus.CounterVec) iter.Seq[*dto.Metric] {
	return func(yield func(*dto.Metric) bool) {
		all := make(chan prometheus.Metric, 100)
		v.Collect(all)
		close(all)
		for metric := range all {
			var m dto.Metric
			if metric.Write(&m) != nil || !yield(&m) {
				return
			}
		}
	}
}

func TestADryRunLeavesNoEvent(t *testing.T) {
	_, w := newWebhook(t)
	if answer := w.admit(&request{UID: "u", DryRun: true, Object: json.RawMessage(pod(ask, `"hostNetwork":true,`))}, false); len(answer.Warnings) != 1 {
		t.Errorf("the warnings are %q", answer.Warnings)
	}
	if len(w.Events.queue) != 0 {
		t.Error("a dry run left an Event")
	}
}

// TestWhatIsNoReview: the API server never sends it, others may. It costs them an error and us no memory.
func TestWhatIsNoReview(t *testing.T) {
	server, _ := newWebhook(t)
	for name, body := range map[string]io.Reader{
		"nothing":   strings.NewReader(""),
		"no JSON":   strings.NewReader("<review/>"),
		"a reply":   strings.NewReader(`{"response":{"uid":"u","allowed":true}}`),
		"very long": io.LimitReader(bytes.NewReader(bytes.Repeat([]byte(" "), longest+10)), longest+10),
	} {
		answer, err := http.Post(server.URL+PodAsks, "application/json", body)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s", name, answer.Status)
		}
	}
	if answer, err := http.Get(server.URL + PodAsks); err != nil || answer.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("a GET: %v, %v", answer.Status, err)
	}
}

// FuzzEveryPodIsAllowed: whatever the object is, the pod starts.
func FuzzEveryPodIsAllowed(f *testing.F) {
	f.Add([]byte(pod(ask, "")))
	f.Add([]byte(`{"metadata":{"labels":{"openreplay-sidecar/inject":"true"},"annotations":null},"spec":{"containers":[null,{}]}}`))
	_, w := newWebhook(f)
	f.Fuzz(func(t *testing.T, object []byte) {
		if answer := w.admit(&request{UID: "u", DryRun: true, Object: object}, true); !answer.Allowed || strings.Contains(strings.Join(answer.Warnings, ""), "a fault of the injector") {
			t.Errorf("%+v", answer)
		}
	})
}
