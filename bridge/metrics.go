package bridge

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"google.golang.org/grpc/codes"
)

type metrics struct {
	searches, refused, calls *prometheus.CounterVec
	shared                   prometheus.Counter
	searchSeconds            prometheus.Histogram
	callSeconds              prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) *metrics {
	auto := promauto.With(reg)
	vec := func(name, label, help string) *prometheus.CounterVec {
		return auto.NewCounterVec(prometheus.CounterOpts{Name: "bridge_" + name, Help: help}, []string{label})
	}
	seconds := func(name, help string) prometheus.Histogram {
		return auto.NewHistogram(prometheus.HistogramOpts{Name: "bridge_" + name, Help: help,
			Buckets: []float64{.005, .02, .05, .2, 1, 5, 20}})
	}
	return &metrics{
		searches:      vec("searches_total", "outcome", "Searches with a valid key, by what they came to."),
		refused:       vec("requests_refused_total", "reason", "Requests that were not looked at further, by reason."),
		calls:         vec("cloud_calls_total", "code", "Calls of Cloud Logging's list method, which count in its quota of reads, by their gRPC code."),
		shared:        auto.NewCounter(prometheus.CounterOpts{Name: "bridge_searches_shared_total", Help: "Searches that cost no call, because an equal one was on its way or answered a moment before."}),
		searchSeconds: seconds("search_seconds", "How long a search took."),
		callSeconds:   seconds("cloud_call_seconds", "How long a call of Cloud Logging took."),
	}
}

func (m *metrics) called(code codes.Code, took time.Duration) {
	m.calls.WithLabelValues(code.String()).Inc()
	m.callSeconds.Observe(took.Seconds())
}
