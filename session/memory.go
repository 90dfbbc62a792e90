package session

import (
	"crypto/rand"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/openreplay/log-sidecar/internal/mapped"
)

const (
	// idle is how long after its last sign a session counts as alive, if its token does not end before: OpenReplay's tracker
	// itself begins anew in a page that was frozen for so long.
	idle = 30 * time.Minute
	// Patience is how long after a request its session may become known: a page's first calls are made before the tracker
	// has started, and carry no header.
	Patience = 10 * time.Second
	// settling is how long a session that has become known is watched before an earlier request is given to it: in a second
	// tab another one may just be starting.
	settling = 3 * time.Second
	// warm is how long a session is still taken for that of a page which was entered from outside, and showed no other.
	warm = time.Minute
)

// DefaultSize is room for some 16,000 browsers.
const DefaultSize = 4 << 20

const (
	minSize = 256 << 10
	maxSize = 1 << 30
)

// Config is what a Memory needs.
type Config struct {
	// Path is the file that is mapped, "" for memory that ends with the process.
	Path string
	// Size bounds the memory, in bytes. 0: DefaultSize.
	Size int64
	// Key keys the hashes of cookies. It must stay the same for as long as the file does, and be the same for all that share
	// what they learn; made anew where it is empty.
	Key []byte
	// Shared is told what is learned here, and asked what others have learned; nil where nobody shares.
	Shared     Shared
	Now        func() time.Time      // nil: time.Now
	Registerer prometheus.Registerer // nil: nobody reads the metrics
}

// A Shared passes on what several sidecars learn. Its methods are called in a request's way, and wait for nothing.
type Shared interface {
	// Tell passes on that a header came with the value.
	Tell(key uint64, n News)
	// Ask has Memory.Heard called some time later with what others know of the value, or never.
	Ask(key uint64)
}

// News is what one sidecar knows of one session on one value of a cookie.
type News struct {
	Token  string
	Number uint64
	Seen   time.Time // when the header last came with it
	Since  time.Time // when it first did
	Doubt  time.Time // when the browser last came in from outside; the rest is zero then
}

// A Memory learns which session the values of the app's own cookies belong to. Its methods may be called from any goroutine,
// and wait for nothing but each other, for about a microsecond.
type Memory struct {
	// SetAside says in a sentence which file could not be trusted, why, and where it is now; "" where that did not happen.
	SetAside string
	// Held is how many values a file of an earlier life brought.
	Held int

	hash    hasher
	shared  Shared
	now     func() time.Time
	metrics *metrics

	mu     sync.Mutex
	closed bool
	memory *mapped.Memory
	names  names
	// believed says that there are names which were unknown and count: most apps have none
	believed atomic.Bool
}

var fileKind = mapped.Kind{Magic: "ORSSESS1", What: "the sessions' memory", Path: "--sessions", Size: "--sessions-size"}

// Open opens or makes the memory. A file that is damaged or not ours is renamed, see Memory.SetAside.
func Open(c Config) (*Memory, error) {
	if c.Size == 0 {
		c.Size = DefaultSize
	}
	if c.Size < minSize || c.Size > maxSize {
		return nil, fmt.Errorf("a memory of %d bytes for sessions: choose between %d KiB and %d MiB", c.Size, minSize>>10, maxSize>>20)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if len(c.Key) == 0 {
		c.Key = make([]byte, 32)
		rand.Read(c.Key)
	}
	m := &Memory{hash: hasher{c.Key}, shared: c.Shared, now: c.Now, metrics: newMetrics()}
	size := int(c.Size) / (ways * slotSize) * (ways * slotSize)
	var used bool
	var err error
	if m.memory, used, err = mapped.Open(fileKind, c.Path, size); err != nil {
		return nil, err
	}
	m.SetAside = m.memory.SetAside
	m.names = names{m}
	if used {
		m.locked(func() {
			m.Held = m.count(m.now().UnixNano())
			m.believed.Store(m.names.any())
		})
		m.memory.Rest()
	}
	m.metrics.register(c.Registerer)
	return m, nil
}

// Close lets go of the file. Calls that come later do nothing and find nothing.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil
	}
	m.closed = true
	return m.memory.Close()
}

// locked runs f alone. A fault of the file costs what was learned, never the request.
func (m *Memory) locked(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || m.memory.Guard(f) {
		return
	}
	m.metrics.faults.Inc()
	size := len(m.memory.Bytes)
	m.memory.Close()
	var err error
	if m.memory, _, err = mapped.Open(fileKind, "", size); err != nil {
		m.closed = true
	}
}

