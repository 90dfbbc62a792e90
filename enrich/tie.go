package enrich

import (
	"bytes"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openreplay/log-sidecar/enrich/record"
)

const (
	// lookBack is how far other lines are sought, in bytes and in lines that were parsed.
	lookBack    = 256 << 10
	lookBackCut = 32 << 10
	maxParsed   = 40
)

// byOtherLines looks in the file, backwards from the record, for another line that ties what the record names to an
// exchange: the app's own ID of the request, or the thread or process that serves it.
func (j *Joiner) byOtherLines(c *candidate, now time.Time) match {
	r := c.finding.Record
	for _, id := range ownIDs(r) {
		if x := j.tiedBy(c, id, false); x != nil {
			return match{exchange: x, by: byAppID}
		}
	}
	if c.observed.blind || len(c.observed.open) == 0 || c.source.ways.off(byWorker) {
		return none(noID)
	}
	thread, pid := workerOf(r)
	if x := j.tiedBy(c, thread, true); x != nil && c.mayBe(x) {
		return match{exchange: x, by: byWorker, inferred: true}
	}
	if pid != "" && len(c.observed.open) == 1 { // a process may do many things at once
		if _, _, doubt := j.doubt(c, now); doubt > beyondChance {
			return none(noID)
		}
		if x := j.tiedBy(c, pid, true); x != nil && c.mayBe(x) {
			return match{exchange: x, by: byWorker, inferred: true}
		}
	}
	return none(noID)
}

// mayBe says whether the exchange is of the request that the record names, if it names one that is open.
func (c *candidate) mayBe(x *Exchange) bool {
	r := c.finding.Record
	named := func(x *Exchange) bool { return isOf(x, r.Method, r.Path, r.Query) }
	return r.Path == "" || named(x) || !slices.ContainsFunc(c.observed.open, named)
}

// ownIDs gives what the app may call the request: what stands under ID keys, and what stands in brackets in the first line.
func ownIDs(r *record.Record) (ids []string) {
	for _, id := range r.IDs {
		if len(id) <= 64 && len(ids) < 4 && strings.ContainsFunc(id, func(c rune) bool { return c < 'A' }) {
			ids = append(ids, id)
		}
	}
	if r.Fields != nil {
		return ids
	}
	line, _, _ := strings.Cut(r.Text[:min(len(r.Text), 300)], "\n")
	for rest := line; len(ids) < 4; {
		_, after, found := strings.Cut(rest, "[")
		inside, next, closed := strings.Cut(after, "]")
		if !found || !closed {
			break
		}
		if len(inside) <= 64 && !strings.ContainsAny(inside, " :/") && chance(inside) >= 30 && inside != r.Thread {
			ids = append(ids, inside)
		}
		rest = next
	}
	return ids
}

func workerOf(r *record.Record) (thread, pid string) {
	if r.PID > 1 {
		pid = strconv.Itoa(r.PID)
	}
	if len(r.Thread) > 3 && r.Thread != pid {
		thread = r.Thread
	}
	return thread, pid
}

// quoted finds the request in lines as Rails writes them: Started GET "/path".
var quoted = regexp.MustCompile(`\b(GET|POST|PUT|DELETE|PATCH|HEAD|OPTIONS) "(/[^" ]*)"`)

func requestOf(r *record.Record) (method, path, query string) {
	if r.Method == "" {
		if m := quoted.FindStringSubmatch(r.Text[:min(len(r.Text), 1<<10)]); m != nil {
			path, query, _ = strings.Cut(m[2], "?")
			return m[1], path, query
		}
	}
	return r.Method, r.Path, r.Query
}

