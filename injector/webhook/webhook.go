// Package webhook answers the API server: with the patch of package injector, and never with a refusal.
package webhook

import (
	"encoding/json"
	"io"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/openreplay/log-sidecar/injector"
)

// review is an AdmissionReview of admission.k8s.io/v1, as far as it is needed.
type review struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"`
	Request    *request  `json:"request,omitempty"`
	Response   *response `json:"response,omitempty"`
}

type request struct {
	UID       string          `json:"uid"`
	Namespace string          `json:"namespace"`
	DryRun    bool            `json:"dryRun"`
	Object    json.RawMessage `json:"object"`
}

type response struct {
	UID       string   `json:"uid"`
	Allowed   bool     `json:"allowed"`
	PatchType string   `json:"patchType,omitempty"`
	Patch     []byte   `json:"patch,omitempty"`
	Warnings  []string `json:"warnings,omitempty"`
}

// The paths of the webhook. Whose label asked is in the path, because the API server does not hand on a namespace's labels.
const (
	PodAsks       = "/inject"
	NamespaceAsks = "/inject/namespace"
)

// longest is the most that is read: a Pod is at most some 1.5 MiB in etcd, and comes twice at an update.
const longest = 8 << 20

// A Webhook is the handler of admission requests.
type Webhook struct {
	Defaults injector.Defaults
	Events   *Events
	Metrics  *Metrics
	Log      *zap.Logger
}

// Handler serves both paths.
func (w *Webhook) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+PodAsks, func(out http.ResponseWriter, r *http.Request) { w.serve(out, r, false) })
	mux.HandleFunc("POST "+NamespaceAsks, func(out http.ResponseWriter, r *http.Request) { w.serve(out, r, true) })
	return mux
}

func (w *Webhook) serve(out http.ResponseWriter, r *http.Request, asked bool) {
	begin := time.Now()
	body, err := io.ReadAll(http.MaxBytesReader(out, r.Body, longest))
	var in review
	if err == nil {
		err = json.Unmarshal(body, &in)
	}
	if err != nil || in.Request == nil {
		w.Metrics.admissions.WithLabelValues("invalid", "").Inc()
		http.Error(out, "an AdmissionReview of admission.k8s.io/v1 is expected", http.StatusBadRequest)
		return
	}
	answer := w.admit(in.Request, asked)
	out.Header().Set("Content-Type", "application/json")
	json.NewEncoder(out).Encode(review{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview", Response: answer})
	w.Metrics.seconds.Observe(time.Since(begin).Seconds())
}

// admit allows every Pod. A panic in the injection is a Pod without a sidecar, and no more.
func (w *Webhook) admit(r *request, asked bool) (answer *response) {
	answer = &response{UID: r.UID, Allowed: true}
	defer func() {
		if p := recover(); p != nil {
			w.Metrics.admissions.WithLabelValues("skipped", "panic").Inc()
			w.Log.Error("the injection of a pod panicked; the pod starts without a sidecar", zap.String("namespace", r.Namespace), zap.Any("panic", p), zap.Stack("stack"))
			answer = &response{UID: r.UID, Allowed: true, Warnings: []string{injector.Name + ": not injected: a fault of the injector, see its log"}}
		}
	}()
	result := injector.Inject(r.Object, w.Defaults, asked)
	for _, text := range result.Warnings {
		answer.Warnings = append(answer.Warnings, injector.Name+": "+text)
	}
	if result.Patch != nil {
		answer.PatchType = "JSONPatch"
		answer.Patch, _ = json.Marshal(result.Patch)
		w.Metrics.admissions.WithLabelValues("injected", "").Inc()
		return answer
	}
	w.Metrics.admissions.WithLabelValues("skipped", string(result.Reason)).Inc()
	if !result.Reason.Silent() {
		answer.Warnings = append(answer.Warnings, injector.Name+": not injected: "+result.Text)
		if !r.DryRun {
			w.Events.NotInjected(r.Namespace, r.Object, string(result.Reason), result.Text)
		}
		w.Log.Warn("a pod that asked for the sidecar does not get it", zap.String("namespace", r.Namespace),
			zap.String("pod", nameOf(r.Object)), zap.String("reason", string(result.Reason)), zap.String("text", result.Text))
	}
	return answer
}

// Metrics are the injector's.
type Metrics struct {
	admissions         *prometheus.CounterVec
	seconds            prometheus.Histogram
	eventsDropped      prometheus.Counter
	certificateExpires prometheus.Gauge
	certificateErrors  prometheus.Counter
	without            *prometheus.GaugeVec
}

// NewMetrics registers them.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		admissions: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "injector_admissions_total",
			Help: "Pods that the API server asked about: injected, or skipped for a reason."}, []string{"result", "reason"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "injector_admission_seconds",
			Help: "How long an answer took.", Buckets: []float64{.0005, .001, .002, .005, .01, .02, .05, .1, 1}}),
		eventsDropped: prometheus.NewCounter(prometheus.CounterOpts{Name: "injector_events_dropped_total",
			Help: "Events that could not be written."}),
		certificateExpires: prometheus.NewGauge(prometheus.GaugeOpts{Name: "injector_certificate_expires_timestamp_seconds",
			Help: "When the certificate ends that the webhook shows."}),
		certificateErrors: prometheus.NewCounter(prometheus.CounterOpts{Name: "injector_certificate_errors_total",
			Help: "Attempts to look after the certificate that failed."}),
		without: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "injector_pods_without_sidecar",
			Help: "Pods that ask for the sidecar by a label, of their own or of their namespace, and do not have it."}, []string{"namespace"}),
	}
	r.MustRegister(m.admissions, m.seconds, m.eventsDropped, m.certificateExpires, m.certificateErrors, m.without)
	for _, result := range []string{"injected", "skipped"} {
		m.admissions.WithLabelValues(result, "")
	}
	return m
}