// Why a value gives no session, as metrics name it.
const (
	Found     = ""
	Unknown   = "unknown"   // no header came with it yet
	Over      = "over"      // its session has ended, or was not seen for long
	Contested = "contested" // another session may be alive on it: two tabs
	Doubtful  = "doubtful"  // its browser came in from outside: that page may have begun a new session
	Alike     = "alike"     // more than one browser has it
)

// Key gives the hash of the request's most telling cookie; 0 where it has none. page is the origin of the page that makes the
// request where that is not the app's own, else "": such a page has a session of its own, under the same cookie.
func (m *Memory) Key(lines []string, page string) uint64 {
	if len(lines) == 0 {
		return 0
	}
	name, value := best(lines)
	if name == "" && m.believed.Load() {
		m.locked(func() { name, value = m.names.trusted(lines) })
	}
	if name == "" {
		return 0
	}
	return m.keyOf(name, value, page)
}

// keyOf hashes what the app itself calls the session, which is what its logs have of it.
func (m *Memory) keyOf(name, value, page string) uint64 { return m.hash.of(ownID(name, value), page) }

// KeyOf gives the key of the app's session with this ID, as the app's log may name it. given says that the app was seen to give
// it to one browser, and to no other.
func (m *Memory) KeyOf(id string) (key uint64, given bool) {
	key = m.hash.of(id, "")
	m.locked(func() { given = m.givenOnce(key) })
	return key, given
}

// best is the cookie whose name stands first among the well-known ones.
func best(lines []string) (name, value string) {
	at := unknown
	for n, v := range pairs(lines) {
		if r := rank(n); r < at && identifies(v) {
			name, value, at = n, v, r
		}
	}
	return name, value
}

// Teach notes that a request came with the value and the session's header. Where there is no key, the cookies are looked
// through for names that could be one.
func (m *Memory) Teach(key uint64, lines []string, token string, number uint64) {
	o := ownerOf(token, number)
	if len(token) > maxText {
		m.metrics.tooLong.Inc()
		return
	}
	now := m.now().UnixNano()
	var tell bool
	m.locked(func() {
		if key == 0 {
			m.names.study(lines, o.mark, now)
			return
		}
		tell = m.teach(key, o, now)
	})
	if tell && m.shared != nil {
		at := time.Unix(0, now)
		m.shared.Tell(key, News{Token: token, Number: number, Seen: at, Since: at})
	}
}

// tellAfter is how old what others were told of a session may become.
const tellAfter = time.Minute

func (m *Memory) teach(key uint64, o owner, now int64) (tell bool) {
	at, s := m.slot(key, now)
	tell = s.mark != o.mark || now-s.told > int64(tellAfter)
	if s.doubt != 0 && (!s.has(flagSession) || s.mark != o.mark) { // it began when the browser came in from outside: before, there was another
		s.contested = max(s.contested, s.doubt)
	}
	m.own(&s, o, now, now)
	s.doubt, s.touched = 0, now
	s.flag &^= flagReplaced
	if tell {
		s.told = now
	}
	s.encode(at)
	return tell
}

// own makes o the session of s, which since and seen tell of. One that is alive still, and not the same, may be that of
// another tab.
func (m *Memory) own(s *slot, o owner, since, seen int64) {
	switch {
	case !s.has(flagSession):
		s.owner, s.since, s.seen = o, since, seen
		m.metrics.learned.Inc()
	case s.mark == o.mark:
		s.since = min(s.since, since)
		if seen >= s.seen {
			s.seen, s.owner = seen, o
		}
	case seen >= s.seen:
		if until := s.alive(); until > since {
			s.contested = max(s.contested, until)
			m.metrics.contested.Inc()
		} else if since-s.seen < int64(warm) { // its page may have asked until the other one began
			s.contested = max(s.contested, since)
		}
		s.owner, s.since, s.seen = o, since, seen
	default: // news of an older one
		if other := (&slot{owner: o, seen: seen}).alive(); other > s.since {
			s.contested = max(s.contested, other)
		}
	}
	s.flag |= flagSession
}

func ownerOf(token string, number uint64) owner {
	o := owner{mark: number, number: number, token: token}
	if number == 0 {
		o.mark = hasher{}.of(token)
	}
	if t := Expiry(token); !t.IsZero() {
		o.expires = t.UnixNano()
	}
	return o
}

