package lql

import (
	"strings"

	"cloud.google.com/go/logging/apiv2/loggingpb"
)

// search is SEARCH("words") over the whole entry, or SEARCH(FIELD, "words").
// All words must be there, as whole words, in any order and in any case; words
// between backticks must follow each other just so.
func (p *parser) search(args []token) (node, error) {
	switch len(args) {
	case 1:
		p.all = true
		return searcher{wanted: searchTerms(args[0].literal())}, nil
	case 2:
		where, err := p.path(args[0])
		return searcher{where: &where, wanted: searchTerms(args[1].literal())}, err
	}
	return nil, wantArguments("SEARCH", args, 2)
}

type searcher struct {
	where  *path
	wanted [][]string // each a run of words that follow each other
}

// searchTerms cuts a query into single words and the runs between backticks.
func searchTerms(query string) (terms [][]string) {
	for i, piece := range strings.Split(query, "`") {
		words := tokens(piece)
		if i%2 == 1 && len(words) > 0 {
			terms = append(terms, words)
			continue
		}
		for _, w := range words {
			terms = append(terms, []string{w})
		}
	}
	return terms
}

// tokens cuts text where Google's log analyzer does, at blanks and punctuation
// (https://cloud.google.com/bigquery/docs/reference/standard-sql/text-analysis).
func tokens(s string) []string {
	return strings.FieldsFunc(Fold(s), func(r rune) bool {
		return strings.ContainsRune(" \t\r\n[]<>(){}|!;,'\"*&?+/:=@.-$%\\_`", r)
	})
}

func (s searcher) match(e *loggingpb.LogEntry) bool {
	missing := append([][]string(nil), s.wanted...)
	look := func(d datum) bool {
		words := tokens(d.shown())
		kept := missing[:0]
		for _, run := range missing {
			if !containsRun(words, run) {
				kept = append(kept, run)
			}
		}
		missing = kept
		return len(missing) > 0
	}
	if s.where == nil {
		everyInMessage(e.ProtoReflect(), look)
	} else {
		s.where.each(e, func(d datum) bool { return d.every(look) })
	}
	return len(missing) == 0
}

func containsRun(words, run []string) bool {
	for i := 0; i+len(run) <= len(words); i++ {
		if equalWords(words[i:i+len(run)], run) {
			return true
		}
	}
	return false
}

func equalWords(a, b []string) bool {
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
