package lql

import (
	"cmp"
	"strings"

	"cloud.google.com/go/logging/apiv2/loggingpb"
)

type node interface {
	match(e *loggingpb.LogEntry) bool
}

type (
	and []node
	or  []node
	not struct{ node }
)

func (n and) match(e *loggingpb.LogEntry) bool {
	for _, part := range n {
		if !part.match(e) {
			return false
		}
	}
	return true
}

func (n or) match(e *loggingpb.LogEntry) bool {
	for _, part := range n {
		if part.match(e) {
			return true
		}
	}
	return false
}

func (n not) match(e *loggingpb.LogEntry) bool { return !n.node.match(e) }

type operator uint8

const (
	opEqual operator = iota
	opNotEqual
	opLess
	opLessEqual
	opGreater
	opGreaterEqual
	opHas
	opMatch
	opNoMatch
)

var operators = map[string]operator{
	"=": opEqual, "!=": opNotEqual, "<": opLess, "<=": opLessEqual, ">": opGreater, ">=": opGreaterEqual,
	":": opHas, "=~": opMatch, "!~": opNoMatch,
}

// comparison is FIELD OP VALUE. Where the field is missing it is false,
// whatever the operator; NOT in front of it is then true.
type comparison struct {
	path  path
	op    operator
	value value
}

func (c *comparison) match(e *loggingpb.LogEntry) bool {
	found := false
	c.path.each(e, func(d datum) bool {
		found = c.holds(d)
		return !found
	})
	return found
}

func (c *comparison) holds(d datum) bool {
	switch {
	case c.value.any:
		return !d.unset && d.kind != nullDatum
	case c.value.null || d.kind == nullDatum:
		return c.holdsNull(d)
	case d.kind == nodeDatum:
		return c.holdsBelow(d)
	}
	switch c.op {
	case opEqual:
		return c.compare(d) == 0
	case opNotEqual:
		return c.compare(d) != 0
	case opLess:
		return c.compare(d) < 0
	case opLessEqual:
		return c.compare(d) <= 0
	case opGreater:
		return c.compare(d) > 0
	case opGreaterEqual:
		return c.compare(d) >= 0
	case opHas:
		return c.has(d)
	case opMatch:
		return c.value.pattern.MatchString(d.shown())
	}
	return !c.value.pattern.MatchString(d.shown())
}

// holdsNull compares with JSON's null: it equals itself and nothing else.
func (c *comparison) holdsNull(d datum) bool {
	same := c.value.null && d.kind == nullDatum
	switch c.op {
	case opEqual, opHas:
		return same
	case opNotEqual:
		return !same
	}
	return false
}

// holdsBelow looks for text anywhere below a message, a map or an object;
// such a thing as a whole equals nothing.
func (c *comparison) holdsBelow(d datum) bool {
	found := false
	if c.op == opHas || c.op == opMatch {
		d.every(func(leaf datum) bool {
			found = c.holds(leaf)
			return !found
		})
	}
	return found
}

// compare orders a value of the entry against the query's.
func (c *comparison) compare(d datum) int {
	switch {
	case d.kind == instantDatum && !c.value.time.IsZero():
		return d.time.Compare(c.value.time)
	case d.kind == enumDatum || d.kind == spanDatum:
		return cmp.Compare(d.number, c.value.number)
	case d.kind == numberDatum && c.value.numeric:
		return cmp.Compare(d.number, c.value.number)
	}
	return strings.Compare(Fold(d.shown()), c.value.folded)
}

// has is the operator ":", a substring in text and equality elsewhere.
func (c *comparison) has(d datum) bool {
	if d.kind == textDatum {
		return strings.Contains(Fold(d.text), c.value.folded)
	}
	if c.path.shape == dynamic || c.path.shape == message {
		return strings.Contains(Fold(d.shown()), c.value.folded)
	}
	return c.compare(d) == 0
}

// global is a value without a field: it is looked for in all fields.
type global struct{ folded string }

func newGlobal(t token) node {
	if t.quoted() {
		return global{Fold(t.parts[0].text)}
	}
	return global{Fold(t.raw)}
}

func (g global) match(e *loggingpb.LogEntry) bool {
	found := false
	everyInMessage(e.ProtoReflect(), func(d datum) bool {
		found = strings.Contains(Fold(d.shown()), g.folded)
		return !found
	})
	return found
}
