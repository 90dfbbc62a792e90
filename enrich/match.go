package enrich

import (
	"net/http"
	"net/netip"
	"time"

	"github.com/openreplay/log-sidecar/enrich/record"
)

// Why a record belongs to no session, as metrics name it.
const (
	noID       = "no_id"       // nothing in the record ties it to an exchange that is held
	noSession  = "no_session"  // its request had none
	ambiguous  = "ambiguous"   // it can belong to exchanges of different sessions
	folded     = "folded"      // the same error stands in another file, and was found there
	nobody     = "nobody"      // no exchange was open when it was written
	noEvidence = "no_evidence" // one was open, but nothing says that it wrote it
	blind      = "blind"       // it cannot be known who was there: evicted, or written long before it was read
)

// The ways by which records are matched, as the label matchedBy names them.
const (
	byRequestID    = "requestId"
	byTraceID      = "traceId"
	byToken        = "sessionToken"
	byResponseID   = "responseId"
	byConnection   = "connection"
	bySource       = "sourceAddress"
	byAppID        = "appId"
	byAppSession   = "appSession"
	byWorker       = "worker"
	byPath         = "path"
	byKind         = "kind"
	byTheExchange  = "exchange"
	readLate       = time.Second // how much the moment may be off at which bytes were read
	maxSharers     = 64          // exchanges of one ID that are looked at; what more share is no ID
	connectionSlip = 5 * time.Millisecond
	soon           = 2 * connectionSlip    // after its request's begin
	againSlip      = 50 * time.Millisecond // where both exchanges are of the request that the line names
)

// A match ties a record to an exchange, or says why it cannot.
type match struct {
	exchange *Exchange
	by       string
	inferred bool
	reason   string // "" where there is an exchange
	wait     bool   // an exchange that is still open may change it
	soon     bool   // the connection's exchange had just begun, and the file's records do not come so soon
}

func none(reason string) match { return match{reason: reason} }

func matched(x *Exchange, by string) match { return match{exchange: x, by: by} }

// exact looks for what can belong to one exchange alone.
func (j *Joiner) exact(s *source, r *record.Record) match {
	m := j.byWords(s, r)
	if m.exchange != nil && !m.ofUser() || m.reason == ambiguous {
		return m
	}
	if j.afterwards && r.Time.IsZero() {
		return m
	}
	fits := func(x *Exchange) bool {
		return (r.Status == 0 || x.Status == 0 || r.Status == x.Status) && (r.Method == "" || isOf(x, r.Method, r.Path, r.Query))
	}
	line := clue{at: s.written(r), late: s.endings.late(), slow: s.endings.slow(), slip: max(connectionSlip, s.spread(r)), fits: fits}
	if r.Method != "" && !fine(r.Time) {
		line.slip = max(againSlip, line.slip)
	}
	own := j.byClient(r, line)
	if m.exchange != nil && (own.exchange == nil || differ(own.exchange, m.exchange)) {
		return m
	}
	return own
}

// byWords looks for an ID among the record's words. An ID that several sessions sent proves nothing: a wrong user is
// worse than none.
func (j *Joiner) byWords(s *source, r *record.Record) match {
	best := none(noID)
	for word, named := range r.Words {
		m := none(noID)
		switch {
		case identity(word, named):
			m = j.byWord(s, r, word)
		case mayBeSession(word):
			m = j.byAppSession(s, r, word, true)
		}
		switch {
		case m.reason == ambiguous:
			return m
		case m.exchange == nil:
		case best.exchange == nil:
			best = m
		case differ(m.exchange, best.exchange):
			return none(ambiguous)
		case !best.exchange.HasSession() && !m.ofUser():
			best = m
		case best.ofUser() || !m.ofUser() && m.exchange.Begin.After(best.exchange.Begin):
			best = m
		}
	}
	return best
}

