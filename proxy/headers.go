package proxy

import (
	"net/http"
	"net/textproto"
	"strings"
)

// stripRequest takes out what is meant for the next hop alone: RFC 9110, 7.6.1. What Connection names goes too. The
// wish to change the protocol is renewed where the proxy goes along with it.
func stripRequest(h http.Header, upgrade string) {
	stripNamed(h)
	for _, name := range []string{"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "Proxy-Authenticate",
		"Upgrade", "Http2-Settings"} {
		delete(h, name)
	}
	if te, ok := h["Te"]; ok {
		delete(h, "Te")
		if hasToken(te, "trailers") {
			h["Te"] = []string{"trailers"}
		}
	}
	if upgrade != "" {
		h["Connection"], h["Upgrade"] = []string{"Upgrade"}, []string{upgrade}
	}
}

// stripAnswer does the same for an answer. 426 says by Upgrade what to change to; elsewhere it would be our promise.
func stripAnswer(h http.Header, status int) {
	stripNamed(h)
	for _, name := range []string{"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Transfer-Encoding", "Te"} {
		delete(h, name)
	}
	if status != http.StatusUpgradeRequired {
		delete(h, "Upgrade")
	}
}

func stripNamed(h http.Header) {
	for _, value := range h["Connection"] {
		for name := range strings.SplitSeq(value, ",") {
			// Upgrade and the like are dealt with by name; the length frames the message and is never a hop's matter.
			if name = textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name)); name != "" && name != "Upgrade" && name != "Te" &&
				name != "Content-Length" {
				delete(h, name)
			}
		}
	}
}

// upgradeOf is the protocol that the client wants to change to. HTTP/2 is not among them: a server may stay with HTTP/1.1
// (RFC 9110, 7.8), and behind such a change requests could not be told apart. Nor is it possible in the middle of an upload.
func upgradeOf(r *http.Request) string {
	if !hasToken(r.Header["Connection"], "upgrade") || r.ProtoMajor != 1 || !r.ProtoAtLeast(1, 1) || r.ContentLength != 0 {
		return ""
	}
	protocol := strings.Join(r.Header["Upgrade"], ", ")
	if hasToken(r.Header["Upgrade"], "h2c") || hasToken(r.Header["Upgrade"], "h2") {
		return ""
	}
	return protocol
}

// hasToken says whether a list header holds the word, in any case.
func hasToken(values []string, token string) bool {
	for _, value := range values {
		for word := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(strings.TrimSpace(word), token) {
				return true
			}
		}
	}
	return false
}

// keepAgent keeps the transport from writing its own User-Agent, and from writing one where several or an empty one came.
func keepAgent(h http.Header) {
	agent := h["User-Agent"]
	if len(agent) == 1 && agent[0] != "" {
		return
	}
	h["User-Agent"] = nil
	if len(agent) > 0 {
		h["User-agent"] = agent
	}
}

// appendForwardedFor joins to what came, in one line.
func appendForwardedFor(h http.Header, client string) {
	if before := h["X-Forwarded-For"]; len(before) > 0 {
		client = strings.Join(before, ", ") + ", " + client
	}
	h["X-Forwarded-For"] = []string{client}
}

func isGRPC(h http.Header) bool { return strings.HasPrefix(h.Get("Content-Type"), "application/grpc") }

// logsIn says whether the request's credentials are those of its connection: RFC 4559, section 6.
func logsIn(h http.Header) bool {
	for _, value := range h["Authorization"] {
		scheme, _, _ := strings.Cut(value, " ")
		if strings.EqualFold(scheme, "NTLM") || strings.EqualFold(scheme, "Negotiate") {
			return true
		}
	}
	return false
}
