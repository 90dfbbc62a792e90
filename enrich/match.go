package enrich

// Why a record belongs to no session, as metrics name it.
const (
	noID      = "no_id"      // no word of the record is an ID of an exchange that is held
	noSession = "no_session" // its request had none
	ambiguous = "ambiguous"  // its words name exchanges of different sessions
)

// match looks for the exchange that a word of the record names. It fills in the finding, or gives the reason why not. An
// ID that several sessions sent proves nothing: a wrong user is worse than none.
func (j *Joiner) match(f *Finding) (reason string) {
	var best *Exchange
	var by string
	clash := false
	for word := range f.Record.Words {
		j.config.Exchanges.ByID(word, func(x Exchange) bool {
			switch {
			case best == nil || best.Session == "":
				best, by = &x, way(word, &x)
			case x.Session != "" && x.Session != best.Session:
				clash = true
			case x.Begin.After(best.Begin):
				best = &x
			}
			return !clash
		})
	}
	switch {
	case clash:
		f.Exchange, f.By = nil, ""
		return ambiguous
	case best == nil:
		return noID
	}
	f.Exchange, f.By = best, by
	if best.Session == "" {
		return noSession
	}
	return ""
}

// way names how the word ties the record to the exchange.
func way(word string, x *Exchange) string {
	if word == x.ID {
		return "requestId"
	}
	return "responseId"
}
