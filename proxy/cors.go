package proxy

import (
	"net/http"
	"strings"
)

// preflight is a browser's question whether a page of another origin may send certain headers. The app does not know
// those that carry the session, and would refuse the page's whole call because of them. So it is not asked about them,
// and where it allows the rest, they are allowed with it.
type preflight struct {
	origin string
	names  []string // those that the app was not asked about, as the browser spelt them
}

// newPreflight takes the session's headers out of the question. It is nil where there is nothing to take out.
func newPreflight(r *http.Request, s sessionHeaders) *preflight {
	asked := r.Header["Access-Control-Request-Headers"]
	origin := r.Header.Get("Origin")
	if r.Method != http.MethodOptions || len(asked) == 0 || origin == "" {
		return nil
	}
	var ours, rest []string
	for name := range strings.SplitSeq(strings.Join(asked, ","), ",") {
		if name = strings.TrimSpace(name); s.carries(name) {
			ours = append(ours, name)
		} else if name != "" {
			rest = append(rest, name)
		}
	}
	if len(ours) == 0 {
		return nil
	}
	if delete(r.Header, "Access-Control-Request-Headers"); len(rest) > 0 {
		r.Header["Access-Control-Request-Headers"] = []string{strings.Join(rest, ",")}
	}
	return &preflight{origin, ours}
}

func (s sessionHeaders) carries(name string) bool {
	name = http.CanonicalHeaderKey(name)
	for _, known := range s.names {
		if name == known {
			return true
		}
	}
	return name == sessionIDHeader
}

// allow adds the session's headers to a positive answer for this origin. A refusal stays one, and so does a wildcard:
// it allows them already, or, with credentials, stands for no header at all.
func (p *preflight) allow(resp *http.Response) {
	if p == nil || resp.StatusCode < 200 || resp.StatusCode > 299 {
		return
	}
	h := resp.Header
	if origin := h["Access-Control-Allow-Origin"]; len(origin) != 1 || origin[0] != "*" && origin[0] != p.origin {
		return
	}
	allowed := h["Access-Control-Allow-Headers"]
	if hasToken(allowed, "*") {
		return
	}
	for _, name := range p.names {
		if !hasToken(allowed, name) {
			allowed = append(allowed[:len(allowed):len(allowed)], name)
		}
	}
	h["Access-Control-Allow-Headers"] = []string{strings.Join(allowed, ", ")}
}
