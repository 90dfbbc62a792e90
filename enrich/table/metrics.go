package table

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	expired, evicted, missed, idsDropped, faults prometheus.Counter
}

func newMetrics() *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "sidecar_table_" + name, Help: help})
	}
	return &metrics{
		expired:    counter("exchanges_expired_total", "Exchanges let go because their time was over."),
		evicted:    counter("exchanges_evicted_total", "Exchanges let go for lack of room that nobody was likely to ask for."),
		missed:     counter("exchanges_missed_total", "Exchanges let go for lack of room while their records may still come: the table is too small."),
		idsDropped: counter("ids_dropped_total", "IDs of exchanges that were too long or too many to be kept."),
		faults:     counter("faults_total", "Times that the mapped file could not be read or written, and the table began anew in memory."),
	}
}

// register is apart, so that a table that could not be opened leaves its names free for another.
func (m *metrics) register(reg prometheus.Registerer, t *Table) {
	if reg == nil {
		return
	}
	reg.MustRegister(m.expired, m.evicted, m.missed, m.idsDropped, m.faults,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "sidecar_table_exchanges", Help: "Exchanges held."}, t.count))
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
