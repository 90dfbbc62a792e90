package enrich

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// A Ledger counts errors by what became of them. Whoever reads its metrics finds at every moment: what was found has
// arrived, or was dropped under a reason, or waits. Its methods are safe from any goroutine, and do nothing on a nil Ledger.
type Ledger struct {
	mu             sync.Mutex
	found, dropped map[string]int
	arrived        int
	waiting        int
}

// Where errors come from.
const (
	FromRecord   = "record"   // a log file's
	FromExchange = "exchange" // an exchange that failed and logged nothing
	FromJournal  = "journal"  // sealed by an earlier life, and not acknowledged
)

// NewLedger gives an empty one whose metrics are reg's.
func NewLedger(reg prometheus.Registerer) *Ledger {
	l := &Ledger{found: map[string]int{FromRecord: 0, FromExchange: 0, FromJournal: 0}, dropped: map[string]int{}}
	reg.MustRegister(l)
	return l
}

// Found says that n more are to be dealt with.
func (l *Ledger) Found(from string, n int) {
	l.change(func() { l.found[from] += n; l.waiting += n })
}

// Arrived says that the sink has n of those that were found.
func (l *Ledger) Arrived(n int) {
	l.change(func() { l.arrived += n; l.waiting -= n })
}

// Dropped says that n of those that were found do not arrive, and why.
func (l *Ledger) Dropped(reason string, n int) {
	l.change(func() { l.dropped[reason] += n; l.waiting -= n })
}

func (l *Ledger) change(f func()) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}

var (
	foundDesc = prometheus.NewDesc("sidecar_errors_found_total",
		"Errors that were found, by where: at every moment they are those that have arrived, were dropped, and wait.", []string{"from"}, nil)
	arrivedDesc = prometheus.NewDesc("sidecar_errors_arrived_total", "Errors that the sink has acknowledged.", nil, nil)
	droppedDesc = prometheus.NewDesc("sidecar_errors_dropped_total", "Errors that do not arrive, by reason.", []string{"reason"}, nil)
	waitingDesc = prometheus.NewDesc("sidecar_errors_waiting", "Errors that were found and are neither there nor dropped.", nil, nil)
)

// Describe is prometheus.Collector's.
func (l *Ledger) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{foundDesc, arrivedDesc, droppedDesc, waitingDesc} {
		out <- d
	}
}

// Collect gives all of them as they were at one moment.
func (l *Ledger) Collect(out chan<- prometheus.Metric) {
	var all []prometheus.Metric
	add := func(d *prometheus.Desc, t prometheus.ValueType, n int, labels ...string) {
		all = append(all, prometheus.MustNewConstMetric(d, t, float64(n), labels...))
	}
	l.change(func() {
		for from, n := range l.found {
			add(foundDesc, prometheus.CounterValue, n, from)
		}
		for reason, n := range l.dropped {
			add(droppedDesc, prometheus.CounterValue, n, reason)
		}
		add(arrivedDesc, prometheus.CounterValue, l.arrived)
		add(waitingDesc, prometheus.GaugeValue, l.waiting)
	})
	for _, m := range all {
		out <- m
	}
}