// Find gives the session of a request that came at begin with the value, or why there is none. outside says that the request
// opens a page from the address bar, a bookmark or another site: if all tabs were closed before, that page's tracker begins a
// new session, while the cookie is still the old one. Until a header has come again, nothing is known of the value.
func (m *Memory) Find(key uint64, begin time.Time, outside bool) (token string, number uint64, why string) {
	if key == 0 {
		return "", 0, Unknown
	}
	now := begin.UnixNano()
	var ask, tell bool
	m.locked(func() {
		at := m.held(key)
		if at == nil && outside { // to be remembered
			at, _ = m.slot(key, now)
			(&slot{key: key, touched: now}).encode(at)
		}
		if at == nil {
			why, ask = Unknown, true
			return
		}
		s := decode(at)
		tell = outside && s.has(flagSession)
		if outside {
			s.doubt = now
		}
		if why = s.at(now); why == Found && s.doubt != 0 {
			why = Doubtful
		}
		if why == Found {
			token, number = s.token, s.number
		}
		if ask = now-s.asked > int64(askAfter); ask || outside || now-s.touched > int64(time.Second) {
			if ask {
				s.asked = now
			}
			s.touched = now
			s.encode(at)
		}
	})
	m.share(key, ask, tell, begin)
	m.metrics.looked[why].Inc()
	return token, number, why
}

// askAfter is how old what others have said of a value may become.
const askAfter = 5 * time.Second

func (m *Memory) share(key uint64, ask, doubt bool, begin time.Time) {
	if m.shared == nil {
		return
	}
	if doubt {
		m.shared.Tell(key, News{Doubt: begin})
	}
	if ask {
		m.shared.Ask(key)
	}
}

// at says why the slot gives no session to a request of the moment t, doubt aside.
func (s *slot) at(t int64) (why string) {
	switch {
	case s.has(flagShared):
		return Alike
	case !s.has(flagSession):
		return Unknown
	case t < s.contested:
		return Contested
	case t >= s.alive():
		return Over
	}
	return Found
}

// Again looks once more for the session of a request that had none when it came at begin. wait says that time may tell.
func (m *Memory) Again(key uint64, begin time.Time) (token string, number uint64, wait bool) {
	if key == 0 {
		return "", 0, false
	}
	now, t := m.now(), begin.UnixNano()
	patient := now.Sub(begin) < Patience
	m.locked(func() {
		wait = patient
		s := decode(m.held(key))
		switch why := s.at(t); {
		case why == Unknown:
		case why != Found:
			wait = false
		case s.seen >= t: // a header has come since
			if s.since-t > int64(Patience) {
				wait = false
			} else if now.Sub(begin) >= settling {
				token, number, wait = s.token, s.number, false
			}
		case s.doubt == 0: // others knew it
			token, number, wait = s.token, s.number, false
		case s.doubt == t && !patient && t-s.seen <= int64(warm): // the page itself, and no other session came of it
			token, number = s.token, s.number
		}
	})
	if token != "" || number != 0 {
		m.metrics.later.Inc()
	}
	return token, number, wait
}

// Agrees says whether what is known by now still gives the request of the moment begin to the session it was given to: not
// where another one began on the value at about that time.
func (m *Memory) Agrees(key uint64, begin time.Time, token string, number uint64) (agrees bool) {
	agrees = true
	m.locked(func() {
		s := decode(m.held(key))
		if s.has(flagShared) || s.has(flagSession) && s.mark != ownerOf(token, number).mark && s.since-begin.UnixNano() <= int64(settling) {
			agrees = false
			m.metrics.revoked.Inc()
		}
	})
	return agrees
}

// Replaced notes the cookies that an answer sets. Log-in and log-out give a browser's session a new value, and some apps do
// with every answer: what was known of the old value goes over to the new one. key and page are the request's, and lines are
// its cookies; token and number are its session, where it had the header.
func (m *Memory) Replaced(key uint64, page string, lines, set []string, token string, number uint64) {
	now := m.now()
	for name, value := range given(set, now) {
		r := rank(name)
		if !identifies(value) || r == unknown && !random(value) || carries(lines, name, value) {
			continue
		}
		m.locked(func() {
			if r == unknown && (key != 0 || !m.names.known(name)) && !m.names.trusts(name) {
				return
			}
			m.replaced(key, m.keyOf(name, value, page), name, r == unknown, token, number, now.UnixNano())
		})
	}
}

