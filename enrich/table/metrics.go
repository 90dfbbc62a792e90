package table

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	expired, evicted, missed, idsDropped, faults prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, t *Table) *metrics {
	auto := promauto.With(reg)
	counter := func(name, help string) prometheus.Counter {
		return auto.NewCounter(prometheus.CounterOpts{Name: "sidecar_table_" + name, Help: help})
	}
	auto.NewGaugeFunc(prometheus.GaugeOpts{Name: "sidecar_table_exchanges", Help: "Exchanges held."}, t.count)
	return &metrics{
		expired:    counter("exchanges_expired_total", "Exchanges let go because their time was over."),
		evicted:    counter("exchanges_evicted_total", "Exchanges let go for lack of room that nobody was likely to ask for."),
		missed:     counter("exchanges_missed_total", "Exchanges let go for lack of room while their records may still come: the table is too small."),
		idsDropped: counter("ids_dropped_total", "IDs of exchanges that did not fit."),
		faults:     counter("faults_total", "Times that the mapped file could not be read or written, and the table began anew in memory."),
	}
}

func (t *Table) count() float64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, l := range t.lists {
		n += l.n
	}
	return float64(n)
}
