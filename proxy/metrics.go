package proxy

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	exchanges [6]prometheus.Counter // by the first digit of the status; 0 where there was none
	ids       map[string]prometheus.Counter
	sessions  map[string]prometheus.Counter
	errors    *prometheus.CounterVec
	refused   *prometheus.CounterVec
	resent    prometheus.Counter
	// clientLost counts connections to the app that were to be made from the client's address
	clientLost  *prometheus.CounterVec
	addressLost prometheus.Counter
	panics      prometheus.Counter
	tunnels     prometheus.Gauge
	pages       *prometheus.CounterVec
	relays      *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	auto := promauto.With(reg)
	counter := func(name, help string) prometheus.Counter {
		return auto.NewCounter(prometheus.CounterOpts{Name: "sidecar_proxy_" + name, Help: help})
	}
	vector := func(name, help, label string) *prometheus.CounterVec {
		return auto.NewCounterVec(prometheus.CounterOpts{Name: "sidecar_proxy_" + name, Help: help}, []string{label})
	}
	values := func(v *prometheus.CounterVec, names ...string) map[string]prometheus.Counter {
		m := map[string]prometheus.Counter{}
		for _, name := range names {
			m[name] = v.WithLabelValues(name)
		}
		return m
	}
	m := &metrics{
		ids: values(vector("request_ids_total", "Request IDs, by where they are from.", "origin"), kept, made, replaced),
		sessions: values(vector("sessions_total", "How the session of a request was found, or why not.", "by"),
			byHeader, bySessionID, byCookie, byLearned, byNone, byInvalid, byConflict),
		errors:      vector("errors_total", "Answers that the app did not give or not to their end, by reason.", "reason"),
		refused:     vector("refused_total", "Requests that were not handed on, by reason.", "reason"),
		resent:      counter("resent_total", "Requests sent again because the app closed before a byte was written."),
		clientLost:  vector("client_address_lost_total", "Connections to the app that could not be made from the client's address, by reason.", "reason"),
		addressLost: counter("connection_address_lost_total", "Connections to the app that could not be made from an address of their own."),
		panics:      counter("observer_panics_total", "Reports lost to a failure behind the proxy."),
		tunnels:     auto.NewGauge(prometheus.GaugeOpts{Name: "sidecar_proxy_tunnels", Help: "Open WebSockets and other upgraded connections."}),
	}
	m.pages = vector("tracker_pages_total", "Pages that were to have the tracker's script, by what came of it.", "result")
	m.relays = vector("tracker_calls_total", "The tracker's calls that were relayed to OpenReplay, by the first digit of the status.", "class")
	exchanges := vector("exchanges_total", "Requests handed on, by the first digit of the status.", "class")
	for i, class := range []string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"} {
		m.exchanges[i] = exchanges.WithLabelValues(class)
	}
	return m
}

func (m *metrics) done(x *exchange) {
	class := x.Status / 100
	if class >= len(m.exchanges) {
		class = 0
	}
	m.exchanges[class].Inc()
}

func (m *metrics) failed(reason string) { m.errors.WithLabelValues(reason).Inc() }