func (j *Joiner) byWord(s *source, r *record.Record, word string) match {
	var holders []Exchange
	gather := func(x Exchange) bool {
		holders = append(holders, x)
		return len(holders) < maxSharers
	}
	by := byToken
	if j.config.Exchanges.ByID(word, gather); len(holders) > 0 {
		by = ""
	} else if j.config.Exchanges.BySession(word, gather); len(holders) == 0 {
		return j.byAppSession(s, r, word, false)
	}
	x, clash := theOne(holders, r.Arrived)
	switch {
	case clash:
		return none(ambiguous)
	case x == nil || s.stood(word, earliest(holders).Add(-readLate)):
		return none(noID)
	case by == byToken:
		return matchedUser(x, r, by)
	}
	return matched(x, wayOf(word, x))
}

// byAppSession looks for the user whose app session the word is. Its cookie must have been given by the app, or, unless that is
// all that counts, not stand in the log before it came: a client can send any cookie.
func (j *Joiner) byAppSession(s *source, r *record.Record, word string, onlyGiven bool) match {
	if j.config.Sessions == nil {
		return none(noID)
	}
	key, given := j.config.Sessions.KeyOf(word)
	if onlyGiven && !given {
		return none(noID)
	}
	var holders []Exchange
	first := r.Arrived
	j.config.Exchanges.ByAppSession(key, func(x Exchange) bool {
		first = earlier(first, x.Begin)
		if r.Arrived.Sub(x.Begin) < sameVisit || x.End.IsZero() {
			holders = append(holders, x)
		}
		return len(holders) < maxSharers
	})
	x, clash := theOne(holders, r.Arrived)
	switch {
	case clash:
		return none(ambiguous)
	case x == nil || !given && s.stood(word, first.Add(-readLate)):
		return none(noID)
	}
	return matchedUser(x, r, byAppSession)
}

// sameVisit is how long after a request a record that names its app session is still taken for the same visit's.
const sameVisit = 10 * time.Minute

// matchedUser matches a record with a user. The request is x where that was under way or just over, and otherwise not known: an event
// stream is always under way.
func matchedUser(x *Exchange, r *record.Record, by string) match {
	if x.End.IsZero() && !x.Streams || !x.End.IsZero() && r.Arrived.Sub(x.End) < behind {
		return matched(x, by)
	}
	return matched(&Exchange{Session: x.Session, SessionID: x.SessionID, SessionBy: x.SessionBy, AppSession: x.AppSession, Begin: x.Begin, End: x.Begin}, by)
}

// ofUser says whether the user is certain, and the request need not be.
func (m match) ofUser() bool { return m.by == byToken || m.by == byAppSession }

// theOne gives the latest of the exchanges that had begun at t, one that was open then before all others. They clash where
// they are of different sessions.
func theOne(holders []Exchange, t time.Time) (best *Exchange, clash bool) {
	for i := range holders {
		x := &holders[i]
		switch {
		case x.Begin.After(t.Add(readLate)):
			continue
		case best == nil:
		case differ(x, best):
			return nil, true
		case openAt(best, t) != openAt(x, t):
			if openAt(best, t) {
				continue
			}
		case best.HasSession() && !x.HasSession():
			continue
		case best.HasSession() == x.HasSession() && !x.Begin.After(best.Begin):
			continue
		}
		best = x
	}
	return best, false
}

func openAt(x *Exchange, t time.Time) bool {
	return !x.Begin.After(t) && (x.End.IsZero() || !x.End.Before(t))
}

func earliest(list []Exchange) (t time.Time) {
	for _, x := range list {
		if t.IsZero() || x.Begin.Before(t) {
			t = x.Begin
		}
	}
	return t
}

// wayOf names how the word ties a record to the exchange.
func wayOf(word string, x *Exchange) string {
	switch {
	case sameID(word, x.ID):
		return byRequestID
	case (len(word) == 32 || len(word) == 16) && hexadecimal(word): // W3C Trace Context's trace-id and parent-id
		return byTraceID
	}
	return byResponseID
}

// servedBefore is how many of a connection's latest exchanges are looked at.
const servedBefore = 8

// A clue is what a line tells of its exchange beside the connection.
type clue struct {
	at   time.Time
	late bool          // lines of the file are written when their exchange is over
	slow bool          // lines of the file are not written soon after their exchange began
	slip time.Duration // how much before at it may have been written
	fits func(*Exchange) bool
}

