// Package lql parses and evaluates the Cloud Logging query language.
//
// The language is described at
// https://cloud.google.com/logging/docs/view/logging-query-language.
// Where that page is silent, the choice made is said at the place.
package lql

import (
	"slices"
	"time"

	"cloud.google.com/go/logging/apiv2/loggingpb"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// maxLength is the longest filter the API takes, in characters.
const maxLength = 20_000

// Filter is a parsed query. It is safe for use by several goroutines.
type Filter struct {
	root   node
	fields []protoreflect.FieldNumber // what Match reads; nil: all
}

// Match reports whether the entry is wanted.
// The fields named by Fields are all that it looks at.
func (f *Filter) Match(e *loggingpb.LogEntry) bool {
	return f.root == nil || f.root.match(e)
}

// Fields lists the top-level fields that Match reads, so that a caller may
// decode those alone; all is true where the query looks into every field.
func (f *Filter) Fields() (numbers []protoreflect.FieldNumber, all bool) {
	return f.fields, f.fields == nil && f.root != nil
}

// LabelIn returns a label of which every match must carry one of some values, in
// lower case as Fold makes them; ok is false where the query demands none.
func (f *Filter) LabelIn() (key string, folded []string, ok bool) {
	for n := range f.demanded() {
		if key, folded, ok := labelIn(n); ok {
			return key, folded, true
		}
	}
	return "", nil, false
}

func labelIn(n node) (key string, folded []string, ok bool) {
	alternatives, some := n.(or)
	if !some {
		alternatives = or{n}
	}
	for _, n := range alternatives {
		c, is := n.(*comparison)
		if !is || c.op != opEqual || len(c.path.names) != 2 || c.path.top.Name() != "labels" || c.value.null ||
			len(folded) > 0 && c.path.names[1] != key {
			return "", nil, false
		}
		key, folded = c.path.names[1], append(folded, c.value.folded)
	}
	slices.Sort(folded)
	return key, slices.Compact(folded), true
}

// Bounds returns a span of time outside of which nothing matches, both ends
// inclusive; a zero time stands for no bound on that side.
func (f *Filter) Bounds() (from, to time.Time) {
	for n := range f.demanded() {
		c, ok := n.(*comparison)
		if !ok || len(c.path.names) != 1 || c.path.top.Name() != "timestamp" {
			continue
		}
		at := c.value.time
		if slices.Contains([]operator{opEqual, opGreater, opGreaterEqual}, c.op) && at.After(from) {
			from = at
		}
		if slices.Contains([]operator{opEqual, opLess, opLessEqual}, c.op) && (to.IsZero() || at.Before(to)) {
			to = at
		}
	}
	return from, to
}

// demanded yields the conditions that hold for every match.
func (f *Filter) demanded() func(yield func(node) bool) {
	return func(yield func(node) bool) { walkDemanded(f.root, yield) }
}

func walkDemanded(n node, yield func(node) bool) bool {
	parts, several := n.(and)
	if !several {
		return yield(n)
	}
	for _, part := range parts {
		if !walkDemanded(part, yield) {
			return false
		}
	}
	return true
}
