package record

import (
	"encoding/json"
	"slices"
	"time"
)

// learned is what a file has shown of itself.
type learned struct {
	Seen     int // bytes read line by line, up to learnBytes
	Shapes   []shape
	Objects  int // JSON lines
	Mixed    int // records without a head beside those with one
	Indented int // traces that begin indented under their head, less those that begin flush
	Repeats  int // lines with a head of their own that went on with their writer's record
	Flush    int
	Offset   int // seconds east of UTC of stamps without a zone
	Votes    int
}

// shape counts the heads of one logger.
type shape struct {
	ID uint32
	N  int
}

const (
	maxShapes   = 64
	established = 8
)

func (m *learned) decode(b []byte) {
	if json.Unmarshal(b, m) != nil {
		*m = learned{}
	}
	m.Seen = max(0, min(m.Seen, learnBytes))
}

func (m *learned) encode() []byte {
	b, _ := json.Marshal(m) // cannot fail: no maps, no interfaces
	return b
}

func (m *learned) count(id uint32) int {
	i := slices.IndexFunc(m.Shapes, func(s shape) bool { return s.ID == id })
	if i < 0 {
		return 0
	}
	return m.Shapes[i].N
}

func (m *learned) most() int {
	n := 0
	for _, s := range m.Shapes {
		n = max(n, s.N)
	}
	return n
}

// see counts a head, up to where more of them say nothing new.
func (m *learned) see(h *head) {
	m.seeShape(h.shape)
	if h.form != 0 {
		m.seeShape(h.form)
	}
}

func (m *learned) seeShape(id uint32) {
	i := slices.IndexFunc(m.Shapes, func(s shape) bool { return s.ID == id })
	switch {
	case i >= 0 && m.Shapes[i].N < 100:
		m.Shapes[i].N++
	case i < 0 && len(m.Shapes) < maxShapes:
		m.Shapes = append(m.Shapes, shape{id, 1})
	}
}

// begins says whether a line with this head begins a record. A stamp alone may also stand in the text of one, where
// other heads are the rule in the file.
func (m *learned) begins(h *head) bool {
	if h.strong {
		return true
	}
	return m.most() < established || m.count(h.shape) >= established || h.form != 0 && m.count(h.form) >= established
}

func (m *learned) json() bool          { return m.Objects >= 3 }
func (m *learned) mixed() bool         { return m.Mixed >= 2 }
func (m *learned) indentsTraces() bool { return m.Indented >= 1 && m.Flush == 0 }

func (m *learned) traceUnder(flush bool) {
	if flush {
		m.Flush = min(m.Flush+1, 100)
	} else {
		m.Indented = min(m.Indented+1, 100)
	}
}

// zoneStep is the smallest step between zones.
const zoneStep = 15 * time.Minute

func (m *learned) zone(s *stamp, arrived time.Time) {
	if !s.zoned && !arrived.IsZero() {
		m.arrivedAt(s.time(arrived, 0), arrived)
	}
}

// arrivedAt learns the zone of stamps without one: what was just read was just written.
func (m *learned) arrivedAt(stamped, arrived time.Time) {
	behind := stamped.Sub(arrived)
	offset := behind.Round(zoneStep)
	if off := offset - behind; off < -2*time.Second || off > 20*time.Second || offset < -14*time.Hour || offset > 14*time.Hour {
		return
	}
	switch seconds := int(offset / time.Second); {
	case seconds == m.Offset:
		m.Votes = min(m.Votes+1, 20)
	case m.Votes > 1:
		m.Votes -= 2
	default:
		m.Offset, m.Votes = seconds, 1
	}
}