// byClient is byPort, unless the record itself says that the exchange is another: the address is a connection's that is not ours.
// Where the app gives no answer, the proxy gives 502.
func (j *Joiner) byClient(r *record.Record, line clue) match {
	m := j.byPort(r.Client, line)
	if x := m.exchange; x != nil && r.Unanswered() && x.Status != http.StatusBadGateway && !x.End.IsZero() && line.at.Sub(x.End) > line.slip {
		return none(noID)
	}
	return m
}

// byPort looks for the exchange that had the connection then. The app's line is read a little later than it was written: where
// the next exchange had just taken the connection, it may be the one before. Where lines are written late, it is the one whose
// end is next to them; where they never come soon, not one that has just begun.
func (j *Joiner) byPort(client netip.AddrPort, line clue) match {
	t, fits := line.at, line.fits
	last := j.servedBy(client, t)
	if len(last) == 0 {
		return none(noID)
	}
	if !fits(&last[0]) { // bytes that were held up name a request that the connection served before
		for i, x := range last[1:] {
			if fits(&x) && t.Sub(x.End) < maxDelay {
				return onConnection(&last[i+1])
			}
		}
	}
	if line.late && len(last) > 1 && !sameUser(&last[0], &last[1]) {
		return byEnd(&last[0], &last[1], t)
	}
	if line.slow && len(last) > 1 && t.Sub(last[0].Begin) < soon && t.Sub(last[1].End) < 2*soon && fits(&last[1]) && !sameUser(&last[0], &last[1]) {
		if last[1].Status < 500 {
			return match{reason: ambiguous, soon: true}
		}
		return onConnection(&last[1])
	}
	switch {
	case len(last) == 1 || t.Sub(last[0].Begin) > line.slip || t.Sub(last[1].End) > 2*line.slip,
		line.slip > connectionSlip && t.Sub(last[0].Begin) > connectionSlip && !fits(&last[1]), sameUser(&last[0], &last[1]):
		return onConnection(&last[0])
	case last[0].End.IsZero() && last[0].Head.IsZero():
		return match{reason: ambiguous, wait: true}
	}
	return oneOf(&last[0], &last[1], fits)
}

// servedBy gives the latest exchanges of the connection that had begun at t. One that has an address of its own is known by
// that alone.
func (j *Joiner) servedBy(client netip.AddrPort, t time.Time) (last []Exchange) {
	take := func(x Exchange) bool {
		if !x.Begin.After(t) {
			last = append(last, x)
		}
		return len(last) < servedBefore
	}
	if client.Port() != 0 {
		j.config.Exchanges.ByUpstream(client, t, take)
	}
	if addr := client.Addr().Unmap(); len(last) == 0 && addr.IsLoopback() {
		j.config.Exchanges.ByUpstream(netip.AddrPortFrom(addr, 0), t, take)
	}
	return last
}

// onConnection names the way to the exchange that a connection served.
func onConnection(x *Exchange) match {
	if x.Upstream.Port() == 0 {
		return matched(x, bySource)
	}
	return matched(x, byConnection)
}

// ofConnection says whether the connection told.
func (m match) ofConnection() bool { return m.by == byConnection || m.by == bySource }

// byEnd takes the one of two whose end is much nearer to t.
func byEnd(a, b *Exchange, t time.Time) match {
	const much = 2
	if a.End.IsZero() {
		return match{reason: ambiguous, wait: true}
	}
	switch toA, toB := t.Sub(a.End).Abs(), t.Sub(b.End).Abs(); {
	case much*toA < toB:
		return onConnection(a)
	case much*toB < toA:
		return onConnection(b)
	}
	return none(ambiguous)
}

// oneOf decides between two that followed on each other: an error belongs to the one that failed.
func oneOf(a, b *Exchange, fits func(*Exchange) bool) match {
	switch {
	case fits(a) && !fits(b), a.Status >= 500 && b.Status < 500:
		return onConnection(a)
	case fits(b) && !fits(a), b.Status >= 500 && a.Status < 500:
		return onConnection(b)
	}
	return none(ambiguous)
}
