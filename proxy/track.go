package proxy

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/openreplay/log-sidecar/session"
	"github.com/openreplay/log-sidecar/tracker"
)

// page is what the tracker has to do with an exchange.
type page struct {
	wanted bool     // the request is a navigation
	asked  []string // its If-None-Match, as it came
}

// serveOwn answers what is below the sidecar's own path, which is there only with the tracker or the relay.
func (p *Proxy) serveOwn(w http.ResponseWriter, r *http.Request, target string) bool {
	if p.config.Tracker == nil && p.ingest == nil || !strings.HasPrefix(target, tracker.Prefix) {
		return false
	}
	switch {
	case p.ingest != nil && strings.HasPrefix(target, tracker.IngestPath+"/"):
		status := &statusKeeper{ResponseWriter: w, status: http.StatusOK}
		p.ingest.ServeHTTP(status, r)
		p.metrics.relays.WithLabelValues(strconv.Itoa(status.status/100) + "xx").Inc()
	case p.config.Tracker != nil:
		p.config.Tracker.ServeScript(w, r)
	default:
		http.NotFound(w, r)
	}
	return true
}

// statusKeeper remembers an answer's status.
type statusKeeper struct {
	http.ResponseWriter
	status int
}

func (s *statusKeeper) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}

func (s *statusKeeper) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// relayed hears of a token that one of the tracker's calls brought or got, together with the app's cookies. The answer is
// to a POST of this one browser, so that it may set our cookie.
func (p *Proxy) relayed(r *http.Request, token string, answer http.Header) {
	id, ok := session.ParseID(token)
	if !ok || len(token) > session.MaxToken || !visible(token) {
		return
	}
	own, _ := p.takeOwnCookie(r)
	origin, _ := pageOf(r)
	cookies := r.Header["Cookie"]
	if p.memory != nil {
		p.memory.Teach(p.memory.Key(cookies, origin), cookies, token, uint64(id))
	}
	if p.config.SessionCookie && origin == "" && r.Method == http.MethodPost {
		if give := own.renewed(token, uint64(id), time.Now()); give != "" {
			answer["Set-Cookie"] = append(answer["Set-Cookie"], ownCookieLine(give, spokeTLS(r)))
		}
	}
}

// track puts the tracker's script into the answer where it belongs there.
func (x *exchange) track(resp *http.Response) {
	if !x.page.wanted {
		return
	}
	r := x.answer.request
	scheme := "http://"
	if spokeTLS(r) {
		scheme = "https://"
	}
	pages := x.proxy.metrics.pages
	what := x.proxy.config.Tracker.Page(resp, r, x.page.asked, scheme+r.Host, func(found bool) {
		if found {
			pages.WithLabelValues(tracker.Done).Inc()
		} else {
			pages.WithLabelValues(tracker.NoPlace).Inc()
		}
	})
	if what != "" && what != tracker.Done {
		pages.WithLabelValues(what).Inc()
	}
}
