package enrich

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/openreplay/log-sidecar/enrich/record"
)

// Evidence is what was learned of records, by their kind: from which routes they come, how these exchanges end, how long
// before or after the answer they are written, and how often they are nobody's. What a kind has not shown yet is taken
// from the wider classes that it is of.
type evidence struct {
	kinds, kindsBefore   map[string]*kind // two generations bound the memory
	groups, groupsBefore map[string]*group
	templates            map[string][]*template
	traffic              traffic
}

const (
	maxKinds = 1000
	// maxSeen is how many records of a kind are kept.
	maxSeen = 32
)

func newEvidence() *evidence {
	return &evidence{kinds: map[string]*kind{}, groups: map[string]*group{}, templates: map[string][]*template{}}
}

// remembered gives what is kept under a name, or a new one.
func remembered[T any](now, before *map[string]*T, name string) *T {
	if v := (*now)[name]; v != nil {
		return v
	}
	if len(*now) >= maxKinds {
		*now, *before = map[string]*T{}, *now
	}
	v := (*before)[name]
	if v == nil {
		v = new(T)
	}
	(*now)[name] = v
	return v
}

// A kind is one kind of record: of an exception, of a message, of a thread, of a file. It keeps the latest ones, and shares
// them out anew when there is more to go by.
type kind struct {
	seen     []*sighting
	groups   []*group
	changed  bool
	fitted   time.Time
	added    int // sightings so far
	trial    trial
	underway trial // the next one
}

// A sighting is a record shared out: to each exchange, and to nobody, the likelihood that it is theirs.
type sighting struct {
	at     time.Time
	early  float64 // by how many milliseconds earlier it may have been
	parts  []part
	rate   float64 // how many exchanges were answered in a millisecond then
	nobody float64
	sure   bool // whose it is was certain
	shared bool // it was shared out at least once
}

type part struct {
	to      exchangeName
	route   string
	class   class
	lead    float64 // in milliseconds, from the record to the answer; where that is not known exactly, in the middle
	ofRoute float64 // the share of all exchanges
	chance  float64 // how many such exchanges in a millisecond chance brings
	other   bool    // the record names another request
	weight  float64
}

type exchangeName struct {
	ref   uint64
	begin int64
}

// A group is a class of kinds. Its counts are of sightings.
type group struct {
	n       float64 // that were somebody's
	sure    float64 // of these, the ones where that was certain
	nobody  float64
	classes [nclasses]float64
	leads   [nleads]float64
	whole   bool // all of a file
	taken   takenList
	doubled float64 // by how much exchanges have more than one
}

// again is how likely it is that an exchange that has a record of the group has another.
func (g *group) again() float64 { return min(1, (g.doubled+1)/(g.n+4)) }

// A takenList says how many records of a group the latest exchanges have.
type takenList struct {
	weights map[exchangeName]float64
	order   []exchangeName
}

const maxTaken = 512

func (t *takenList) weight(x exchangeName) float64 { return t.weights[x] }

// add counts, and says by how much more there are of those that are not the first.
func (t *takenList) add(x exchangeName, w float64) (more float64) {
	before, known := t.weights[x]
	if !known {
		if w < 0.003 {
			return 0
		}
		if t.weights == nil {
			t.weights = map[exchangeName]float64{}
		}
		if t.order = append(t.order, x); len(t.order) > maxTaken {
			delete(t.weights, t.order[0])
			t.order = t.order[1:]
		}
	}
	after := max(0, before+w)
	t.weights[x] = after
	return max(0, after-1) - max(0, before-1)
}

// count adds a sighting to what is known of a group, or takes it back.
func (g *group) count(s *sighting, sign float64) {
	if !s.sure {
		g.nobody = max(0, g.nobody+sign*s.nobody)
	}
	for i := range s.parts {
		p := &s.parts[i]
		w := sign * p.weight
		g.n = max(0, g.n+w)
		if s.sure {
			g.sure = max(0, g.sure+w)
		}
		g.classes[p.class] = max(0, g.classes[p.class]+w)
		l := leadOf(p.lead)
		g.leads[l] = max(0, g.leads[l]+w)
		if g.whole {
			g.doubled = max(0, g.doubled+g.taken.add(p.to, w))
		}
	}
	if g.n+g.nobody > manySightings {
		g.fade()
	}
}

