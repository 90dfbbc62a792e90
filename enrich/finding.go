package enrich

import (
	"github.com/openreplay/log-sidecar/enrich/record"
	"github.com/openreplay/log-sidecar/enrich/tail"
)

// A Finding is an error that is to be delivered: a record, with the exchange that it belongs to where that is known.
type Finding struct {
	Record *record.Record
	File   *tail.File
	// Hold keeps the record's bytes undecided. Whoever takes the finding releases it: once the record is sealed where a
	// crash cannot reach it, acknowledged, or counted as given up.
	Hold     *tail.Hold
	Exchange *Exchange // nil: none is known, and the record is delivered without a session
	By       string    // the way the two were matched: "requestId", ...
	Inferred bool      // evidence says so; otherwise something in the record can belong to this exchange alone
}
