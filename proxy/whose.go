package proxy

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/openreplay/log-sidecar/session"
)

// whose finds out whose request this is, from what is certain to what was learned, and says by which way. A header that cannot
// be read or contradicts itself ends the search: whatever else says who it is may be wrong as well.
func (p *Proxy) whose(x *exchange, r *http.Request) (by string) {
	h := r.Header
	x.Session, x.SessionID, by = p.sessions.read(h)
	own, doubted := p.takeOwnCookie(r)
	x.cookies = h["Cookie"]
	var outside bool
	x.origin, outside = pageOf(r)
	if p.memory != nil && by != byInvalid && by != byConflict {
		x.AppSession = p.memory.Key(x.cookies, x.origin)
	}
	switch by {
	case byHeader, bySessionID:
		if p.memory != nil {
			p.memory.Teach(x.AppSession, x.cookies, x.Session, x.SessionID)
		}
		if p.config.SessionCookie && x.origin == "" {
			x.give = own.renewed(x.Session, x.SessionID, x.Begin)
		}
	case byNone:
		by = p.withoutHeader(x, own, outside)
		if doubted = doubted || outside && own.token != ""; doubted {
			x.give = forget
		}
	}
	if x.Session != "" || x.SessionID != 0 {
		x.SessionBy = by
	}
	return by
}

// withoutHeader looks at the cookies. What was learned has a word in what our own cookie says: that of a browser with two tabs
// of two sessions, or of one whose tabs were all closed, is not to be believed.
func (p *Proxy) withoutHeader(x *exchange, own ownCookie, outside bool) (by string) {
	var learned ownCookie
	why := session.Unknown
	if p.memory != nil && x.AppSession != 0 {
		learned.token, learned.id, why = p.memory.Find(x.AppSession, x.Begin, outside)
	}
	switch {
	case why == session.Found && (own.token == "" || own.id == learned.id && own.id != 0 || own.token == learned.token):
		x.Session, x.SessionID = learned.token, learned.id
		if own.token != "" {
			return byCookie
		}
		return byLearned
	case (why == session.Unknown || why == session.Over) && own.token != "" && own.aloneAt(x.Begin) && !outside && x.origin == "":
		x.Session, x.SessionID = own.token, own.id
		return byCookie
	}
	return byNone
}

// tellBrowser has the memory hear of the cookies that the answer sets, and adds ours.
func (x *exchange) tellBrowser(resp *http.Response) {
	set := resp.Header["Set-Cookie"]
	if len(set) > 0 && x.proxy.memory != nil {
		token, id := x.Session, x.SessionID
		if x.SessionBy != byHeader && x.SessionBy != bySessionID {
			token, id = "", 0
		}
		x.proxy.memory.Replaced(x.AppSession, x.origin, x.cookies, set, token, id)
	}
	if x.give != "" && mayGive(resp) {
		resp.Header["Set-Cookie"] = append(set[:len(set):len(set)], ownCookieLine(x.give, spokeTLS(x.answer.request)))
	}
}

// pageOf gives the origin of the page that makes the request, "" for one of the app's own, and says whether the request opens a
// page from outside: the address bar, a bookmark, a link of another site.
func pageOf(r *http.Request) (origin string, outside bool) {
	h := r.Header
	switch h.Get("Sec-Fetch-Site") {
	case "same-origin":
		return "", false
	case "": // an old browser, or an address without TLS
		return guessPage(r)
	}
	if h.Get("Sec-Fetch-Mode") == "navigate" {
		return "", true
	}
	return foreign(h), false
}

func guessPage(r *http.Request) (origin string, outside bool) {
	origin = foreign(r.Header)
	switch {
	case origin == "":
		return "", r.Method == http.MethodGet && wantsPage(r.Header)
	case hostOf(origin) == r.Host, hostOf(origin) == r.Header.Get("X-Forwarded-Host"):
		return "", false
	case wantsPage(r.Header):
		return "", true
	}
	return origin, false
}

// wantsPage says whether the request is a navigation, as far as a browser tells by what it accepts: fetch and XHR accept anything.
func wantsPage(h http.Header) bool { return strings.HasPrefix(h.Get("Accept"), "text/html") }

// foreign is the origin that the request names, by Origin or Referer.
func foreign(h http.Header) string {
	if origin := h.Get("Origin"); origin != "" {
		return origin
	}
	referer := h.Get("Referer")
	if referer == "" {
		return ""
	}
	u, err := url.Parse(referer)
	if err != nil {
		return referer
	}
	return u.Scheme + "://" + u.Host
}

func hostOf(origin string) string {
	_, host, _ := strings.Cut(origin, "://")
	return host
}

// spokeTLS says whether the client came by TLS, to us or to the balancer before us.
func spokeTLS(r *http.Request) bool {
	first, _, _ := strings.Cut(r.Header.Get("X-Forwarded-Proto"), ",")
	return r.TLS != nil || strings.EqualFold(strings.TrimSpace(first), "https")
}
