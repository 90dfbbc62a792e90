package enrich

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	bytes                     prometheus.Counter
	found, matched, unmatched *prometheus.CounterVec
	agreement                 *prometheus.CounterVec
	waiting                   prometheus.Gauge
	silent                    prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	auto := promauto.With(reg)
	vector := func(name, help, label string) *prometheus.CounterVec {
		return auto.NewCounterVec(prometheus.CounterOpts{Name: "sidecar_enrich_" + name, Help: help}, []string{label})
	}
	return &metrics{
		agreement: auto.NewCounterVec(prometheus.CounterOpts{Name: "sidecar_enrich_agreement_total",
			Help: "Records of which the session was certain, by whether an inferred way would have found the same exchange."}, []string{"way", "agreed"}),
		silent: auto.NewCounter(prometheus.CounterOpts{Name: "sidecar_enrich_silent_failures_total",
			Help: "Exchanges of a session that were answered 500 or above and of which no record was found."}),
		waiting: auto.NewGauge(prometheus.GaugeOpts{Name: "sidecar_enrich_records_waiting",
			Help: "Records that were found and are not decided yet: found is matched and unmatched and these."}),
		bytes: auto.NewCounter(prometheus.CounterOpts{Name: "sidecar_enrich_bytes_total",
			Help: "Bytes of log files that were looked at."}),
		found:     vector("records_found_total", "Records at or above the wanted severity.", "severity"),
		matched:   vector("records_matched_total", "Records that were tied to a session, by the way it was found.", "way"),
		unmatched: vector("records_unmatched_total", "Records that were not tied to a session, by reason.", "reason"),
	}
}