// tiedBy gives the exchange that lines with the word name. A worker does one thing at a time: its exchange must be open, and
// where several open ones were its own, it is none of the kind.
func (j *Joiner) tiedBy(c *candidate, word string, worker bool) (found *Exchange) {
	if word == "" {
		return nil
	}
	parsed := 0
	before(c.source, c.finding.Record.Offset, func(offset int64, line []byte) bool {
		if !hasWord(line, word) {
			return true
		}
		parsed++
		read, known := c.source.history.momentOf(offset)
		r := record.One(record.Options{All: true}, c.source.file.Note(), offset, line, read.at)
		if r == nil || !known || !worker && chance(word) < identifiesNamed && !slices.Contains(r.IDs, word) {
			return parsed < maxParsed
		}
		if c.source.late(r) {
			return parsed < maxParsed
		}
		x := j.named(c, r)
		switch {
		case x == nil, worker && !among(c.observed.open, x):
		case !worker:
			found = x
			return false
		case found == nil:
			found = x
		case found.Ref != x.Ref:
			found, parsed = nil, maxParsed
			return false
		}
		return parsed < maxParsed
	})
	return found
}

func among(list []*Exchange, x *Exchange) bool {
	return slices.ContainsFunc(list, x.is)
}

// is says whether both are the same one, perhaps as it was at another time.
func (x *Exchange) is(o *Exchange) bool { return o.Ref == x.Ref && o.ID == x.ID }

// named gives the one exchange that a line can belong to: by an ID, by the connection, or by the request that it names.
func (j *Joiner) named(c *candidate, r *record.Record) (found *Exchange) {
	if m := j.byWords(c.source, r); m.exchange != nil && !m.ofUser() {
		return m.exchange
	}
	method, path, query := requestOf(r)
	fits := func(x *Exchange) bool { return isOf(x, method, path, query) }
	at := c.source.written(r)
	line := clue{at: at.Add(time.Millisecond), slip: connectionSlip, fits: fits} // stamps are cut off to whole ones
	if m := j.byClient(r, line); m.exchange != nil {
		if path != "" && !fits(m.exchange) {
			return nil
		}
		return m.exchange
	}
	if path == "" || method == "" || j.config.Exchanges.EvictedSince(at.Add(-slip)) {
		return nil
	}
	fit := j.ofRequest(fits, at.Add(-slip), at.Add(slip))
	if len(fit) == 0 && r.Arrived.After(at) {
		fit = j.ofRequest(fits, at.Add(-slip), r.Arrived)
	}
	return first(fit)
}

// ofRequest gives the exchanges of a request that were open in a stretch of time, two at most.
func (j *Joiner) ofRequest(fits func(*Exchange) bool, from, to time.Time) (fit []*Exchange) {
	j.config.Exchanges.During(from, to, func(x Exchange) bool {
		if fits(&x) {
			fit = append(fit, &x)
		}
		return len(fit) < 2
	})
	return fit
}

// hasWord says whether a line has the word between two characters that are of no word.
func hasWord(line []byte, word string) bool {
	for from := 0; ; {
		i := bytes.Index(line[from:], []byte(word))
		if i < 0 {
			return false
		}
		i += from
		end := i + len(word)
		if (i == 0 || kindOfByte(line[i-1]) == 0) && (end == len(line) || kindOfByte(line[end]) == 0) {
			return true
		}
		from = i + 1
	}
}

// before gives the lines before offset, the nearest first.
func before(s *source, offset int64, yield func(offset int64, line []byte) bool) {
	low := max(0, offset-lookBack)
	var rest []byte // the beginning of the line that the last cut went through
	for end := offset; end > low; {
		from := max(low, end-lookBackCut)
		data := append(readAt(s.file, from, end-from), rest...)
		if int64(len(data)-len(rest)) != end-from {
			return
		}
		for {
			i := bytes.LastIndexByte(data, '\n')
			if i < 0 {
				break
			}
			if line := data[i+1:]; len(line) > 0 && !yield(from+int64(i)+1, line) {
				return
			}
			data = data[:i]
		}
		rest = bytes.Clone(data)
		end = from
	}
	if low == 0 && len(rest) > 0 {
		yield(0, rest)
	}
}
