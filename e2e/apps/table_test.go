//go:build e2e

package apps

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
)

// legend says how to read the table.
func legend(requests int) string {
	return fmt.Sprintf(`%d requests to each stack, a third of them one at a time and the others eight at a time without pause; seven in ten have
a session, one in three fails. *Errors* are the failing requests with a session whose log lines are errors by any sign; they
count as *matched* when their record arrived under that session. A record is *grouped right* when its entry has its very bytes;
an error that was not seen counts as wrong. *Background* errors belong to no request.

`, requests)
}

// table shows the verdicts as the document does.
func table(verdicts []*verdict) string {
	var b strings.Builder
	b.WriteString("| stack | errors | grouped right | matched, one at a time | matched, eight at a time | exact: right / wrong | inferred: right / wrong | background: pinned / of | by |\n")
	b.WriteString("|---|--:|--:|--:|--:|--:|--:|--:|---|\n")
	total := &verdict{stack: "**all**", errors: map[string]int{}, found: map[string]int{}, ways: map[string]int{}}
	for _, v := range verdicts {
		b.WriteString(v.row())
		if !v.configured {
			total.add(v)
		}
	}
	b.WriteString(total.row())
	return b.String()
}

func (v *verdict) row() string {
	return fmt.Sprintf("| %s | %d | %s | %s | %s | %d / %d | %d / %d | %d / %d | %s |\n", v.stack, v.errors["c1"]+v.errors["c8"],
		share(v.grouped, v.grouped+v.cut+v.unseen), share(v.found["c1"], v.errors["c1"]), share(v.found["c8"], v.errors["c8"]),
		v.exact.right, v.exact.wrong, v.inferred.right, v.inferred.wrong, v.pinned, v.nobody, v.by())
}

func share(n, of int) string {
	if of == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(n)/float64(of))
}

// by names the ways, the most used first.
func (v *verdict) by() string {
	ways := slices.SortedFunc(maps.Keys(v.ways), func(a, b string) int {
		if v.ways[a] != v.ways[b] {
			return v.ways[b] - v.ways[a]
		}
		return strings.Compare(a, b)
	})
	for i, way := range ways {
		ways[i] = fmt.Sprintf("%s %d", way, v.ways[way])
	}
	if v.alone > 0 {
		ways = append(ways, fmt.Sprintf("5xx alone %d", v.alone))
	}
	return strings.Join(ways, ", ")
}

func (v *verdict) add(o *verdict) {
	for phase := range o.errors {
		v.errors[phase] += o.errors[phase]
		v.found[phase] += o.found[phase]
	}
	for way, n := range o.ways {
		v.ways[way] += n
	}
	v.grouped, v.cut, v.unseen = v.grouped+o.grouped, v.cut+o.cut, v.unseen+o.unseen
	v.exact = tally{v.exact.right + o.exact.right, v.exact.wrong + o.exact.wrong}
	v.inferred = tally{v.inferred.right + o.inferred.right, v.inferred.wrong + o.inferred.wrong}
	v.nobody, v.pinned, v.alone = v.nobody+o.nobody, v.pinned+o.pinned, v.alone+o.alone
}

// The document's part that this test writes stands between these two lines.
var regionBegin, regionEnd = []byte("<!-- apps: begin -->\n"), []byte("<!-- apps: end -->\n")

// publish replaces the region of the document; a document without one gets it at its end.
func publish(path, text string) error {
	document, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	before, rest, _ := bytes.Cut(document, regionBegin)
	_, after, _ := bytes.Cut(rest, regionEnd)
	return os.WriteFile(path, slices.Concat(before, regionBegin, []byte(text), regionEnd, after), 0o644)
}