func (m *Memory) replaced(key, fresh uint64, name string, studied bool, token string, number uint64, now int64) {
	at, s := m.slot(fresh, now)
	if s.has(flagGiven) { // twice: whoever gets the same value as another has nothing of his own
		s.flag |= flagShared
		if studied {
			m.names.refuse(name, now)
		}
	}
	s.flag |= flagGiven
	s.touched = now
	if old := m.held(key); old != nil {
		o := decode(old)
		if o.has(flagSession) {
			m.handOn(&s, &o)
			o.flag |= flagReplaced
			o.encode(old)
		}
		s.flag |= o.flag & flagShared
	} else if (token != "" || number != 0) && len(token) <= maxText {
		m.own(&s, ownerOf(token, number), now, now)
	}
	s.encode(at)
}

// handOn gives s what is known of o.
func (m *Memory) handOn(s, o *slot) {
	if !s.has(flagSession) {
		m.metrics.handedOn.Inc()
		s.owner, s.since, s.seen = o.owner, o.since, o.seen
		s.contested, s.doubt = o.contested, o.doubt
		s.flag |= flagSession
		return
	}
	m.own(s, o.owner, o.since, o.seen)
	s.contested = max(s.contested, o.contested)
}

func carries(lines []string, name, value string) bool {
	for n, v := range pairs(lines) {
		if n == name && v == value {
			return true
		}
	}
	return false
}

// remembered is how long after its end a session is still known: a record of an error may wait for its request's.
const remembered = 5 * time.Minute

// Forget wipes the tokens and numbers of sessions that are over. Whoever opens a memory calls it from time to time.
func (m *Memory) Forget() {
	now := m.now().UnixNano()
	const some = 64 * ways * slotSize // are looked at before others may use the memory
	for at, more := firstBucket*ways*slotSize, true; more; {
		more = false // where the memory is closed
		m.locked(func() {
			b := m.memory.Bytes[at:min(at+some, len(m.memory.Bytes))]
			at += len(b)
			more = at < len(m.memory.Bytes)
			for ; len(b) >= slotSize; b = b[slotSize:] {
				s := decode(b[:slotSize])
				if s.has(flagSession) && now-s.alive() > int64(remembered) {
					s.owner, s.since, s.seen, s.contested, s.told = owner{}, 0, 0, 0, 0
					s.flag &^= flagSession
					s.encode(b)
				}
			}
			if !more {
				m.memory.Rest()
			}
		})
	}
}

// Heard takes in what another sidecar knows.
func (m *Memory) Heard(key uint64, all []News) {
	now := m.now().UnixNano()
	m.locked(func() {
		at, s := m.slot(key, now)
		s.asked = now
		for _, n := range all {
			seen, doubt := nanos(n.Seen), nanos(n.Doubt)
			switch {
			case doubt > s.seen:
				s.doubt = max(s.doubt, doubt)
			case seen == 0 || len(n.Token) > maxText:
			default:
				m.own(&s, ownerOf(n.Token, n.Number), nanos(n.Since), seen)
				if s.seen > s.doubt {
					s.doubt = 0
				}
			}
		}
		s.encode(at)
	})
}

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// bucket gives the slots in which a value may stand.
func (m *Memory) bucket(key uint64) []byte {
	first := firstBucket * ways * slotSize
	n := uint64(len(m.memory.Bytes)-first) / (ways * slotSize)
	return m.memory.Bytes[first+int(key%n)*ways*slotSize:][:ways*slotSize]
}

// held gives the slot of a value; nil where it is not known.
func (m *Memory) held(key uint64) []byte {
	if key == 0 {
		return nil
	}
	b := m.bucket(key)
	for ; len(b) > 0; b = b[slotSize:] {
		if le.Uint64(b[8:]) == key {
			return b[:slotSize]
		}
	}
	return nil
}

// slot gives the slot of a value, with what it holds. Where the value is new, another one has to go.
func (m *Memory) slot(key uint64, now int64) ([]byte, slot) {
	if at := m.held(key); at != nil {
		if s := decode(at); s.key != 0 {
			return at, s
		}
		return at, slot{key: key}
	}
	b := m.bucket(key)
	var least []byte
	var loser slot
	for ; len(b) > 0; b = b[slotSize:] {
		if s := decode(b[:slotSize]); least == nil || s.worth(now) < loser.worth(now) {
			least, loser = b[:slotSize], s
		}
	}
	if loser.worth(now) > replacedClass {
		m.metrics.evicted.Inc()
	}
	return least, slot{key: key}
}

// count gives how many values have a session that is alive.
func (m *Memory) count(now int64) (n int) {
	for b := m.memory.Bytes[firstBucket*ways*slotSize:]; len(b) >= slotSize; b = b[slotSize:] {
		if s := decode(b[:slotSize]); s.has(flagSession) && now < s.alive() {
			n++
		}
	}
	return n
}
