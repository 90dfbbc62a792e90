package record

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// span is where a record stands and what it is.
type span struct {
	First, Last int64
	Severity    string
}

// severityLetters are how a case marks a record's first line; a full stop marks a line that goes on with the record.
var severityLetters = map[byte]Severity{
	'-': Default, 'D': Debug, 'I': Info, 'N': Notice, 'W': Warning, 'E': Error, 'C': Critical, 'A': Alert, 'M': Emergency,
}

// readCase reads a file of testdata/cases: the log, each line led by a mark and a blank.
func readCase(t *testing.T, path string) (log []byte, want []span) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n := int64(0)
	for text := range strings.Lines(string(b)) {
		text = strings.TrimSuffix(text, "\n")
		if text == "" {
			text = "."
		}
		rest := strings.TrimPrefix(text[1:], " ")
		switch sev, starts := severityLetters[text[0]]; {
		case starts:
			want = append(want, span{n, n, sev.String()})
		case text[0] == '.' && len(want) > 0: // blank lines too
			want[len(want)-1].Last = n
		default:
			t.Fatalf("%s: line %d has no mark: %q", path, n+1, text)
		}
		log = append(append(log, rest...), '\n')
		n++
	}
	return log, want
}

func spans(records []*Record) (all []span) {
	for _, r := range records {
		all = append(all, span{r.FirstLine, r.LastLine, r.Severity.String()})
	}
	slices.SortFunc(all, func(a, b span) int { return int(a.First - b.First) }) // writers that interleave end in another order
	return all
}

// atLeastError keeps what is to be sent.
func atLeastError(all []span) (errors []span) {
	for _, s := range all {
		if sev, _ := ParseSeverity(s.Severity); sev >= Error {
			errors = append(errors, s)
		}
	}
	return errors
}

// feedIn reads a log in blocks that end where ends says, and gives the records.
func feedIn(options Options, learned, log []byte, ends func(rest []byte) int) (records []*Record, s *Splitter) {
	s = New(options, learned)
	emit := func(r *Record) { records = append(records, r) }
	for at := 0; at < len(log); {
		n := ends(log[at:])
		s.Feed(int64(at), log[at:at+n], time.Time{}, emit)
		at += n
	}
	s.Flush(emit)
	return records, s
}

func whole(rest []byte) int      { return len(rest) }
func lineByLine(rest []byte) int { return bytes.IndexByte(rest, '\n') + 1 }

// seasoned is what a Splitter has learned that has read so much that it passes over blocks without a candidate.
func seasoned(s *Splitter) []byte {
	var m learned
	m.decode(s.Learned())
	m.Seen = learnBytes
	b, _ := json.Marshal(m)
	return b
}

func TestCases(t *testing.T) {
	paths, _ := filepath.Glob("testdata/cases/*.txt")
	if len(paths) == 0 {
		t.Fatal("no cases in testdata/cases")
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			log, want := readCase(t, path)
			records, s := feedIn(Options{All: true, Lines: true}, nil, log, whole)
			if diff := cmp.Diff(want, spans(records)); diff != "" {
				t.Fatalf("records (-want +got):\n%s\n%s", diff, log)
			}
			errors := atLeastError(want)
			for name, got := range map[string][]span{
				"line by line":       atLeastError(mustSpans(feedIn(Options{All: true, Lines: true}, nil, log, lineByLine))),
				"errors alone":       mustSpans(feedIn(Options{Min: Error, Lines: true}, nil, log, whole)),
				"in a long file":     mustSpans(feedIn(Options{Min: Error, Lines: true}, seasoned(s), log, whole)),
				"long, line by line": mustSpans(feedIn(Options{Min: Error, Lines: true}, seasoned(s), log, lineByLine)),
			} {
				if diff := cmp.Diff(errors, got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", name, diff)
				}
			}
			again(t, s, log, records)
		})
	}
}

func mustSpans(records []*Record, _ *Splitter) []span { return spans(records) }

// again reads each record's bytes alone, as after a restart.
func again(t *testing.T, s *Splitter, log []byte, records []*Record) {
	t.Helper()
	for _, r := range records {
		one := One(Options{}, s.Learned(), r.Offset, log[r.Offset:r.Offset+r.Length], time.Time{})
		if one == nil || one.Text != r.Text || one.Severity != r.Severity {
			t.Errorf("read again: %+v, want %+v", one, r)
		}
	}
}

// randomBlocks cuts a log at line ends, at random.
func randomBlocks(seed uint64) func([]byte) int {
	random := rand.New(rand.NewPCG(seed, 1))
	return func(rest []byte) int {
		at := random.IntN(len(rest)) / (1 + random.IntN(40))
		if end := bytes.IndexByte(rest[at:], '\n'); end >= 0 {
			return at + end + 1
		}
		return len(rest)
	}
}

func TestBlocksDoNotMatter(t *testing.T) {
	paths, _ := filepath.Glob("testdata/cases/*.txt")
	var log []byte
	for range 3 {
		for _, path := range paths {
			part, _ := readCase(t, path)
			log = append(log, part...)
		}
	}
	_, s := feedIn(Options{All: true}, nil, log, whole)
	for _, options := range []Options{{All: true, Lines: true}, {Min: Error, Lines: true}} {
		want := mustSpans(feedIn(options, seasoned(s), log, whole))
		for seed := range uint64(5) {
			got := mustSpans(feedIn(options, seasoned(s), log, randomBlocks(seed)))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%+v, seed %d (-whole +blocks):\n%s", options, seed, diff)
			}
		}
	}
}

func (s span) String() string { return fmt.Sprintf("%d-%d %s", s.First, s.Last, s.Severity) }
