package enrich

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// A sign is something that is seen at the proxy when a record is written.
type sign int

const (
	failsAtOnce sign = iota // an answer of 500 or above begins within 3 ms
	failsNow                // ... within 15 ms
	failures                // ... within 60 ms
	refuses                 // an answer of 400 to 499 begins within 15 ms
	present                 // an exchange is open
	nsigns
)

var signs = [nsigns]struct{}{}

// of says whether the exchange shows the sign at t.
func (s sign) of(x *Exchange, t time.Time) bool {
	switch s {
	case failsAtOnce:
		return x.Status >= 500 && within(x, t, 3*time.Millisecond)
	case failsNow:
		return x.Status >= 500 && within(x, t, 15*time.Millisecond)
	case failures:
		return x.Status >= 500 && within(x, t, 60*time.Millisecond)
	case refuses:
		return x.Status >= 400 && x.Status < 500 && within(x, t, 15*time.Millisecond)
	}
	return !x.Begin.After(t) && (x.End.IsZero() || !x.End.Add(slip).Before(t))
}

func within(x *Exchange, t time.Time, lead time.Duration) bool {
	d := x.Head.Sub(t)
	return !x.Head.IsZero() && d >= -2*slip && d <= lead && !x.Begin.After(t)
}

// Evidence is what was seen at the proxy whenever records of a kind were written. A kind is trusted to show a sign when it
// always did, so often that chance cannot explain it: how often chance would, the moments before each record tell.
type evidence struct {
	kinds, before map[string]*kind // two generations bound the memory
	control       [nsigns]struct{ seen, of float64 }
}

// A kind is one kind of record: of an exception, of a message, of a thread, of a file.
type kind struct {
	n, nobody int
	shown     [nsigns]int
	weight    [nsigns]float64 // how improbable it is, in nats, that chance showed it
}

const (
	maxKinds = 2000
	// surprise is the weight, in nats, that makes a kind trusted: chance would show it once in a thousand times.
	surprise = 7.0
	// wide is the weight and the number of records that make a whole class of kinds trusted.
	wide, wideRecords = 10.0, 6
)

func newEvidence() *evidence { return &evidence{kinds: map[string]*kind{}} }

func (e *evidence) kind(name string) *kind {
	if k := e.kinds[name]; k != nil {
		return k
	}
	if len(e.kinds) >= maxKinds {
		e.kinds, e.before = map[string]*kind{}, e.kinds
	}
	k := e.before[name]
	if k == nil {
		k = &kind{}
	}
	e.kinds[name] = k
	return k
}

// controls are the moments, before a record, at which chance is measured.
var controls = [...]time.Duration{130 * time.Millisecond, 210 * time.Millisecond, 290 * time.Millisecond, 370 * time.Millisecond}

// learn counts a record. certain is its exchange, where that is known.
func (e *evidence) learn(c *candidate, certain *Exchange, seen Exchanges) {
	o := c.observed
	e.measure(o.at, seen)
	names := c.kinds()
	for _, name := range names {
		k := e.kind(name)
		k.n++
		if certain == nil && len(o.open) == 0 {
			k.nobody++
		}
		for s := range nsigns {
			e.count(k, s, o, certain)
		}
	}
}

func (e *evidence) count(k *kind, s sign, o *observation, certain *Exchange) {
	if certain != nil {
		if s.of(certain, o.at) {
			k.shown[s]++
			if s != present {
				k.weight[s] += surprise / 2
			}
		}
		return
	}
	for _, x := range o.open {
		if s.of(x, o.at) {
			k.shown[s]++
			k.weight[s] -= math.Log(e.chance(s))
			return
		}
	}
}

func (e *evidence) chance(s sign) float64 {
	return max(0.02, (e.control[s].seen+0.5)/(e.control[s].of+1))
}

