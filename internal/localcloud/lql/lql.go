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

// LabelEqual returns a label that every match must carry, with its value in
// lower case as Fold makes it; ok is false where the query demands none.
func (f *Filter) LabelEqual() (key, folded string, ok bool) {
	for c := range f.demanded() {
		if c.op == opEqual && len(c.path.names) == 2 && c.path.top.Name() == "labels" && !c.value.null {
			return c.path.names[1], c.value.folded, true
		}
	}
	return "", "", false
}

// Bounds returns a span of time outside of which nothing matches, both ends
// inclusive; a zero time stands for no bound on that side.
func (f *Filter) Bounds() (from, to time.Time) {
	for c := range f.demanded() {
		if len(c.path.names) != 1 || c.path.top.Name() != "timestamp" {
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

// demanded yields the comparisons that hold for every match.
func (f *Filter) demanded() func(yield func(*comparison) bool) {
	return func(yield func(*comparison) bool) { walkDemanded(f.root, yield) }
}

func walkDemanded(n node, yield func(*comparison) bool) bool {
	switch n := n.(type) {
	case *comparison:
		return yield(n)
	case and:
		for _, part := range n {
			if !walkDemanded(part, yield) {
				return false
			}
		}
	}
	return true
}
