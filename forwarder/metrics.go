package forwarder

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	sealed, sent, acknowledged, late, again, unsent, journalErrors prometheus.Counter
	retries, dead                                                  *prometheus.CounterVec
	sendSeconds                                                    prometheus.Histogram
	oldest                                                         atomic.Int64 // Unix nanoseconds of the batch on its way, or 0
}

func newMetrics(reg prometheus.Registerer, waiting func() int) *metrics {
	auto := promauto.With(reg)
	counter := func(name, help string) prometheus.Counter {
		return auto.NewCounter(prometheus.CounterOpts{Name: "sidecar_forwarder_" + name, Help: help})
	}
	m := &metrics{
		sealed:        counter("entries_sealed_total", "Entries whose bytes were fixed."),
		sent:          counter("entries_sent_total", "Entries that were handed to the sink, each time that they were."),
		late:          counter("entries_late_total", "Entries that arrived more than 2 s after their timestamp: OpenReplay's reader may have passed them."),
		acknowledged:  counter("entries_acknowledged_total", "Entries that have arrived."),
		again:         counter("records_sealed_before_total", "Records that were read again after a restart and had been sealed before it."),
		unsent:        counter("entries_unsent_total", "Entries that had not arrived when the sidecar had to end, and were written to standard output."),
		journalErrors: counter("journal_errors_total", "Times that the journal did not take a batch."),
		retries: auto.NewCounterVec(prometheus.CounterOpts{Name: "sidecar_forwarder_retries_total",
			Help: "Tries that did not get an answer that is final, by code."}, []string{"code"}),
		dead: auto.NewCounterVec(prometheus.CounterOpts{Name: "sidecar_forwarder_entries_dead_total",
			Help: "Entries that can never arrive, by reason."}, []string{"reason"}),
		sendSeconds: auto.NewHistogram(prometheus.HistogramOpts{Name: "sidecar_forwarder_send_seconds",
			Help: "How long one try took.", Buckets: []float64{.001, .005, .02, .1, .5, 2, 10}}),
	}
	auto.NewGaugeFunc(prometheus.GaugeOpts{Name: "sidecar_forwarder_records_waiting",
		Help: "Records that were found and are not sealed."}, func() float64 { return float64(waiting()) })
	auto.NewGaugeFunc(prometheus.GaugeOpts{Name: "sidecar_forwarder_oldest_unacknowledged_seconds",
		Help: "How long the batch on its way has been sealed; 0 where none is."}, m.oldestAge)
	return m
}

func (m *metrics) sending(sealed time.Time) {
	if sealed.IsZero() {
		m.oldest.Store(0)
		return
	}
	m.oldest.Store(sealed.UnixNano())
}

func (m *metrics) oldestAge() float64 {
	sealed := m.oldest.Load()
	if sealed == 0 {
		return 0
	}
	return time.Since(time.Unix(0, sealed)).Seconds()
}
