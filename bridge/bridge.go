// Package bridge answers OpenReplay's searches for a session's backend logs, as Elasticsearch would, out of Cloud Logging.
package bridge

import (
	"context"
	"encoding/base64"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/time/rate"
)

// Config says what a Bridge works with. All fields but Settle and Quota are required.
type Config struct {
	Keys  *Keys
	Cloud Cloud

	// Settle is how old a session's last entry must be before its entries are shown. OpenReplay keeps the first answer that
	// has hits for ever, so a session that still goes on would stay cut off there. 0: show at once.
	Settle time.Duration

	// Quota is how many calls a minute Cloud Logging may get for one project. 0: no bound.
	Quota int

	Log        *zap.Logger
	Registerer prometheus.Registerer
}

// answerTime is the longest that a search waits for its turn and for its entries.
const answerTime = readTime + patience

// maxOpen is how many requests are worked on at a time.
const maxOpen = 512

// A Bridge is the handler of all that OpenReplay asks.
type Bridge struct {
	keys     *Keys
	settle   time.Duration
	log      *zap.Logger
	metrics  *metrics
	sessions *sessions
	stop     context.CancelFunc
	open     chan struct{}
	denied   rate.Sometimes
}

// New gives a bridge. Whoever made it closes it.
func New(c Config) *Bridge {
	ctx, stop := context.WithCancel(context.Background())
	m := newMetrics(c.Registerer)
	return &Bridge{
		keys: c.Keys, settle: c.Settle, log: c.Log, metrics: m, stop: stop,
		sessions: newSessions(ctx, &reader{c.Cloud, c.Log, m}, c.Settle, c.Quota),
		open:     make(chan struct{}, maxOpen),
		denied:   rate.Sometimes{First: 10, Interval: 10 * time.Second},
	}
}

// Close ends the reads that are under way and waits for them. It comes after the server's Shutdown.
func (b *Bridge) Close() {
	b.stop()
	b.sessions.running.Wait()
}

// ServeHTTP answers a request. Nothing is said to anybody without a key.
func (b *Bridge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case b.open <- struct{}{}:
		defer func() { <-b.open }()
	default:
		b.refuse(w, r, "busy", &failure{status: http.StatusTooManyRequests, kind: "es_rejected_execution_exception",
			reason: "the bridge has too many requests open; ask again", retryAfter: time.Second})
		return
	}
	k := b.authenticate(r)
	if k == nil {
		b.denied.Do(func() { b.log.Warn("a request had no valid key", zap.String("client", r.RemoteAddr)) })
		b.refuse(w, r, "key", &failure{status: http.StatusUnauthorized, kind: "security_exception",
			reason: "the API key is missing or not valid; Authorization must be: ApiKey base64(ID:key)"})
		return
	}
	if !k.pace.Allow() {
		b.refuse(w, r, "rate", &failure{status: http.StatusTooManyRequests, kind: "es_rejected_execution_exception",
			reason: "this key asks too often", retryAfter: time.Second})
		return
	}
	b.route(w, r, k)
}

func (b *Bridge) refuse(w http.ResponseWriter, r *http.Request, reason string, f *failure) {
	b.metrics.refused.WithLabelValues(reason).Inc()
	writeFailure(w, r, f)
}

// authenticate reads "ApiKey base64(ID:key)".
func (b *Bridge) authenticate(r *http.Request) *key {
	scheme, credentials, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	plain, err := base64.StdEncoding.DecodeString(strings.TrimSpace(credentials))
	if err != nil || !strings.EqualFold(scheme, "ApiKey") {
		return nil
	}
	id, secret, _ := strings.Cut(string(plain), ":")
	return b.keys.find(id, secret)
}

func (b *Bridge) route(w http.ResponseWriter, r *http.Request, k *key) {
	read := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case read && r.URL.Path == "/":
		write(w, r, http.StatusOK, newInfo())
	case r.URL.Path == "/"+index+"/_search" && (r.Method == http.MethodGet || r.Method == http.MethodPost):
		b.search(w, r, k)
	default:
		b.refuse(w, r, "unsupported", &failure{status: http.StatusNotImplemented, kind: "unsupported_operation_exception",
			reason: "this is a bridge to Cloud Logging; it supports GET / and searches of the index [" + index + "] for a session, and nothing else"})
	}
}

// search answers, and leaves one line in the log of who asked for whom, without text.
func (b *Bridge) search(w http.ResponseWriter, r *http.Request, k *key) {
	begin := time.Now()
	q, err := readSearch(r)
	var o outcome
	if err == nil {
		o, err = b.answer(r.Context(), q, k)
	}
	took := time.Since(begin)
	if err != nil {
		o = outcome{name: failureName(err)}
		b.fail(w, r, q, err)
	} else {
		o.result.Took = took.Milliseconds()
		write(w, r, http.StatusOK, o.result)
	}
	b.metrics.searches.WithLabelValues(o.name).Inc()
	b.metrics.searchSeconds.Observe(took.Seconds())
	b.log.Info("search", zap.String("key", k.id), zap.Stringer("session", q.session), zap.String("outcome", o.name),
		zap.Int("entries", o.entries), zap.Int("leftOut", o.leftOut), zap.Duration("took", took))
}

// outcome is what a search came to.
type outcome struct {
	name             string
	entries, leftOut int
	result           *result
}

func (b *Bridge) answer(ctx context.Context, q search, k *key) (outcome, error) {
	if q.session == 0 {
		h := []hit{validation()}[:min(q.size, 1)]
		return outcome{name: "validation", result: found(values(h), 1, false)}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	a, err := b.sessions.find(ctx, question{k.source, q.session})
	if err != nil {
		return outcome{}, err
	}
	if left := a.unsettled(b.settle); left > 0 {
		return outcome{name: "unsettled", result: failed(unsettled(left))}, nil
	}
	shown, out := a.first(q.size, q.session)
	name := "found"
	if a.total == 0 {
		name = "empty"
	}
	return outcome{name, min(len(shown), a.total-out), out, found(values(shown), a.total, a.atLeast)}, nil
}

func values(hits []hit) []jsontext.Value {
	all := make([]jsontext.Value, len(hits))
	for i, h := range hits {
		all[i] = h.json
	}
	return all
}

// unsettled is not an error of the server, so it is no error to the client: it is an answer without hits, which OpenReplay
// does not keep, and which says why.
func unsettled(left time.Duration) *failure {
	return &failure{kind: "session_not_settled_exception",
		reason: "entries of this session arrived a moment ago and more may come; OpenReplay keeps the first answer for ever, so ask again in " +
			left.Round(time.Second).String()}
}

func failureName(err error) string {
	switch f := failureOf(err); {
	case f.status == http.StatusTooManyRequests:
		return "quota"
	case f.status < http.StatusInternalServerError:
		return "invalid"
	}
	return "error"
}

// fail answers with an error, but never one that ends OpenReplay's server.
func (b *Bridge) fail(w http.ResponseWriter, r *http.Request, q search, err error) {
	if q.session != 0 && endsByErrors(r.UserAgent()) {
		write(w, r, http.StatusOK, failed(failureOf(err)))
		return
	}
	writeFailure(w, r, failureOf(err))
}

// endsByErrors knows OpenReplay 1.21: its process exits where Elasticsearch answers with an error
// (backend/pkg/integrations/clients/elastic.go in its tag v1.21.0). It was built with this client's version, later ones
// with newer ones.
func endsByErrors(userAgent string) bool {
	return strings.HasPrefix(userAgent, "go-elasticsearch/8.13.")
}