// manySightings is from how many on older ones count less.
const manySightings = 400

func (g *group) fade() {
	g.n, g.sure, g.nobody, g.doubled = g.n/2, g.sure/2, g.nobody/2, g.doubled/2
	for i := range g.classes {
		g.classes[i] /= 2
	}
	for i := range g.leads {
		g.leads[i] /= 2
	}
}

// add keeps a sighting.
func (k *kind) add(s *sighting) {
	if len(k.seen) >= maxSeen {
		k.seen = slices.Delete(k.seen, 0, 1) // what its groups know of it stays
	}
	k.seen = append(k.seen, s)
	k.added++
	k.changed = true
}

// kindNames names the kind of the record, and then the groups that this kind is of, ever wider.
func (e *evidence) kindNames(c *candidate) []string {
	r := c.finding.Record
	path := c.source.file.Path
	message := e.templateOf(path, r)
	own := r.Kind
	if own == "" {
		own = message
	}
	head, _, _ := strings.Cut(message, ": ")
	if strings.HasSuffix(head, "Error") || strings.HasSuffix(head, "Exception") {
		head = "exception" // nothing but the exception itself was logged, whatever its type
	}
	kind := path + "\x00" + own + "\x00" + head + "\x00" + family(r.Thread)
	names := []string{kind + "\x00" + r.Site, kind, path + "\x01" + family(r.Thread) + "\x00" + head}
	if r.Thread != "" {
		names = append(names, path+"\x02"+family(r.Thread))
	}
	if r.Fields != nil {
		names = append(names, path+"\x04"+memberNames(r.Fields))
	}
	return append(names, path+"\x03"+r.Severity.String()+r.Format, path)
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

// A template is what messages have in common that the same line of code writes.
type template struct {
	words []string // "" where one has digits or quotes
	name  string
}

const maxTemplates = 300

// templateOf gives the name of the template that a record's first line is of.
func (e *evidence) templateOf(path string, r *record.Record) string {
	line, rest, _ := strings.Cut(r.Text, "\n")
	if strings.TrimSpace(line) == "" {
		line, _, _ = strings.Cut(rest, "\n")
	}
	words := strings.Fields(line[:min(len(line), 200)])
	for i, w := range words {
		if strings.ContainsAny(w, "0123456789\"'`") {
			words[i] = ""
		}
	}
	known := e.templates[path]
	for _, t := range known {
		if t.takes(words) {
			return t.name
		}
	}
	if len(known) >= maxTemplates {
		known = nil
	}
	t := &template{words, strings.Join(strings.Fields(strings.Join(words, " ")), " ")}
	e.templates[path] = append(known, t)
	return t.name
}

// takes says whether a line is of the template: as many words, and most of them the same.
func (t *template) takes(words []string) bool {
	if len(words) != len(t.words) {
		return false
	}
	same, of := 0, 0
	for i, w := range words {
		if t.words[i] == "" && w == "" {
			continue
		}
		if of++; t.words[i] == w {
			same++
		}
	}
	return 5*same >= 3*of
}

// kindOf gives the kind that the record is of.
func (e *evidence) kindOf(c *candidate) *kind {
	if c.kind == nil {
		names := e.kindNames(c)
		c.kind = remembered(&e.kinds, &e.kindsBefore, names[0])
		if c.kind.groups == nil {
			for _, name := range names[1:] {
				c.kind.groups = append(c.kind.groups, remembered(&e.groups, &e.groupsBefore, name))
			}
			c.kind.groups[len(c.kind.groups)-1].whole = true
		}
	}
	return c.kind
}