func (e *evidence) measure(t time.Time, seen Exchanges) {
	var found []Exchange
	last := len(controls) - 1
	seen.During(t.Add(-controls[last]-4*slip), t.Add(-controls[0]+60*time.Millisecond), func(x Exchange) bool {
		found = append(found, x)
		return len(found) < 512
	})
	for s := range nsigns {
		n := &e.control[s]
		for _, d := range controls {
			n.of++
			for i := range found {
				if s.of(&found[i], t.Add(-d)) {
					n.seen++
					break
				}
			}
		}
		if n.of > 4000 {
			n.of, n.seen = n.of/2, n.seen/2
		}
	}
}

// trusts says whether a record of this kind is known to come with the sign. The kind itself must never have come without;
// it need not have come often, where the whole class that it is of is known for it.
func (e *evidence) trusts(c *candidate, s sign) bool {
	names := c.kinds()
	if own := e.kind(names[0]); !own.always(s) {
		return false
	} else if own.weight[s] >= surprise && own.n >= 3 {
		return true
	}
	for _, name := range names[1:] {
		// Where others have an ID, one that has none may well be nobody's: that they came from requests proves nothing. But
		// the threads of a pool all do the same.
		if s == present && !strings.Contains(name, ofThreads) {
			continue
		}
		if k := e.kind(name); k.always(s) && k.weight[s] >= wide && k.n >= wideRecords {
			return true
		}
	}
	return false
}

// fails says whether it is certain that records of this kind come from exchanges that fail.
func (e *evidence) fails(c *candidate) bool {
	k := e.kind(c.kinds()[0])
	return k.n > 0 && k.shown[failures] == k.n
}

// leans says whether it is likely, though not proven, that records of this kind come with the sign.
func (e *evidence) leans(c *candidate, s sign) bool {
	k := e.kind(c.kinds()[0])
	return k.always(s) && k.weight[s] >= surprise/2
}

// always says that the sign was there each time. What ever came when nobody was there is a background job's.
func (k *kind) always(s sign) bool {
	return k.n-k.shown[s] <= k.n/100 && k.nobody <= k.n/100
}

const ofThreads = "\x02"

// kinds names the kind of the record, and then the classes that this kind is of, ever wider.
func (c *candidate) kinds() []string {
	if c.names != nil {
		return c.names
	}
	r := c.finding.Record
	message := template(r.Text)
	own := r.Kind
	if own == "" {
		own = message
	}
	head, _, _ := strings.Cut(message, ": ")
	if strings.HasSuffix(head, "Error") || strings.HasSuffix(head, "Exception") {
		head = "exception" // nothing but the exception itself was logged, whatever its type
	}
	path := c.source.file.Path
	c.names = []string{path + "\x00" + own + "\x00" + head + "\x00" + family(r.Thread)}
	c.names = append(c.names, path+"\x01"+family(r.Thread)+"\x00"+head)
	if r.Thread != "" {
		c.names = append(c.names, path+ofThreads+family(r.Thread))
	}
	c.names = append(c.names, path+"\x03"+r.Severity.String()+r.Format)
	if r.Fields != nil {
		c.names = append(c.names, path+"\x04"+memberNames(r.Fields))
	}
	return c.names
}

// memberNames are those of a JSON record's own object: each place in the code that logs has its own set.
func memberNames(object []byte) string {
	var members map[string]json.RawMessage
	if json.Unmarshal(object, &members) != nil {
		return ""
	}
	return strings.Join(slices.Sorted(maps.Keys(members)), " ")
}

// family is a thread's name without its number: all threads of a pool.
func family(thread string) string { return strings.TrimRight(thread, "0123456789") }

// template is a message's first line without what differs from one time to the next: words with digits, and what is quoted.
func template(text string) string {
	line, rest, _ := strings.Cut(text, "\n")
	if strings.TrimSpace(line) == "" {
		line, _, _ = strings.Cut(rest, "\n")
	}
	var kept []string
	for word := range strings.FieldsSeq(line[:min(len(line), 200)]) {
		if !strings.ContainsAny(word, "0123456789\"'`") {
			kept = append(kept, word)
		}
	}
	return strings.Join(kept, " ")
}
