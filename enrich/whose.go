package enrich

import "time"

// Sessions are what is learned of whose requests are that carry no header.
type Sessions interface {
	// Again looks once more for the session of a request that had none when it came at begin, by the keyed hash of its
	// cookie. wait says that it may still become known.
	Again(appSession uint64, begin time.Time) (token string, id uint64, wait bool)
	// KeyOf gives the hash of the cookie with which the app's session id comes. given says that the app gave that cookie to one
	// browser, and to no other.
	KeyOf(id string) (appSession uint64, given bool)
	// Agrees says whether what is known by now still gives the request of the moment begin to that session.
	Agrees(appSession uint64, begin time.Time, token string, id uint64) bool
}

const (
	byLearned = "learned"
	// sessionLook is how often a record looks again for its exchange's session, and sessionWait for how long at most.
	sessionLook = 250 * time.Millisecond
	sessionWait = 11 * time.Second
)

// whose looks again for the session of an exchange, where the request's head did not tell it. wait says that time may tell.
func (j *Joiner) whose(x *Exchange, now time.Time) (wait bool) {
	known := j.config.Sessions
	if known == nil || x == nil || x.AppSession == 0 {
		return false
	}
	switch {
	case !x.HasSession():
		x.Session, x.SessionID, wait = known.Again(x.AppSession, x.Begin)
		if x.HasSession() {
			x.SessionBy = byLearned
		}
	case x.SessionBy == byLearned && !known.Agrees(x.AppSession, x.Begin, x.Session, x.SessionID):
		x.Session, x.SessionID, x.SessionBy = "", 0, ""
	}
	return wait && now.Sub(x.Begin) < sessionWait
}

// differ says whether two exchanges are of different users, or may turn out to be.
func differ(a, b *Exchange) bool {
	switch {
	case a.SessionID != 0 && b.SessionID != 0:
		return a.SessionID != b.SessionID
	case a.HasSession() && b.HasSession():
		return a.Session != b.Session
	}
	return a.AppSession != 0 && b.AppSession != 0 && a.AppSession != b.AppSession
}

// sameUser says whether two exchanges are of one user, or neither is of any.
func sameUser(a, b *Exchange) bool {
	return a.Session == b.Session && a.SessionID == b.SessionID && (a.HasSession() || a.AppSession == b.AppSession)
}
