package proxy

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openreplay/log-sidecar/session"
)

// The names of our own cookie. With the prefix no other host and no plain connection can plant it, but browsers take it by TLS
// alone.
const (
	plainCookie  = "openreplay-log-session"
	secureCookie = "__Host-" + plainCookie
)

// sharedFor is how long a second session in one browser is taken to be alive beside the one that came last.
const sharedFor = 30 * time.Minute

// An ownCookie is what the client brought: a token, and until when the browser may hold another session as well, as
// TOKEN~SECONDS.
type ownCookie struct {
	raw    string
	token  string
	id     uint64
	shared time.Time
}

// forget stands for a cookie that is taken back.
const forget = "-"

// takeOwnCookie takes our cookie out of the request, so that the app gets what it would get without it. odd says that it
// cannot be used.
func (p *Proxy) takeOwnCookie(r *http.Request) (own ownCookie, odd bool) {
	if !p.config.SessionCookie {
		return own, false
	}
	lines := r.Header["Cookie"]
	if !slices.ContainsFunc(lines, func(line string) bool { return strings.Contains(line, plainCookie) }) {
		return own, false
	}
	name := plainCookie
	if spokeTLS(r) {
		name = secureCookie
	}
	kept := lines[:0:0]
	for _, line := range lines {
		if !strings.Contains(line, plainCookie+"=") {
			kept = append(kept, line)
			continue
		}
		for pair := range strings.SplitSeq(line, ";") {
			if value, ok := strings.CutPrefix(strings.TrimSpace(pair), name+"="); ok {
				odd = odd || own.raw != "" && own.raw != value
				own.raw = value
			}
		}
		if line = without(line); line != "" {
			kept = append(kept, line)
		}
	}
	if len(kept) > 0 {
		r.Header["Cookie"] = kept
	} else {
		delete(r.Header, "Cookie")
	}
	if odd {
		return ownCookie{raw: own.raw}, true
	}
	return own, !own.parse(time.Now()) && own.raw != ""
}

// without takes our cookies out of a line, with the separator that they brought.
func without(line string) string {
	var b strings.Builder
	for pair := range strings.SplitSeq(line, ";") {
		bare := strings.TrimSpace(pair)
		if strings.HasPrefix(bare, plainCookie+"=") || strings.HasPrefix(bare, secureCookie+"=") {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(';')
		} else {
			pair = strings.TrimLeft(pair, " ")
		}
		b.WriteString(pair)
	}
	return b.String()
}

// parse reads the value. ok says that it is a session's that is not over.
func (c *ownCookie) parse(now time.Time) (ok bool) {
	token, until, _ := strings.Cut(c.raw, "~")
	id, ok := session.ParseID(token)
	if end := session.Expiry(token); !ok || len(token) > session.MaxToken || !visible(token) || !now.Before(end) {
		return false
	}
	if seconds, err := strconv.ParseInt(until, 36, 64); err == nil {
		c.shared = time.Unix(min(seconds, now.Add(sharedFor).Unix()), 0)
	}
	c.token, c.id = token, uint64(id)
	return true
}

// aloneAt says whether no other session of the browser is alive.
func (c *ownCookie) aloneAt(now time.Time) bool { return !now.Before(c.shared) }

// renewed gives the value that the browser should have now that a request came with the header; "" where it has it. Only a
// token that says when it ends is given away.
func (c *ownCookie) renewed(token string, id uint64, now time.Time) string {
	end := session.Expiry(token)
	if !now.Before(end) || strings.ContainsAny(token, "~;,\\\"") {
		return ""
	}
	shared := c.shared
	if c.token != "" && c.id != id { // another tab's, or what it was before
		if until := now.Add(sharedFor); until.After(shared) {
			shared = until
		}
		if other := session.Expiry(c.token); other.Before(shared) {
			shared = other
		}
	}
	value := token
	if shared.After(now) {
		value += "~" + strconv.FormatInt(shared.Unix(), 36)
	}
	if value == c.raw {
		return ""
	}
	return value
}

// mayGive says whether no cache will hand the answer's cookie to anybody else: it is private, or sets a cookie already. A
// 304 stands for an answer that may be anybody's.
func mayGive(resp *http.Response) bool {
	if resp.StatusCode == http.StatusNotModified || resp.StatusCode < 200 {
		return false
	}
	control := resp.Header["Cache-Control"]
	return len(resp.Header["Set-Cookie"]) > 0 || hasToken(control, "private") || hasToken(control, "no-store")
}

func ownCookieLine(value string, tls bool) string {
	name, end := plainCookie, "; Path=/; HttpOnly; SameSite=Lax"
	if tls {
		name, end = secureCookie, "; Path=/; Secure; HttpOnly; SameSite=Lax"
	}
	if value == forget {
		value, end = "", "; Max-Age=0"+end
	}
	return name + "=" + value + end
}
