package enrich

import "github.com/openreplay/log-sidecar/enrich/record"

// A Finding is an error that is to be delivered: a record, with the exchange that it belongs to where that is known. Where By
// is "exchange" no file has the record: the exchange failed, and nothing was logged. Path is "" then, and Record stands for it.
type Finding struct {
	Record *record.Record
	File   string // the ID of the file's generation
	Path   string // as the glob matched it

	Exchange *Exchange // nil: none is known, and the record is delivered without a session
	By       string    // the way the two were matched: "requestId", ...
	Inferred bool      // evidence says so; otherwise something in the record can belong to this exchange alone

	// Also says where else the app wrote the same error.
	Also []Place
	// Repeats are the same error of the same session again, a moment later; they have no entry of their own.
	Repeats []*Finding
	// Late says that the exchange was given out as one that failed and logged nothing, before this record came.
	Late bool

	// Release says that the record's bytes are decided. Whoever takes the finding calls it: once the record is sealed where
	// a crash cannot reach it, acknowledged, or counted as given up.
	Release func()
}

// A Place is where a record's bytes stand.
type Place struct {
	Path           string // as the glob matched it
	Offset, Length int64
}
