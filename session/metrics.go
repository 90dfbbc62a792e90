package session

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	learned, handedOn, contested, later, revoked, evicted, tooLong, faults prometheus.Counter

	lookups *prometheus.CounterVec
	looked  map[string]prometheus.Counter
}

func newMetrics() *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "sidecar_session_" + name, Help: help})
	}
	m := &metrics{
		lookups: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sidecar_session_lookups_total",
			Help: "Requests without the header that came with a cookie of the app's session, by what was known of it."}, []string{"known"}),
		looked:    map[string]prometheus.Counter{},
		learned:   counter("cookies_learned_total", "Values of the app's cookies of which a header told the session."),
		handedOn:  counter("cookies_replaced_total", "Values that the app put in the place of one whose session was known."),
		contested: counter("contested_total", "Times that a second session came with a value while the first may be alive: the value gives none then."),
		later:     counter("found_later_total", "Requests whose session became known after they were made."),
		revoked:   counter("revoked_total", "Times that a request was not given to the session it seemed to be of, since another began just then."),
		evicted:   counter("evicted_total", "Values that were let go for lack of room while their session was alive: --sessions-size is too small."),
		tooLong:   counter("tokens_too_long_total", "Tokens too long to be learned."),
		faults:    counter("faults_total", "Times that the mapped file could not be read or written, and learning began anew in memory."),
	}
	m.looked[Found] = m.lookups.WithLabelValues("found")
	for _, why := range []string{Unknown, Over, Contested, Doubtful, Alike} {
		m.looked[why] = m.lookups.WithLabelValues(why)
	}
	return m
}

// register is apart, so that a memory that could not be opened leaves its names free for another.
func (m *metrics) register(reg prometheus.Registerer) {
	if reg != nil {
		reg.MustRegister(m.learned, m.handedOn, m.contested, m.later, m.revoked, m.evicted, m.tooLong, m.faults, m.lookups)
	}
}
